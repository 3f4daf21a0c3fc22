"""The journal's thread: the one place where the journal's connection is used."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from gatewayd.errors import JournalUnavailable

T = TypeVar("T")

# A disk that has not synced one row by then is no place for a durable promise.
DEADLINE_S = 10.0
IDLE_S = 0.1  # without a job: then nobody waits for one


@dataclass(eq=False, slots=True)
class _Work:
    """One job on its way, and where its result goes."""

    job: Callable[[], object]
    loop: asyncio.AbstractEventLoop
    outcome: asyncio.Future[Any]
    wanted: bool = True  # cleared by the loop

    def deliver(self, result: object, error: BaseException | None) -> None:
        """Hand the result to the loop, from the thread. A closed loop has nobody left to tell."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._arrive, result, error)

    def _arrive(self, result: object, error: BaseException | None) -> None:
        if self.outcome.done():
            return
        if error is None:
            self.outcome.set_result(result)
        else:
            self.outcome.set_exception(error)


class JournalThread:
    """Runs jobs one after the other on one thread; a daemon thread, so that a hung disk cannot hold up the exit."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._when_idle: Callable[[], object] | None = None
        self.stopped = False
        threading.Thread(target=self._work, name="journal", daemon=True).start()

    async def run(self, job: Callable[[], T]) -> T:
        """Run the job on the thread and return its result.

        A caller that is cancelled, or a deadline that passes, before the job has begun drops it; a job that has begun
        runs to its end.

        Raises:
            JournalUnavailable: the thread was stopped, or 10 s are over (the job may still have its effect).
        """
        if self.stopped:
            raise JournalUnavailable("the journal is closed")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        work = _Work(job, loop, outcome)
        self._jobs.put(work)
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await outcome
        except TimeoutError:
            raise JournalUnavailable("the journal does not answer in time") from None
        finally:
            work.wanted = False

    def when_idle(self, job: Callable[[], object]) -> None:
        """Run the job, which must not raise, once nobody waits; for jobs to call. Dropped if the thread ends before."""
        self._when_idle = job

    def stop(self) -> None:
        """End the thread after the jobs it was given."""
        self.stopped = True
        self._jobs.put(None)

    def _work(self) -> None:
        while (work := self._next()) is not None:
            if not work.wanted:
                continue
            try:
                result = work.job()
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
                work.deliver(None, error)
            else:
                work.deliver(result, None)

    def _next(self) -> _Work | None:
        while self._when_idle is not None:
            try:
                return self._jobs.get(timeout=IDLE_S)
            except queue.Empty:
                job, self._when_idle = self._when_idle, None
                job()
        return self._jobs.get()
