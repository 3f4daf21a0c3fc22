"""Ctrl-C, a request to end and a closed terminal are one thing: an orderly end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

import uvloop

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

T = TypeVar("T")


def end_in_order() -> None:
    """Turn the first such signal into KeyboardInterrupt; what follows it is bounded and not interrupted again.

    SIGINT is set, too: a shell starts background commands with it ignored.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        _ignore()
        raise KeyboardInterrupt

    for number in SIGNALS:
        signal.signal(number, interrupt)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the work in a loop of its own; the first such signal cancels it, and is then raised as KeyboardInterrupt.

    Raised where it comes, it would end whatever task is at work in that moment, and the loop beside it.
    """

    async def cancellable() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work

    try:
        result = uvloop.run(cancellable())  # which leaves more of the machine to what is measured
    except asyncio.CancelledError:
        _ignore()
        raise KeyboardInterrupt from None
    end_in_order()  # the loop has taken its own handlers along
    return result


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
