"""The only place that asks for the time."""

from __future__ import annotations

import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic clock for every limit, wall clock to judge how old a record is."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary point; never goes back."""
        ...

    def now(self) -> datetime.datetime:
        """Return the wall clock's time, in UTC and aware of it."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()  # noqa: TID251 - this is the clock

    def now(self) -> datetime.datetime:
        """See `Clock`."""
        return datetime.datetime.now(datetime.UTC)
