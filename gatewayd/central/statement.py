"""The statement a card signs with its user key, so that a signature made for one thing serves no other."""

from __future__ import annotations

LABEL = b"JPKI-RESET-STATEMENT"  # docs/CARD-PROTOCOL.md, "The statement"; so are the layout and the numbers below
FORMAT = 1
PURPOSE_RESET = 2
CHALLENGE_LENGTH = 32
MAX_TEXT_LENGTH = 0xFFFF


def reset_statement(procedure: int, attempt_id: str, kiosk_id: str, challenge: bytes) -> bytes:
    """Return the statement by which the citizen asks for the reset in this attempt at this kiosk.

    `procedure` is the enum number of `jpkireset.central.v1.Procedure`, `challenge` the centre's 32 bytes.

    Raises:
        ValueError: a part does not fit its field.
    """
    if len(challenge) != CHALLENGE_LENGTH:
        raise ValueError(f"a challenge has {CHALLENGE_LENGTH} bytes")
    head = LABEL + bytes((FORMAT, PURPOSE_RESET, procedure))
    return head + _text(attempt_id) + _text(kiosk_id) + challenge


def _text(value: str) -> bytes:
    encoded = value.encode()
    if len(encoded) > MAX_TEXT_LENGTH:
        raise ValueError("a text of the statement is too long")
    return len(encoded).to_bytes(2, "big") + encoded
