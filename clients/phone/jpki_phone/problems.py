"""Everything that can keep a reservation from being made: what happened, what to do next, which exit code.

The Japanese words are the official terms beside the English. A test compares the refusals with the contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

COUNTER = "the counter of your municipality (住民票のある市区町村の窓口)"
USER_PIN = "4-digit user PIN (利用者証明用パスワード)"


class ExitCode(IntEnum):
    """What a script learns without reading a word."""

    RESERVED = 0
    USAGE = 2  # the command line itself; the number is the parser's
    NOT_RESERVED = 3
    UNKNOWN = 4
    REFUSED = 5
    CENTRE_UNAVAILABLE = 6
    READER_OR_CARD = 7
    LEFT = 130  # 128 + SIGINT, the shells' convention


EXIT_CODES = """Exit codes:

\b
0    reserved
1    standard output is closed or full: what was to be told was not
2    the command line was wrong
3    not reserved: the PIN, the card or the person said no
4    unknown: the centre may have made the reservation, its answer was lost
5    the centre refused
6    the centre cannot be reached
7    the reader or the card cannot be used
130  left by Ctrl-C
"""


class Problem(Enum):
    """Why there is no reservation; refusals of the centre have their own table."""

    PCSC_UNAVAILABLE = "pcsc_unavailable"
    READER_MISSING = "reader_missing"
    READER_NOT_CHOSEN = "reader_not_chosen"
    READER_HELD = "reader_held"
    NO_CARD = "no_card"
    CARD_UNREADABLE = "card_unreadable"
    NOT_A_MY_NUMBER_CARD = "not_a_my_number_card"
    DIFFERENT_CARD = "different_card"
    TRIES_CHANGED = "tries_changed"
    USER_PIN_LOCKED = "user_pin_locked"
    USER_PIN_WRONG = "user_pin_wrong"
    USER_PIN_FORMAT = "user_pin_format"
    USER_PIN_TORN = "user_pin_torn"
    LAST_TRY_NOT_CONFIRMED = "last_try_not_confirmed"
    NOTHING_ENTERED = "nothing_entered"
    CENTRE_UNAVAILABLE = "centre_unavailable"
    ANSWER_LOST = "answer_lost"


@dataclass(frozen=True, slots=True)
class Text:
    """What happened, and what to do next."""

    what: str
    next: str
    exit_code: ExitCode


PROBLEMS: dict[Problem, Text] = {
    Problem.PCSC_UNAVAILABLE: Text(
        "The card service (pcscd) does not answer.",
        "Start it (`systemctl start pcscd.socket`), then try again.",
        ExitCode.READER_OR_CARD,
    ),
    Problem.READER_MISSING: Text(
        "There is no reader of that name.", "Connect it, or name another with --reader.", ExitCode.READER_OR_CARD
    ),
    Problem.READER_NOT_CHOSEN: Text(
        "There is more than one reader.", "Name one with --reader.", ExitCode.READER_OR_CARD
    ),
    Problem.READER_HELD: Text("Another program holds the reader.", "End it, then try again.", ExitCode.READER_OR_CARD),
    Problem.NO_CARD: Text(
        "There is no card on the reader.", "Place the card (マイナンバーカード) and try again.", ExitCode.READER_OR_CARD
    ),
    Problem.CARD_UNREADABLE: Text(
        "The card could not be read, or was lifted.",
        f"Lift it, place it flat and try again. If it stays so, go to {COUNTER}.",
        ExitCode.READER_OR_CARD,
    ),
    Problem.NOT_A_MY_NUMBER_CARD: Text(
        "This is not a My Number Card (マイナンバーカード).",
        "Place the My Number Card itself and try again.",
        ExitCode.READER_OR_CARD,
    ),
    Problem.DIFFERENT_CARD: Text(
        "Another card than the one read before was placed. The PIN was not sent to it.",
        "Start again with one card only.",
        ExitCode.NOT_RESERVED,
    ),
    Problem.TRIES_CHANGED: Text(
        "The tries left are no longer what was shown. The PIN was not sent to the card.",
        "Start again and read the tries left.",
        ExitCode.NOT_RESERVED,
    ),
    Problem.USER_PIN_LOCKED: Text(
        f"The {USER_PIN} is locked.", f"Go to {COUNTER} to have it set anew.", ExitCode.NOT_RESERVED
    ),
    Problem.USER_PIN_WRONG: Text(f"The {USER_PIN} is wrong.", "Start again with the right one.", ExitCode.NOT_RESERVED),
    Problem.USER_PIN_FORMAT: Text(
        "The PIN is exactly four digits (数字4けた). Nothing was sent to the card.",
        "Start again.",
        ExitCode.NOT_RESERVED,
    ),
    Problem.USER_PIN_TORN: Text(
        "The card was lifted while the PIN was checked. The entry may have been counted, and was not repeated.",
        "Place the card and start again: the tries left are shown first.",
        ExitCode.READER_OR_CARD,
    ),
    Problem.LAST_TRY_NOT_CONFIRMED: Text(
        "The last try was not confirmed. Nothing was sent to the card.",
        f"If you do not know the PIN, go to {COUNTER}.",
        ExitCode.NOT_RESERVED,
    ),
    Problem.NOTHING_ENTERED: Text(
        "No PIN was entered. Nothing was sent to the card.", "Start again.", ExitCode.NOT_RESERVED
    ),
    Problem.CENTRE_UNAVAILABLE: Text(
        "The centre cannot be reached. Nothing was reserved.",
        "Try again later; if it stays so, check --address and --ca.",
        ExitCode.CENTRE_UNAVAILABLE,
    ),
    Problem.ANSWER_LOST: Text(
        "The reservation was sent and the centre's answer was lost. It may or may not have been made.",
        "Start again: a new reservation takes the place of the old one.",
        ExitCode.UNKNOWN,
    ),
}

_COUNTER_ONLY = f"Go to {COUNTER}."
_AGAIN = "Start again."

# What the centre says instead of reserving, by the contract's names. Those that only kiosks can meet say so too.
REFUSALS: dict[str, tuple[str, str]] = {
    "REFUSAL_UNSPECIFIED": ("", ""),
    "REFUSAL_OUT_OF_HOURS": ("The service is closed at this hour (時間外).", "Try again within its hours."),
    "REFUSAL_MAINTENANCE": ("The centre is under maintenance (メンテナンス中).", "Try again after it."),
    "REFUSAL_KIOSK_NOT_ENABLED": ("The centre does not serve this kiosk.", "Use another one."),
    "REFUSAL_RESERVATION_NOT_FOUND": ("There is no reservation (予約) for this card.", _AGAIN),
    "REFUSAL_RESERVATION_EXPIRED": ("The reservation (予約) is older than 24 hours.", _AGAIN),
    "REFUSAL_RESERVATION_USED": ("The reservation (予約) has been used.", _AGAIN),
    "REFUSAL_CERTIFICATE_EXPIRED": (
        "A certificate (電子証明書) of the card has expired.",
        f"Have the certificates renewed at {COUNTER}.",
    ),
    "REFUSAL_CERTIFICATE_REVOKED": (
        "A certificate (電子証明書) of the card has been revoked, for example after a change of address.",
        f"Have new certificates issued at {COUNTER}.",
    ),
    "REFUSAL_CERTIFICATE_NOT_TRUSTED": ("The card's user certificate is not one the centre trusts.", _COUNTER_ONLY),
    "REFUSAL_SIGNATURE_INVALID": ("The card's signature does not verify.", f"{_AGAIN} If it stays so: {_COUNTER_ONLY}"),
    "REFUSAL_CARD_NOT_REGISTERED": ("The centre does not know this card.", _COUNTER_ONLY),
    "REFUSAL_CARD_NOT_GENUINE": ("The card could not prove that it is the genuine one.", _COUNTER_ONLY),
    "REFUSAL_ATTEMPT_EXPIRED": ("The attempt took too long.", _AGAIN),
    "REFUSAL_ATTEMPT_RUNNING": (
        "A reset with this card is running at a kiosk; its reservation cannot be replaced now.",
        "Wait until it has ended. If it was left unfinished, try again in half an hour.",
    ),
    "REFUSAL_CHALLENGE_EXPIRED": ("It took too long: the centre's question is no longer valid.", _AGAIN),
    "REFUSAL_SUPERSEDED": ("A later attempt with the same card has taken over.", _AGAIN),
}


class NotReserved(Exception):
    """There is no reservation, or (ANSWER_LOST) nobody here knows. Holds no secret and no personal data."""

    def __init__(self, key: str, text: Text, *, detail: str = "", tries_left: int | None = None) -> None:
        super().__init__(f"{text.what} {detail}".strip())
        self.key = key
        self.text = text
        self.detail = detail
        self.tries_left = tries_left


def not_reserved(problem: Problem, *, detail: str = "", tries_left: int | None = None) -> NotReserved:
    """Return the exception for a problem found here."""
    return NotReserved(problem.value, PROBLEMS[problem], detail=detail, tries_left=tries_left)


def refused(name: str) -> NotReserved:
    """Return the exception for the centre's refusal of this name; one newer than this program is told by its name."""
    what, then = REFUSALS.get(name, (f"The centre refused: {name}.", _AGAIN))
    return NotReserved(name.removeprefix("REFUSAL_").lower(), Text(what, then, ExitCode.REFUSED))
