"""The length of a certificate, from its first bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.card.der import sequence_length
from gatewayd.errors import CardProtocolError

LIMIT = 4096


@pytest.mark.parametrize(
    ("head", "length"),
    [("3000", 2), ("307F", 129), ("308180", 131), ("3081FF", 258), ("30820100", 260), ("30820FFC", 4096)],
)
def test_shortest_forms_are_read(head: str, length: int) -> None:
    assert sequence_length(bytes.fromhex(head), limit=LIMIT) == length


@pytest.mark.parametrize(
    "head",
    [
        "",
        "30",
        "FFFF",  # an empty file
        "3110",  # a SET
        "3080",  # indefinite
        "30817F",  # not the shortest form
        "308200FF",
        "3081",  # cut off
        "308201",
        "30830000FF",  # longer than any limit here
        "30820FFD",  # 4,097 bytes
    ],
)
def test_everything_else_is_refused(head: str) -> None:
    with pytest.raises(CardProtocolError):
        sequence_length(bytes.fromhex(head), limit=LIMIT)


@given(st.binary(max_size=8))
def test_nothing_else_is_raised_and_the_limit_holds(head: bytes) -> None:
    with contextlib.suppress(CardProtocolError):
        assert 2 <= sequence_length(head, limit=LIMIT) <= LIMIT
