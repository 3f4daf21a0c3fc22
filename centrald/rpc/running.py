"""The calls that are at work."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class Running:
    """Finishes every call that began, also when its caller goes away: a transaction is never cut in two."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run the work in a task of its own and return its result."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the caller may be gone; then nobody else looks at it

    async def drained(self) -> None:
        """Return when nothing is at work any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)
