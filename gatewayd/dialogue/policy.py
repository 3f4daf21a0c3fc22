"""What a new signing password must be, judged before anything moves."""

from __future__ import annotations

import re
import string

from gatewayd.dialogue.vocabulary import InputProblem

# 署名用パスワード: 6-16 letters and digits, at least one of each, lower case counts as upper (J-LIS, JPKI portal).
SHORTEST = 6
LONGEST = 16

_USER_PIN = re.compile(rb"[0-9]{4}\Z")  # 利用者証明用パスワード: exactly 4 digits (J-LIS, JPKI portal)
_FULL_WIDTH = {code + 0xFEE0: chr(code) for code in range(0x21, 0x7F)}  # U+FF01-FF5E, The Unicode Standard, FF00 block
_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_ALLOWED = re.compile(r"[A-Z0-9]*\Z")


def user_pin_is_well_formed(value: bytes) -> bool:
    """Say whether these are exactly four ASCII digits."""
    return _USER_PIN.match(value) is not None


def fold(value: bytes) -> str:
    """Fold full-width forms and a-z, and nothing else: any wider folding would set a password nobody typed.

    What is not UTF-8 becomes a character that no rule allows.
    """
    return value.decode(errors="replace").translate(_FULL_WIDTH).translate(_UPPER)


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
