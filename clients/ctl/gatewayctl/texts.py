"""Every sentence about a reason, a problem or a state, keyed by the contract's own names.

The Japanese words are the official terms, so that staff recognise what the citizen's screen and card papers say. A
test compares the keys with the contract.
"""

from __future__ import annotations

from dataclasses import dataclass

COUNTER = "the counter of your municipality (住民票のある市区町村の窓口)"
SIGNING_PASSWORD = "signing password (署名用パスワード)"  # noqa: S105 - the password's name
USER_PIN = "4-digit user PIN (利用者証明用パスワード)"
APP = "the phone app (JPKI暗証番号リセット)"


@dataclass(frozen=True, slots=True)
class ReasonText:
    """What happened, and what to do next."""

    what: str
    next: str
    unavailable: bool = False  # the service could not work, whoever had come with whatever card


REASONS: dict[str, ReasonText] = {
    "REASON_UNSPECIFIED": ReasonText("The daemon gave no reason.", "Ask the operator to look at the daemon's log."),
    "REASON_BUSY": ReasonText(
        "Another attempt holds the card reader.", "Wait until it has ended, then start again.", unavailable=True
    ),
    "REASON_CARD_LEFT_BEHIND": ReasonText(
        "A card lies on the reader from before.",
        "Lift it; a card that is not yours goes to the staff (カードの置き忘れ). Then start again.",
        unavailable=True,
    ),
    "REASON_OUT_OF_HOURS": ReasonText(
        "The service is closed at this hour (時間外).",
        "Come back within the opening hours, usually 6:30-23:00. The reservation lives its 24 hours.",
        unavailable=True,
    ),
    "REASON_KIOSK_NOT_ENABLED": ReasonText(
        "This store does not offer the service (一部店舗除く).", "Use another store that offers it.", unavailable=True
    ),
    "REASON_MAINTENANCE": ReasonText(
        "The centre is under maintenance (メンテナンス中).", "Come back after the maintenance.", unavailable=True
    ),
    "REASON_CENTRAL_UNAVAILABLE": ReasonText(
        "The centre could not be reached.",
        "Try again later, here or at another store. The reservation (予約) is kept.",
        unavailable=True,
    ),
    "REASON_READER_UNAVAILABLE": ReasonText(
        "The card reader is not there or does not answer.", "Use another kiosk.", unavailable=True
    ),
    "REASON_NO_CARD": ReasonText("No card was placed in time.", "Start again and place the card when asked."),
    "REASON_NOT_A_MY_NUMBER_CARD": ReasonText(
        "This is not a My Number Card (マイナンバーカード).",
        "Start again with the My Number Card itself, and only that.",
    ),
    "REASON_CARD_UNREADABLE": ReasonText(
        "The card could not be read.",
        f"Lift it, place it flat and start again. If it stays so, go to {COUNTER}.",
    ),
    "REASON_NO_SIGNING_CERTIFICATE": ReasonText(
        "The card carries no signing certificate (署名用電子証明書).", f"Go to {COUNTER}."
    ),
    "REASON_USER_PIN_LOCKED": ReasonText(
        f"The {USER_PIN} is locked. It cannot be reset here.", f"Go to {COUNTER} to have it set anew."
    ),
    "REASON_RESERVATION_NOT_FOUND": ReasonText(
        "There is no reservation (予約) for this card.", f"Reserve with {APP}, then come back within 24 hours."
    ),
    "REASON_RESERVATION_EXPIRED": ReasonText(
        "The reservation (予約) is older than 24 hours.", f"Make a new reservation with {APP}."
    ),
    "REASON_RESERVATION_USED": ReasonText(
        "The reservation (予約) has been used already.",
        f"Use the password that was set then, or make a new reservation with {APP}.",
    ),
    "REASON_CERTIFICATE_EXPIRED": ReasonText(
        "A certificate (電子証明書) of the card has expired.", f"Have the certificates renewed at {COUNTER}."
    ),
    "REASON_CERTIFICATE_REVOKED": ReasonText(
        "A certificate (電子証明書) of the card has been revoked, for example after a change of address.",
        f"Have new certificates issued at {COUNTER}.",
    ),
    "REASON_CARD_NOT_REGISTERED": ReasonText("The centre does not know this card.", f"Go to {COUNTER}."),
    "REASON_CARD_NOT_GENUINE": ReasonText("The card could not prove that it is the genuine one.", f"Go to {COUNTER}."),
    "REASON_CARD_REFUSED": ReasonText("The card refused the change.", f"Start again. If it stays so, go to {COUNTER}."),
    "REASON_CANCELLED": ReasonText("The attempt was cancelled (中止).", "Start again whenever you like."),
    "REASON_TIMED_OUT": ReasonText("Nothing was entered in time.", "Start again."),
    "REASON_CLIENT_GONE": ReasonText("The front-end went away before the change began.", "Start again."),
    "REASON_DIFFERENT_CARD": ReasonText(
        "Another card than the one at the start was placed.", "Start again with one card only."
    ),
    "REASON_JOURNAL_UNAVAILABLE": ReasonText(
        "The kiosk cannot keep its records, so nothing was begun.", "Use another kiosk.", unavailable=True
    ),
    "REASON_DRAINING": ReasonText(
        "The kiosk's service is being stopped.", "Try again in a few minutes.", unavailable=True
    ),
    "REASON_INTERNAL": ReasonText("The kiosk's service has a fault.", "Use another kiosk."),
    "REASON_OUTCOME_UNRESOLVED": ReasonText(
        "The change was sent to the card and its result could not be learnt.",
        "Start again with the same card within 24 hours; that settles it.",
    ),
    "REASON_RESTARTED": ReasonText(
        "The kiosk's service was restarted during the attempt.", "Start again with the same card."
    ),
}

