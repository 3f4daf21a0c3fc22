"""Feeds the service manager's watchdog while the daemon moves: its loop, and the reader's thread."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from gatewayd.clock import Clock
from gatewayd.notify import notify

log = logging.getLogger(__name__)


def watchdog_limit_s() -> float | None:
    """Return within how many seconds the manager wants to hear of this process; None when it does not.

    sd_watchdog_enabled(3): WATCHDOG_USEC, unless WATCHDOG_PID names another process.
    """
    microseconds, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if process is not None and process != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000


async def feed_watchdog(clock: Clock, limit_s: float, moves: Callable[[], bool]) -> None:
    """Tell the manager twice within its limit that the daemon lives, while it moves; runs on the loop, for life.

    That the loop moves shows by itself; `moves` answers for the rest. A feeder on a thread of its own would hide
    exactly the fault it is for.
    """
    fed = True
    while True:
        if (moving := moves()) != fed:
            fed = moving
            log.log(logging.INFO if fed else logging.ERROR, "watchdog fed again" if fed else "watchdog not fed")
        if moving:
            notify("WATCHDOG=1")
        await clock.sleep(limit_s / 2)
