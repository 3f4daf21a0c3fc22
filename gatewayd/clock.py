"""The only place of the daemon that asks for the time or waits for it."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> object:
        """Let it not come; harmless when it came already."""
        ...


class Clock(Protocol):
    """Wall clock for display and records, monotonic clock for every limit."""

    def now(self) -> datetime.datetime:
        """Return the wall clock's time, in UTC and aware of it."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary point; never goes back. Callable from every thread."""
        ...

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Have this called on the running loop after so many monotonic seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after this many monotonic seconds."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime.datetime:
        """See `Clock`."""
        return datetime.datetime.now(datetime.UTC)

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()  # noqa: TID251 - this is the clock

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """See `Clock`."""
        return asyncio.get_running_loop().call_later(seconds, call)

    async def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        await asyncio.sleep(seconds)


async def pause(clock: Clock, seconds: float, wake: asyncio.Event) -> None:
    """Return after this many monotonic seconds, or as soon as the event is set."""
    waits = [asyncio.ensure_future(wait) for wait in (clock.sleep(seconds), wake.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
