"""The words of the dialogue. The names are those of `jpkireset.gateway.v1`, held equal to them by a test."""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """Where an attempt stands, as a front-end sees it."""

    ADMITTING = auto()
    WAITING_FOR_CARD = auto()
    READING_CARD = auto()
    ENTER_USER_PIN = auto()
    CHECKING_RESERVATION = auto()
    ENTER_NEW_PASSWORD = auto()
    AUTHORIZING = auto()
    WRITING = auto()
    RESOLVING = auto()
    REMOVE_CARD = auto()
    FINISHED = auto()


class Outcome(Enum):
    """What became of the card."""

    DONE = auto()
    NOT_DONE = auto()
    UNKNOWN = auto()


class CardRequest(Enum):
    """What the citizen is asked to do with the card."""

    NONE = auto()
    PLACE = auto()
    PLACE_SAME = auto()
    LIFT = auto()


class InputProblem(Enum):
    """What was wrong with the last input."""

    USER_PIN_WRONG = auto()
    USER_PIN_FORMAT = auto()
    LAST_TRY_NOT_CONFIRMED = auto()
    CARD_LIFTED = auto()
    PASSWORD_TOO_SHORT = auto()
    PASSWORD_TOO_LONG = auto()
    PASSWORD_CHARACTER = auto()
    PASSWORD_NO_LETTER = auto()
    PASSWORD_NO_DIGIT = auto()


class Reason(Enum):
    """Why an attempt did not end done. What each means stands with its value in `reason.proto`."""

    BUSY = auto()
    CARD_LEFT_BEHIND = auto()
    OUT_OF_HOURS = auto()
    KIOSK_NOT_ENABLED = auto()
    MAINTENANCE = auto()
    CENTRAL_UNAVAILABLE = auto()
    READER_UNAVAILABLE = auto()
    NO_CARD = auto()
    NOT_A_MY_NUMBER_CARD = auto()
    CARD_UNREADABLE = auto()
    NO_SIGNING_CERTIFICATE = auto()
    USER_PIN_LOCKED = auto()
    RESERVATION_NOT_FOUND = auto()
    RESERVATION_EXPIRED = auto()
    RESERVATION_USED = auto()
    CERTIFICATE_EXPIRED = auto()
    CERTIFICATE_REVOKED = auto()
    CARD_NOT_REGISTERED = auto()
    CARD_NOT_GENUINE = auto()
    CARD_REFUSED = auto()
    CANCELLED = auto()
    TIMED_OUT = auto()
    CLIENT_GONE = auto()
    DIFFERENT_CARD = auto()
    JOURNAL_UNAVAILABLE = auto()
    DRAINING = auto()
    INTERNAL = auto()
    OUTCOME_UNRESOLVED = auto()
    RESTARTED = auto()
