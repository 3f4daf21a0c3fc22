"""The kiosk's daemon: owns the card reader and offers the reset of the signing password as a gRPC call.

Read it from the outside in: `app` builds every object, `rpc` translates gRPC, `session` runs one attempt, and below it
lie five siblings that do not know each other: `dialogue` (the pure table of states), `card` (bytes and their
meaning), `reader` (PC/SC), `central` (the reservation service) and `journal` (what survives a power cut).
"""

__version__ = "0.1.0"
