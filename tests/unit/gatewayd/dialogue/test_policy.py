from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.dialogue.policy import fold, password_problem, user_pin_is_well_formed
from gatewayd.dialogue.vocabulary import InputProblem as P


@pytest.mark.parametrize(
    ("typed", "folded", "problem"),
    [
        ("ABC123", "ABC123", None),
        ("abc123", "ABC123", None),
        ("ＡｂＣ１２３", "ABC123", None),
        ("A1" * 8, "A1" * 8, None),
        ("ABC12", "ABC12", P.PASSWORD_TOO_SHORT),
        ("A1" * 8 + "X", "A1" * 8 + "X", P.PASSWORD_TOO_LONG),
        ("ABCDEF", "ABCDEF", P.PASSWORD_NO_DIGIT),
        ("123456", "123456", P.PASSWORD_NO_LETTER),
        ("ABC 123", "ABC 123", P.PASSWORD_CHARACTER),
        ("ABC-123", "ABC-123", P.PASSWORD_CHARACTER),
        ("ABC123\n", "ABC123\n", P.PASSWORD_CHARACTER),
        ("あいう123", "あいう123", P.PASSWORD_CHARACTER),
        ("ABC١٢٣", "ABC١٢٣", P.PASSWORD_CHARACTER),  # Arabic-Indic digits are digits to Python, not to the card
        ("straße1", "STRAßE1", P.PASSWORD_CHARACTER),
        ("ﬁsh123", "ﬁSH123", P.PASSWORD_CHARACTER),  # a ligature is not two letters
        ("", "", P.PASSWORD_TOO_SHORT),
    ],
)
def test_the_rules_of_a_new_password(typed: str, folded: str, problem: P | None) -> None:
    assert fold(typed.encode()) == folded
    assert password_problem(folded) is problem


@given(st.text())
def test_what_passes_is_what_the_card_takes(typed: str) -> None:
    folded = fold(typed.encode())
    if password_problem(folded) is None:
        assert folded.isascii()
        assert folded.isalnum()
        assert folded == folded.upper()
        assert 6 <= len(folded) <= 16


@pytest.mark.parametrize("value", [b"1234", b"0000"])
def test_a_user_pin(value: bytes) -> None:
    assert user_pin_is_well_formed(value)


@pytest.mark.parametrize("value", [b"", b"123", b"12345", b"12a4", b"1234\n", "１２３４".encode()])
def test_no_user_pin(value: bytes) -> None:
    assert not user_pin_is_well_formed(value)


def test_what_is_not_text_is_no_password() -> None:
    assert password_problem(fold(b"ABC123\xff")) is P.PASSWORD_CHARACTER
