"""The two signals that end the simulator."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set; afterwards both are ignored for the rest of the process's life.

    A loop's own handlers give a signal its default back when the loop is closed: one more signal would then kill a
    process that has done all its work.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if not asked:  # a flood of signals would leave the loop no time for the stop
            asked = True
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
