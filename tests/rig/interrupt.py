"""Ctrl-C, a request to end and a closed terminal are one thing: an orderly end."""

from __future__ import annotations

import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_in_order() -> None:
    """Turn the first such signal into KeyboardInterrupt; what follows it is bounded and not interrupted again.

    SIGINT is set, too: a shell starts background commands with it ignored.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in SIGNALS:
        signal.signal(number, interrupt)
