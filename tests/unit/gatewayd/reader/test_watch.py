"""Insertions are counted from pcscd's event counter, so that a swap between two looks is not missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smartcard import scard

from gatewayd.reader.pcsc import SlotState
from gatewayd.reader.watch import InsertionCount

PRESENT, EMPTY = scard.SCARD_STATE_PRESENT, scard.SCARD_STATE_EMPTY


def slot(counter: int, present: bool) -> SlotState:
    return SlotState((counter % 0x10000) << 16 | (PRESENT if present else EMPTY))


@pytest.mark.parametrize(
    ("looks", "insertions"),
    [
        ([(0, False)], 0),
        ([(1, True)], 0),  # it lay there before the first look
        ([(0, False), (1, True)], 1),
        ([(0, False), (1, True), (2, False), (3, True)], 2),
        ([(1, True), (3, True)], 1),  # a quick swap
        ([(1, True), (5, True)], 2),
        ([(0, False), (3, True)], 2),
        ([(0, False), (2, False)], 1),  # in and out again
        ([(0xFFFF, True), (1, True)], 1),  # the counter wraps
        ([(3, False), (3, True)], 1),  # a driver that does not count
        ([(3, True), (3, True)], 0),
    ],
)
def test_looks_are_counted(looks: list[tuple[int, bool]], insertions: int) -> None:
    count = InsertionCount()
    for counter, present in looks:
        count.see(slot(counter, present))
    assert count.total == insertions


@pytest.mark.parametrize(("present", "insertions"), [(True, 1), (False, 0)])
def test_card_that_lies_there_after_we_lost_sight_may_be_another_one(present: bool, insertions: int) -> None:
    count = InsertionCount()
    count.see(slot(1, True))
    count.lose_sight()
    count.see(slot(1, present))
    assert count.total == insertions


@given(st.lists(st.integers(1, 9), max_size=30))
def test_however_seldom_we_look_no_insertion_is_missed(steps: list[int]) -> None:
    count, counter = InsertionCount(), 0
    count.see(slot(counter, False))
    for step in steps:
        counter += step
        count.see(slot(counter, bool(counter % 2)))
    assert count.total == (counter + 1) // 2
