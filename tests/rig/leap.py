"""The daemon on a clock that leaps: run like `gatewayd`, and each SIGUSR1 puts its clock forward by 130 s.

For limits that a citizen has a minute or more for. Between two leaps time is as it is, so that nothing else is late.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import signal
import time
from collections.abc import Callable

from gatewayd import __main__ as daemon
from gatewayd.clock import Timer

LEAP_S = 130.0  # longer than a person is waited for at any step but the new password's, shorter than an attempt


class LeapingClock:
    """Implements `gatewayd.clock.Clock`; only the monotonic clock leaps."""

    def __init__(self) -> None:
        self._leapt = 0.0
        self._leap: asyncio.Event | None = None

    def now(self) -> datetime.datetime:
        """See `Clock`."""
        return datetime.datetime.now(datetime.UTC)

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic() + self._leapt

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """See `Clock`."""
        sleep = asyncio.ensure_future(self.sleep(seconds))
        sleep.add_done_callback(lambda sleep: None if sleep.cancelled() else call())
        return sleep

    async def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        if self._leap is None:
            self._leap = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.leap)
        end = self.monotonic() + seconds
        await asyncio.sleep(0)
        while (left := end - self.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._leap.wait()

    def leap(self) -> None:
        """Put the clock forward and wake whoever waits for it."""
        assert self._leap is not None
        self._leapt += LEAP_S
        self._leap.set()
        self._leap = asyncio.Event()


if __name__ == "__main__":
    daemon.SystemClock = LeapingClock  # type: ignore[attr-defined,assignment]
    daemon.main()
