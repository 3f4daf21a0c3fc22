"""The daemon on a hasty clock: every limit comes twenty times as soon. Run like `gatewayd`.

For tests of limits that a citizen has a minute or more for. Everything else is the daemon as it is.
"""

from __future__ import annotations

import asyncio
import datetime
import sys
import time
from pathlib import Path

from gatewayd import logs
from gatewayd.config import load

HASTE = 20.0


class HastyClock:
    """Implements `gatewayd.clock.Clock`; only the wall clock is right."""

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)

    def monotonic(self) -> float:
        return time.monotonic() * HASTE

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / HASTE)


def main() -> None:
    from gatewayd.app import serve

    listener = logs.set_up("info", journald=False)
    try:
        asyncio.run(serve(load(Path(sys.argv[sys.argv.index("--config") + 1])), HastyClock()))
    finally:
        listener.stop()


if __name__ == "__main__":
    main()
