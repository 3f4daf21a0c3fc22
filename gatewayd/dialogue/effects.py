"""What the shell is to do. At most one effect of a step has a result to wait for, an event, and it comes last."""

from __future__ import annotations

from enum import Enum, auto


class Effect(Enum):
    """Done in the order given. The comment names the events that come of it."""

    ADMIT = auto()  # Admitted, Failed
    READ_CARD = auto()  # TriesRead, Torn, Failed
    BEGIN = auto()  # Begun, Failed
    VERIFY_PIN = auto()  # PinAccepted, PinWrong, PinLocked, CardDifferent, PinTorn, Failed
    RECOUNT = auto()  # TriesRead, PinLocked, CardDifferent, PinTorn, Failed
    CHECK_RESERVATION = auto()  # ReservationGranted, Failed
    OFFER_CHANNEL = auto()  # ChannelOffered, CardDifferent, Torn, Failed
    AUTHORIZE = auto()  # Authorized, Failed
    WRITE = auto()  # IntentFailed, WriteAccepted, WriteRefused, WriteNotSent, WriteUnknown, ResultNotDurable
    DELIVER_REPORT = auto()  # ReceiptValid, ReceiptInvalid, CentralSilent
    END_CONNECTION = auto()  # nothing: card reset, keys of the connection wiped, what runs on it is dropped
    WIPE_PIN = auto()  # nothing
    WIPE_SECRETS = auto()  # nothing
    RECORD_OUTCOME = auto()  # OutcomeContradicted; else nothing: the journal has it, or will when it can be written
