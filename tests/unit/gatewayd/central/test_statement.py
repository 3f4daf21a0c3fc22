from __future__ import annotations

import pytest

from gatewayd.central.statement import reset_statement

CHALLENGE = bytes(range(32))


def test_the_layout() -> None:
    assert reset_statement(1, "id", "seven/0001/1", CHALLENGE) == (
        b"JPKI-RESET-STATEMENT\x01\x02\x01" + b"\x00\x02id" + b"\x00\x0cseven/0001/1" + CHALLENGE
    )


def test_lengths_keep_the_parts_apart() -> None:
    assert reset_statement(1, "ab", "c", CHALLENGE) != reset_statement(1, "a", "bc", CHALLENGE)


@pytest.mark.parametrize("challenge", [b"", bytes(31), bytes(33)])
def test_a_challenge_of_another_length_is_refused(challenge: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        reset_statement(1, "id", "kiosk", challenge)


def test_a_text_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        reset_statement(1, "x" * 65_536, "kiosk", CHALLENGE)
