"""One job of the fake reader. A command that waits for its answer suspends the job.

A job is synchronous, so it is suspended on a thread of its own, which runs only while the loop stands still.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from gatewayd.errors import DeadlineExceeded, LinkEnded
from gatewayd.reader.port import Job

if TYPE_CHECKING:
    from tests.fakes.reader import FakeConnection, FakeReader

APDU_LIMIT_S = 10.0


class Running:
    """One job, and the link it sees."""

    def __init__(
        self,
        connection: FakeConnection,
        reader: FakeReader,
        job: Job[Any],
        deadline: float,
        late: Callable[[Any], None] | None,
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._job = job
        self._deadline = deadline
        self._late = late
        self._wanted = True
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._value: Any = None
        self._error: Exception | None = None
        self._resume: SimpleQueue[bool] = SimpleQueue()
        self._paused: SimpleQueue[bool] = SimpleQueue()  # True: the job is over
        self._suspended_at = 0.0

    async def outcome(self) -> Any:
        if not self._reader.may_suspend:
            self._run()
            self._over.set_result(None)
        else:
            threading.Thread(target=self._run_aside, daemon=True).start()
            self._wait_for_job()
        try:
            await self._wait()
        except BaseException:
            self._wanted = False
            raise
        if self._error:
            raise self._error
        return self._value

    async def _wait(self) -> None:
        clock = self._reader.clock
        while not self._over.done():
            left = min(self._deadline, self._suspended_at + APDU_LIMIT_S) - clock.monotonic()
            if left <= 0:
                self._reader.set_stuck(self, stuck=True)
                raise DeadlineExceeded("mute")
            timer = asyncio.ensure_future(clock.sleep(left))
            await asyncio.wait({self._over, timer}, return_when=asyncio.FIRST_COMPLETED)
            timer.cancel()

    # The link

    def transmit(self, command: bytes) -> bytes:
        self._check()
        return self._reader.exchange(self._connection, command, self._suspend)

    def reset(self) -> None:
        self._check()
        self._reader.reset_card()

    def _check(self) -> None:
        if self._connection.broken:
            raise LinkEnded("an earlier command failed")
        if not self._wanted or self._reader.clock.monotonic() >= self._deadline:
            raise DeadlineExceeded("over")
        if self._connection.lost:
            raise self._connection.fail(self._connection.lost)

    # The job

    def _run(self) -> None:
        try:
            self._value = self._job(self)
        except Exception as error:  # noqa: BLE001 - as the real one: it belongs to whoever waits
            self._error = error

    def _run_aside(self) -> None:
        self._run()
        self._paused.put(True)

    def _suspend(self) -> bool:
        """On the job's thread: stand still until the answer comes; False when it never will."""
        self._paused.put(False)
        return self._resume.get()

    def _wait_for_job(self) -> None:
        """On the loop: stand still until the job does, or is over."""
        if self._paused.get():
            self._finish()
        else:
            self._suspended_at = self._reader.clock.monotonic()
            self._reader.hold_answer(self._go_on)

    def _go_on(self, answered: bool) -> None:
        self._resume.put(answered)
        self._wait_for_job()

    def _finish(self) -> None:
        self._reader.set_stuck(self, stuck=False)
        self._over.set_result(None)
        if not self._wanted:
            self._connection.end()
            if self._late and self._error is None:
                self._late(self._value)
