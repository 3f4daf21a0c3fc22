"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import datetime
import heapq
import itertools
from collections.abc import Callable

from gatewayd.clock import Timer


class FakeClock:
    """Implements `gatewayd.clock.Clock`; `advance` moves both clocks and wakes the sleepers that are due, in order."""

    def __init__(self, start: datetime.datetime | None = None) -> None:
        self._start = start or datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.UTC)
        self._seconds = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None], Callable[[], object] | None]] = []

    def now(self) -> datetime.datetime:
        return self._start + datetime.timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        return self._due_in(seconds, call)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await self._due_in(seconds)

    def _due_in(self, seconds: float, call: Callable[[], object] | None = None) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[2].done()]  # cancelled
        heapq.heapify(self._sleepers)
        heapq.heappush(self._sleepers, (self._seconds + max(0.0, seconds), next(self._order), future, call))
        return future

    async def advance(self, seconds: float) -> None:
        """Let this much time pass; each sleeper wakes at its own moment and may sleep again."""
        end = self._seconds + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future, call = heapq.heappop(self._sleepers)
            self._seconds = max(self._seconds, due)
            if not future.done():
                future.set_result(None)
                if call:
                    call()
            await self._settle()
        self._seconds = end
        await self._settle()

    @staticmethod
    async def _settle() -> None:
        for _ in range(20):  # lets everything that is ready run; nothing here waits for real time
            await asyncio.sleep(0)
