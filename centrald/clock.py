"""The only place of the service that asks for the time."""

from __future__ import annotations

import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """A wall clock. The service's time is the database's: with SQLite the machine's clock, else the server's own."""

    def now(self) -> datetime.datetime:
        """Return the time, in UTC and aware of it."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime.datetime:
        """See `Clock`."""
        return datetime.datetime.now(datetime.UTC)


def monotonic() -> float:
    """Return seconds for measuring how long something took."""
    return time.monotonic()  # noqa: TID251 - this is the clock
