"""When the service is open: daily hours in one time zone, minus announced maintenance windows."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo

from centrald.rules.model import Refusal

_DAY = datetime.timedelta(days=1)
_LOOK_AHEAD = 8 * _DAY  # beyond this, "always open" is what an opening without an end is called
_TIME = re.compile(r"(\d\d):(\d\d)")
_MINUTES_OF_DAY = 24 * 60

_Spans = list[tuple[datetime.datetime, datetime.datetime]]


def minutes(text: str) -> int:
    """Return "HH:MM" (00:00 to 24:00) as minutes since midnight; raises ValueError."""
    match = _TIME.fullmatch(text)
    value = int(match[1]) * 60 + int(match[2]) if match and int(match[2]) < 60 else -1
    if not 0 <= value <= _MINUTES_OF_DAY:
        raise ValueError(f"{text!r} is not a time between 00:00 and 24:00")
    return value


@dataclass(frozen=True, slots=True)
class Window:
    """An announced maintenance window, from `start` until before `end`; both aware."""

    start: datetime.datetime
    end: datetime.datetime


@dataclass(frozen=True, slots=True)
class Hours:
    """The opening hours; times of day in minutes since midnight of the zone, `closes` up to 1440."""

    opens: int
    closes: int
    zone: ZoneInfo
    maintenance: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether the service is open, and until or from when."""

    refusal: Refusal | None  # None, OUT_OF_HOURS or MAINTENANCE
    opens_at: datetime.datetime | None  # while closed
    closes_at: datetime.datetime | None  # while open; None: not within a week


def opening(hours: Hours, now: datetime.datetime) -> Opening:
    """Judge one moment."""
    last = max((window.end for window in hours.maintenance), default=now)
    horizon = max(now, last) + _LOOK_AHEAD
    daily = _daily(hours, now, horizon)
    spans = daily
    for window in hours.maintenance:
        spans = [piece for span in spans for piece in _without(span, window)]
    for start, end in spans:
        if start <= now < end:
            return Opening(None, None, end if end < horizon else None)
    opens_at = next((start for start, _ in spans if start > now), None)
    in_hours = any(start <= now < end for start, end in daily)
    return Opening(Refusal.MAINTENANCE if in_hours else Refusal.OUT_OF_HOURS, opens_at, None)


def _daily(hours: Hours, now: datetime.datetime, horizon: datetime.datetime) -> _Spans:
    """Return the daily openings from yesterday until past the horizon, in UTC; those that touch are one."""
    spans: _Spans = []
    day = now.astimezone(hours.zone).date() - _DAY
    while not spans or spans[-1][1] < horizon:
        start, end = _at(day, hours.opens, hours.zone), _at(day, hours.closes, hours.zone)
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
        day += _DAY
    return spans


@lru_cache(maxsize=256)
def _at(day: datetime.date, minute: int, zone: ZoneInfo) -> datetime.datetime:
    midnight = datetime.datetime.combine(day + _DAY * (minute // _MINUTES_OF_DAY), datetime.time(), zone)
    local = midnight.replace(hour=minute % _MINUTES_OF_DAY // 60, minute=minute % 60)
    return local.astimezone(datetime.UTC)


def _without(span: tuple[datetime.datetime, datetime.datetime], window: Window) -> _Spans:
    start, end = span
    pieces = [(start, min(end, window.start)), (max(start, window.end), end)]
    return [piece for piece in pieces if piece[0] < piece[1]]