INPUT_PROBLEMS: dict[str, str] = {
    "INPUT_PROBLEM_UNSPECIFIED": "",
    "INPUT_PROBLEM_USER_PIN_WRONG": "The 4-digit PIN is wrong.",
    "INPUT_PROBLEM_USER_PIN_FORMAT": "The PIN is exactly four digits (数字4けた). Nothing was sent to the card.",
    "INPUT_PROBLEM_LAST_TRY_NOT_CONFIRMED": "The last try needs a confirmation first. Nothing was sent to the card.",
    "INPUT_PROBLEM_CARD_LIFTED": (
        "The card was lifted while the PIN was checked. The entry may have been counted; the tries were read again."
    ),
    "INPUT_PROBLEM_PASSWORD_TOO_SHORT": "Too short: at least 6 characters (6文字以上).",
    "INPUT_PROBLEM_PASSWORD_TOO_LONG": "Too long: at most 16 characters (16文字まで).",
    "INPUT_PROBLEM_PASSWORD_CHARACTER": "Only the letters A-Z and the digits 0-9 may be used (英字と数字).",
    "INPUT_PROBLEM_PASSWORD_NO_LETTER": "At least one letter is needed (英字を1文字以上).",
    "INPUT_PROBLEM_PASSWORD_NO_DIGIT": "At least one digit is needed (数字を1文字以上).",
}

OUTCOMES: dict[str, str] = {
    "OUTCOME_UNSPECIFIED": "",
    "OUTCOME_DONE": f"Done (完了): the new {SIGNING_PASSWORD} is on the card. It can be used now.",
    "OUTCOME_NOT_DONE": "Not done: the card was not changed; its password is what it was (変わっていません).",
    "OUTCOME_UNKNOWN": (
        "Unknown (確認できません): the card may or may not have been changed. "
        "Do not rely on either password before it is settled with the same card."
    ),
}

STATES: dict[str, str] = {
    "STATE_UNSPECIFIED": "",
    "STATE_ADMITTING": "Asking whether a reset may begin now.",
    "STATE_WAITING_FOR_CARD": "",  # the card request says it
    "STATE_READING_CARD": "Reading the card (読み取り中). Leave it where it is.",
    "STATE_ENTER_USER_PIN": "",  # the prompt says it
    "STATE_CHECKING_RESERVATION": "Checking the reservation (予約の確認中).",
    "STATE_ENTER_NEW_PASSWORD": "",  # the prompt says it
    "STATE_AUTHORIZING": "Asking the centre for the change. Leave the card where it is.",
    "STATE_WRITING": "Changing the card (書き込み中). Do not move it. This cannot be cancelled.",
    "STATE_RESOLVING": "Whether the card was changed is not known yet (変更できたか確認しています).",
    "STATE_REMOVE_CARD": "",  # the reminder says it
    "STATE_FINISHED": "",
}

CARD_REQUESTS: dict[str, str] = {
    "CARD_REQUEST_UNSPECIFIED": "",
    "CARD_REQUEST_NONE": "",
    "CARD_REQUEST_PLACE": "Place the My Number Card (マイナンバーカード) on the reader.",
    "CARD_REQUEST_PLACE_SAME": "Place the same card (同じカード) on the reader again.",
    "CARD_REQUEST_LIFT": "Lift the card from the reader.",
}

REMINDERS: tuple[str, ...] = (
    "Take the card (カードをお取りください).",
    "The card is still on the reader. Please take it (カードをお取りください).",
    "Do not forget the card (カードの置き忘れにご注意ください).",
    "For the staff (店員の方へ): a card was left on the reader (カードの置き忘れです).",
)

