"""Opening hours and maintenance windows."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from centrald.rules.hours import Hours, Window, minutes, opening
from centrald.rules.model import Refusal

TOKYO = ZoneInfo("Asia/Tokyo")
DAILY = Hours(minutes("06:30"), minutes("23:00"), TOKYO)
ALWAYS = Hours(minutes("00:00"), minutes("24:00"), TOKYO)


def tokyo(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=TOKYO)


@pytest.mark.parametrize(
    ("now", "refusal", "opens_at", "closes_at"),
    [
        ("2026-11-22T06:29:59", Refusal.OUT_OF_HOURS, "2026-11-22T06:30", None),
        ("2026-11-22T06:30:00", None, None, "2026-11-22T23:00"),
        ("2026-11-22T22:59:59", None, None, "2026-11-22T23:00"),
        ("2026-11-22T23:00:00", Refusal.OUT_OF_HOURS, "2026-11-23T06:30", None),
        ("2026-11-22T00:00:00", Refusal.OUT_OF_HOURS, "2026-11-22T06:30", None),
    ],
)
def test_daily_hours(now: str, refusal: Refusal | None, opens_at: str | None, closes_at: str | None) -> None:
    judged = opening(DAILY, tokyo(now).astimezone(datetime.UTC))
    assert judged.refusal is refusal
    assert judged.opens_at == (tokyo(opens_at) if opens_at else None)
    assert judged.closes_at == (tokyo(closes_at) if closes_at else None)


def test_around_the_clock_never_closes() -> None:
    judged = opening(ALWAYS, tokyo("2026-11-22T00:00:00"))
    assert (judged.refusal, judged.opens_at, judged.closes_at) == (None, None, None)


@pytest.mark.parametrize(
    ("now", "refusal", "opens_at", "closes_at"),
    [
        ("2026-11-22T12:00", None, None, "2026-11-22T22:00"),
        ("2026-11-22T22:00", Refusal.MAINTENANCE, "2026-11-24T08:00", None),
        ("2026-11-22T23:30", Refusal.OUT_OF_HOURS, "2026-11-24T08:00", None),
        ("2026-11-24T07:59", Refusal.MAINTENANCE, "2026-11-24T08:00", None),
        ("2026-11-24T08:00", None, None, "2026-11-24T23:00"),
    ],
)
def test_a_maintenance_window_closes_and_delays(
    now: str, refusal: Refusal | None, opens_at: str | None, closes_at: str | None
) -> None:
    window = Window(tokyo("2026-11-22T22:00"), tokyo("2026-11-24T08:00"))
    judged = opening(Hours(DAILY.opens, DAILY.closes, TOKYO, (window,)), tokyo(now))
    assert judged.refusal is refusal
    assert judged.opens_at == (tokyo(opens_at) if opens_at else None)
    assert judged.closes_at == (tokyo(closes_at) if closes_at else None)


def test_a_window_within_a_day_leaves_both_ends_open() -> None:
    window = Window(tokyo("2026-11-22T12:00"), tokyo("2026-11-22T13:00"))
    hours = Hours(ALWAYS.opens, ALWAYS.closes, TOKYO, (window,))
    assert opening(hours, tokyo("2026-11-22T11:00")).closes_at == window.start
    assert opening(hours, tokyo("2026-11-22T12:30")).opens_at == window.end
    assert opening(hours, tokyo("2026-11-22T13:00")).closes_at is None


@pytest.mark.parametrize("text", ["6:30", "24:01", "12:60", "", "-1:00", "12:00:00"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        minutes(text)


MINUTE = datetime.timedelta(minutes=1)
MIDNIGHT = tokyo("2026-11-22T00:00")
MOMENTS = st.integers(0, 3 * 24 * 60).map(lambda count: MIDNIGHT + count * MINUTE)
WINDOWS = st.lists(
    st.builds(lambda start, length: Window(start, start + length * MINUTE), MOMENTS, st.integers(1, 36 * 60)),
    max_size=3,
)


@given(MOMENTS, st.integers(0, 24 * 60 - 1), st.integers(1, 24 * 60), WINDOWS)
@settings(derandomize=True, database=None, max_examples=300)
def test_open_is_within_hours_and_without_maintenance(
    now: datetime.datetime, opens: int, length: int, windows: list[Window]
) -> None:
    hours = Hours(opens, min(opens + length, 24 * 60), TOKYO, tuple(windows))
    judged = opening(hours, now)
    minute = now.hour * 60 + now.minute
    in_hours = opens <= minute < hours.closes
    maintained = any(window.start <= now < window.end for window in windows)
    assert judged.refusal is (
        None if in_hours and not maintained else Refusal.MAINTENANCE if in_hours else Refusal.OUT_OF_HOURS
    )
    if judged.closes_at is not None:
        assert judged.closes_at > now
        assert opening(hours, judged.closes_at).refusal is not None
        assert opening(hours, judged.closes_at - MINUTE).refusal is None
    if judged.opens_at is not None:
        assert judged.opens_at > now
        assert opening(hours, judged.opens_at).refusal is None
        assert opening(hours, judged.opens_at - MINUTE).refusal is not None
