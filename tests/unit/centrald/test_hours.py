"""Opening hours and maintenance windows."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import pytest

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
