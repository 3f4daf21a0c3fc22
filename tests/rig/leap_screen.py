"""The screen's server on a clock that leaps: run like `jpki-kiosk`, and each SIGUSR1 puts its clock forward by 65 s.

For limits that a citizen has a minute or more for. Two leaps end a place that waits 90 s for a press.
"""

from __future__ import annotations

import signal

from jpki_kiosk import clock, run
from jpki_kiosk.__main__ import main

LEAP_S = 65.0


class LeapingClock(clock.SystemClock):
    """Only the monotonic clock leaps."""

    leapt = 0.0

    def monotonic(self) -> float:
        """See `Clock`."""
        return super().monotonic() + LeapingClock.leapt


def leap(*_: object) -> None:
    """Put the clock forward."""
    LeapingClock.leapt += LEAP_S


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, leap)
    vars(run)["SystemClock"] = LeapingClock
    main()
