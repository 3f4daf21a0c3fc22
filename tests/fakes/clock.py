"""Time as the test decides."""

from __future__ import annotations

import asyncio
import datetime
import heapq
import itertools


class ManualClock:
    """A clock that stands until `advance`; with `automatic`, a sleep takes no real time but its clock time."""

    def __init__(self, *, automatic: bool = False) -> None:
        self.automatic = automatic
        self.slept: list[float] = []
        self._now = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.UTC)
        self._monotonic = 1000.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime.datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.automatic:
            await self.advance(seconds)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), future))
        await future

    @property
    def sleeping(self) -> int:
        """How many wait on this clock."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def jump(self, seconds: float) -> None:
        """Set the wall clock; the monotonic clock does not notice."""
        self._now += datetime.timedelta(seconds=seconds)

    async def advance(self, seconds: float) -> None:
        """Let time pass and let those whose wait is over run."""
        self._monotonic += seconds
        self._now += datetime.timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
        await asyncio.sleep(0)
