"""What a new signing password must be, judged before anything moves."""

from __future__ import annotations

import re
import unicodedata

from gatewayd.dialogue.vocabulary import InputProblem

# 署名用パスワード: 6-16 letters and digits, at least one of each, lower case counts as upper (J-LIS, JPKI portal).
SHORTEST = 6
LONGEST = 16

_USER_PIN = re.compile(rb"[0-9]{4}\Z")  # 利用者証明用パスワード: exactly 4 digits (J-LIS, JPKI portal)
_ALLOWED = re.compile(r"[A-Z0-9]*\Z")


def user_pin_is_well_formed(value: bytes) -> bool:
    """Say whether these are exactly four ASCII digits."""
    return _USER_PIN.match(value) is not None


def fold(value: bytes) -> str:
    """Fold full-width forms and lower case: what the citizen means by what they typed. Raises UnicodeDecodeError."""
    return unicodedata.normalize("NFKC", value.decode()).upper()


def password_problem(folded: str) -> InputProblem | None:
    """Return the first rule that a folded password breaks, or None."""
    if not _ALLOWED.match(folded):
        return InputProblem.PASSWORD_CHARACTER
    if len(folded) < SHORTEST:
        return InputProblem.PASSWORD_TOO_SHORT
    if len(folded) > LONGEST:
        return InputProblem.PASSWORD_TOO_LONG
    if not any(character.isalpha() for character in folded):
        return InputProblem.PASSWORD_NO_LETTER
    if not any(character.isdigit() for character in folded):
        return InputProblem.PASSWORD_NO_DIGIT
    return None
