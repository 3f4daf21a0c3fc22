"""The journal's thread: the one place where the journal's connection is used."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from gatewayd.errors import JournalUnavailable

T = TypeVar("T")

# A disk that has not synced one row by then is no place for a durable promise.
DEADLINE_S = 10.0
IDLE_S = 0.1  # without a job: then nobody waits for one


class JournalThread:
    """Runs jobs one after the other on one thread; a daemon thread, so that a hung disk cannot hold up the exit."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[concurrent.futures.Future[object], Callable[[], object]] | None] = (
            queue.SimpleQueue()
        )
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
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._jobs.put((future, job))  # type: ignore[arg-type]  # the queue holds jobs of every result type
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise JournalUnavailable("the journal does not answer in time") from None

    def when_idle(self, job: Callable[[], object]) -> None:
        """Run the job, which must not raise, once nobody waits; for jobs to call. Dropped if the thread ends before."""
        self._when_idle = job

    def stop(self) -> None:
        """End the thread after the jobs it was given."""
        self.stopped = True
        self._jobs.put(None)

    def _work(self) -> None:
        while (entry := self._next()) is not None:
            future, job = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
                future.set_exception(error)
            else:
                future.set_result(result)

    def _next(self) -> tuple[concurrent.futures.Future[object], Callable[[], object]] | None:
        while self._when_idle is not None:
            try:
                return self._jobs.get(timeout=IDLE_S)
            except queue.Empty:
                job, self._when_idle = self._when_idle, None
                job()
        return self._jobs.get()
