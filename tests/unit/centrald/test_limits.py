"""Buckets and pauses: what is let through, how long one waits, and that memory has an end."""

from __future__ import annotations

import datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from centrald.rules.limits import Buckets, Patience, Pauses, Rate
from tests.unit.centrald.world import ManualClock

NOW = ManualClock().now()


def seconds(count: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=count)


RATE = Rate(burst=3, every=seconds(10))
PATIENCE = Patience(free=3, first=seconds(1), longest=seconds(60), forget=seconds(600))


def test_a_burst_then_one_each_ten_seconds() -> None:
    buckets: Buckets[str] = Buckets(RATE, 10)
    assert [buckets.take("a", NOW) for _ in range(3)] == [None] * 3
    assert buckets.take("a", NOW) == seconds(10)
    assert buckets.take("a", NOW + seconds(4)) == seconds(6)
    assert buckets.take("a", NOW + seconds(10)) is None
    assert buckets.take("a", NOW + seconds(10)) == seconds(10)
    assert buckets.take("b", NOW) is None
    assert [buckets.take("a", NOW + seconds(40)) for _ in range(4)] == [None, None, None, seconds(10)]


def test_a_refused_one_costs_nothing() -> None:
    buckets: Buckets[str] = Buckets(RATE, 10)
    for _ in range(3):
        buckets.take("a", NOW)
    assert {buckets.take("a", NOW) for _ in range(1000)} == {seconds(10)}
    assert buckets.take("a", NOW + seconds(10)) is None


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    buckets: Buckets[str] = Buckets(RATE, 10)
    pauses: Pauses[str] = Pauses(PATIENCE, 10)
    for _ in range(4):
        buckets.take("a", NOW)
        pauses.wrong("a", NOW)
    assert buckets.take("a", NOW - seconds(3600)) == seconds(10)
    assert pauses.wait("a", NOW - seconds(3600)) == seconds(1)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), max_size=200))
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_never_more_than_burst_and_time_allow(calls: list[tuple[int, str]]) -> None:
    buckets: Buckets[str] = Buckets(RATE, 10)
    taken: dict[str, list[datetime.datetime]] = {}
    now = NOW
    for later, name in calls:
        now += seconds(later)
        mine = taken.setdefault(name, [])
        wait = buckets.take(name, now)
        if wait is None:
            mine.append(now)
        else:
            assert seconds(0) < wait <= RATE.every
    for mine in taken.values():
        for first in range(len(mine)):
            for last in range(first, len(mine)):
                assert last - first + 1 <= RATE.burst + (mine[last] - mine[first]) / RATE.every


def test_memory_has_an_end() -> None:
    buckets: Buckets[int] = Buckets(RATE, 100)
    pauses: Pauses[int] = Pauses(PATIENCE, 100)
    for name in range(10_000):
        buckets.take(name, NOW)
        pauses.wrong(name, NOW)
    assert (len(buckets), len(pauses)) == (100, 100)
    for _ in range(2):
        buckets.take(9_900, NOW)  # used last, so another one is forgotten for the next
    buckets.take(10_000, NOW)
    assert buckets.take(9_900, NOW) is not None
    assert buckets.take(9_901, NOW) is None


@pytest.mark.parametrize(
    ("wrong", "wait"),
    [(0, None), (1, None), (3, None), (4, 1), (5, 2), (6, 4), (9, 32), (10, 60), (11, 60), (500, 60)],
)
def test_pauses_double_up_to_the_longest(wrong: int, wait: int | None) -> None:
    pauses: Pauses[str] = Pauses(PATIENCE, 10)
    for count in range(wrong):
        assert pauses.wrong("a", NOW) == count + 1
    assert pauses.wait("a", NOW) == (None if wait is None else seconds(wait))
    assert pauses.wait("b", NOW) is None
    assert pauses.paused(NOW) == (wait is not None)
    assert pauses.wait("a", NOW + seconds(wait or 0)) is None


def test_time_forgets_one_by_one_and_a_right_one_all() -> None:
    pauses: Pauses[str] = Pauses(PATIENCE, 10)
    for _ in range(6):
        pauses.wrong("a", NOW)
    assert pauses.wrong("a", NOW + seconds(1200)) == 5
    assert pauses.wrong("a", NOW + seconds(1200 + 7 * 600)) == 1
    for _ in range(6):
        pauses.wrong("a", NOW)
    pauses.right("a")
    pauses.right("nobody")
    assert (pauses.wait("a", NOW), len(pauses)) == (None, 0)
