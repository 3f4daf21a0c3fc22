"""The calls that are at work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from centrald.errors import CallError

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Running:
    """Finishes every call that began, also when its caller goes away: a transaction is never cut in two."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run the work in a task of its own and return its result."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_look)
            raise

    async def drained(self) -> None:
        """Return when nothing is at work any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)


def _look(task: asyncio.Task[Any]) -> None:
    """Look at the end of work whose caller is gone, for nobody else will."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, CallError):
        _log.error("failed after its caller had gone", extra={"error": type(error).__name__})