READINESS_PROBLEMS: dict[str, str] = {
    "READINESS_PROBLEM_UNSPECIFIED": "",
    "READINESS_PROBLEM_PCSC_UNAVAILABLE": "the card service (pcscd) does not answer",
    "READINESS_PROBLEM_READER_UNAVAILABLE": "no reader, or more than one, has the configured name",
    "READINESS_PROBLEM_READER_STUCK": "a command has been running on the reader past its deadline",
    "READINESS_PROBLEM_CENTRAL_UNAVAILABLE": "the centre does not answer",
    "READINESS_PROBLEM_OUT_OF_HOURS": "out of opening hours",
    "READINESS_PROBLEM_MAINTENANCE": "a maintenance window is running",
    "READINESS_PROBLEM_KIOSK_NOT_ENABLED": "the centre has not enabled this chain, store or kiosk",
    "READINESS_PROBLEM_JOURNAL_UNAVAILABLE": "the journal cannot be written",
    "READINESS_PROBLEM_CARD_LEFT_BEHIND": "a card lies on the reader without an attempt",
    "READINESS_PROBLEM_DRAINING": "the daemon is being stopped",
}

TERMS = (
    f"Reset of the {SIGNING_PASSWORD}. Placing the card means 「同意する」: the card's certificate is read and "
    "shown to the centre, and the attempt and its outcome are recorded. The PIN and the new password are not. "
    "Ctrl-C cancels; an empty line asks for more time."
)
PIN_PROMPT = f"{USER_PIN}, hidden: "
NEW_PASSWORD_RULE = (
    f"Choose a new {SIGNING_PASSWORD}: 6-16 letters and digits (英数字6〜16文字), at least one of each. "
    "Small letters count as capitals."
)
NEW_PASSWORD_PROMPT = "New password, hidden: "  # noqa: S105 - a prompt
REPEAT_PROMPT = "The same again, hidden: "
MISMATCH = "The two differ (1回目と2回目がちがいます). Type the second one again."
MISMATCH_TWICE = "They differ again. Start with a new password from the beginning."
LAST_TRY = (
    "One try is left (あと1回). If the PIN is wrong it locks, and only the municipal counter can help "
    "(市区町村の窓口). If you are not sure, cancel."
)
LAST_TRY_PROMPT = "Type yes to use the last try: "
LAST_TRY_YES = frozenset({b"yes", "はい".encode()})
RESERVED_UNTIL = "The reservation (予約) lives until {moment}."
IN_DOUBT = (
    "An earlier change of this card is not settled. Until the card has proven itself, the outcome can only be "
    "unknown or done."
)
MORE_TIME_SOON = "Less than 30 seconds are left. An empty line asks for more time."
CANCELLING = "Cancelling; waiting for the outcome. Ctrl-C again leaves without it."
TOO_LATE_TO_CANCEL = "This can no longer be cancelled; waiting. Ctrl-C again leaves."
LEFT = "Left before the outcome was known. `gatewayctl attempt {attempt_id}` tells it."
NEVER_ACCEPTED = "The daemon never accepted the attempt: the card was not changed by it."
JOURNAL_LOST = (
    "The daemon does not know the attempt any more: its journal was replaced. Whether the card was changed is not "
    "known here; the centre knows what became of the reservation."
)

_NUMBERS = ("No tries are", "One try is", "Two tries are", "Three tries are")


def tries_left(tries: int) -> str:
    """Return the tries left of the user PIN in words; more than three do not exist on the card."""
    words = _NUMBERS[tries] if tries < len(_NUMBERS) else f"{tries} tries are"
    return f"{words} left (あと{tries}回)."


def readiness_problem(name: str) -> str:
    """Return why no attempt could begin: the word that runbooks and metrics use for it, and what it means."""
    word = name.removeprefix("READINESS_PROBLEM_").lower()
    meaning = READINESS_PROBLEMS.get(name)
    return f"{word}: {meaning}" if meaning else word


def no_answer(socket: str, error: Exception) -> str:
    """Return what is said when the daemon does not answer, and what to do next."""
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            then = (
                "It does not run, or serves elsewhere: `systemctl status gatewayd` and `gatewayctl doctor` tell more."
            )
        case PermissionError():
            then = "Only root and the members of the socket's group may use it."
        case _:
            then = "`gatewayctl doctor` looks for the cause."
    why = (isinstance(error, OSError) and error.strerror) or str(error)
    return f"No answer from the daemon at {socket}: {why}. {then}"
