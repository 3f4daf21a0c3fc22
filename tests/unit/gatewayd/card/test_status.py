"""Every one of the 65,536 status words has the meaning the table gives it, and no other."""

from __future__ import annotations

import pytest

from gatewayd.card import status

EVERY = range(0x10000)


def test_tries_are_read_from_63cx_and_from_the_two_blocked_words_only() -> None:
    told = {word: tries for word in EVERY if (tries := status.tries_left(word)) is not None}
    assert told == {**{0x63C0 + tries: tries for tries in range(16)}, 0x6983: 0, 0x6984: 0}


def test_definite_refusals_are_69xx_6axx_and_63cx() -> None:
    definite = {word for word in EVERY if status.is_definite_refusal(word)}
    assert definite == {*range(0x6900, 0x6B00), *range(0x63C0, 0x63D0)}


def test_checking_errors_are_67xx_to_6exx() -> None:
    assert {word for word in EVERY if status.is_checking_error(word)} == set(range(0x6700, 0x6F00))


@pytest.mark.parametrize("word", [0x9000, 0x6282, 0x6300, 0x6581, 0x6F00])
def test_success_warnings_and_execution_errors_are_no_refusal(word: int) -> None:
    assert not status.is_definite_refusal(word)
    assert not status.is_checking_error(word)
    assert status.tries_left(word) is None


def test_word_is_shown_as_four_digits() -> None:
    assert [status.show(word) for word in (0x6A82, 0x1)] == ["6A82", "0001"]
