"""The screen's server on a clock that leaps: run like `jpki-kiosk`, and each signal puts its clock forward by 65 s.

SIGUSR1: nobody pressed anything meanwhile. SIGUSR2: the page was silent, too. What follows from it is done at once,
before anything that a page sent is read, and then a line says so: two leaps are two, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import json
import signal

from jpki_kiosk import clock, kiosk, page, run
from jpki_kiosk.__main__ import main

LEAP_S = 65.0  # less than a place that waits 90 s for a press, longer than a page may be silent


class LeapingClock(clock.SystemClock):
    """Only the monotonic clock leaps."""

    def __init__(self) -> None:
        self.leapt = 0.0

    def monotonic(self) -> float:
        """See `Clock`."""
        return super().monotonic() + self.leapt

    def leap(self) -> None:
        """Put the clock forward."""
        self.leapt += LEAP_S


visit_clock, page_clock = LeapingClock(), LeapingClock()


class LeapingPages(page.Pages):
    """Pages on a clock of their own."""

    def __init__(self, _clock: clock.Clock) -> None:
        super().__init__(page_clock)
        LeapingPages.only = self

    only: LeapingPages


class LeapingKiosk(kiosk.Kiosk):
    """Takes the signals."""

    async def run(self) -> None:
        """See `Kiosk`."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self.leap)
        loop.add_signal_handler(signal.SIGUSR2, self.miss)
        await super().run()

    def leap(self) -> None:
        """Let a minute pass without a press."""
        visit_clock.leap()
        self.tick()
        print(json.dumps({"event": "leapt"}), flush=True)

    def miss(self) -> None:
        """Let a minute pass without a page."""
        page_clock.leap()
        if LeapingPages.only.lost:
            self.lost_page()
        self.leap()


if __name__ == "__main__":
    vars(run).update(SystemClock=lambda: visit_clock, Pages=LeapingPages, Kiosk=LeapingKiosk)
    main()
