"""A central service that dies (SIGKILL) when a certain transaction is committed and its answer not yet given.

python -m tests.rig.dying_central DIRECTORY COUNT      COUNT: which of its transactions, from 1
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from centrald import app
from centrald.config import load
from centrald.storage.database import Database
from centrald.storage.transaction import Transaction

T = TypeVar("T")

_run = Database.run


def main() -> None:
    """Serve until then."""
    directory, left = Path(sys.argv[1]), int(sys.argv[2])

    async def run(self: Database, work: Callable[[Transaction], Awaitable[T]], *, timed: bool = True) -> T:
        nonlocal left
        result = await _run(self, work, timed=timed)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Database.run = run  # type: ignore[method-assign]
    asyncio.run(app.serve(directory, load(directory), lambda line: print(line, flush=True)))


main()
