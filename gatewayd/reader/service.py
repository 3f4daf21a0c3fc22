"""The asyncio face of the reader: two threads behind, and one way from them into the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from gatewayd.clock import Clock, Timer
from gatewayd.errors import DeadlineExceeded, LinkEnded, LinkError
from gatewayd.reader.hooks import ReaderHooks
from gatewayd.reader.port import Connection, Job, ReaderProblem, ReaderState
from gatewayd.reader.thread import CardThread, Generation, Work
from gatewayd.reader.timing import Timing
from gatewayd.reader.watch import UNSEEN, PresenceWatch

T = TypeVar("T")

_DEFAULT_HOOKS = ReaderHooks()
_DEFAULT_TIMING = Timing()


class PcscReader:
    """The kiosk's reader over PC/SC (`ReaderPort`): two threads and two contexts from `start` to `close`.

    `name` is the full PC/SC name, or the name without its index and slot if only one reader has it. Starts and stays up
    without reader and without pcscd; the state says what is missing, and clears by itself.
    """

    def __init__(
        self, name: str, clock: Clock, hooks: ReaderHooks = _DEFAULT_HOOKS, timing: Timing = _DEFAULT_TIMING
    ) -> None:
        self._clock = clock
        self._timing = timing
        self._watch = PresenceWatch(name, clock, self._publish, hooks, timing)
        self._thread = CardThread(name, clock, hooks, timing, self._watch.await_news)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None  # the owner thread
        self._closed = False
        self._seen = UNSEEN
        self._followed: dict[Work, Timer] = {}  # until it returns or is overdue
        self._overdue: dict[Work, float] = {}  # since when, monotonic
        self._supervisor: asyncio.Task[None] | None = None
        self._state = UNSEEN
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Start both threads; to be called on the loop that will use the reader."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        for body, name in ((self._own, "reader-owner"), (self._watch.run, "reader-watch")):
            threading.Thread(target=body, name=name, daemon=True).start()
        self._supervisor = asyncio.ensure_future(self._supervise())

    async def close(self) -> None:
        """End both threads, and with them any connection: card reset, disconnect.

        The presence watch, which has nothing to give back, ends with its slice and is not waited for. An owner thread
        that PC/SC does not let go within 3 s is abandoned; both are daemon threads.
        """
        self._closed = True
        self._watch.stop()
        self._thread.stop()
        if self._ended is not None:
            limit = self._clock.call_later(self._timing.close_limit, partial(_finish, self._ended))
            await self._ended
            limit.cancel()
        if self._supervisor is not None:
            self._supervisor.cancel()

    @property
    def state(self) -> ReaderState:
        """See `ReaderPort`."""
        return self._state

    async def changed(self, since: ReaderState) -> ReaderState:
        """See `ReaderPort`."""
        while self._state == since:
            await self._changed.wait()
        return self._state

    @property
    def stuck_for_s(self) -> float:
        """See `ReaderPort`."""
        now = self._clock.monotonic()
        silent = now - self._watch.last_seen - self._timing.silence_limit
        return max(0.0, silent, *(now - since for since in self._overdue.values()))

    def connection(self) -> Connection:
        """See `ReaderPort`."""
        return _Connection(self)

    # For the connections

    async def submit(
        self,
        generation: Generation,
        job: Job[T] | None,
        budget_s: float,
        *,
        last: bool,
        late: Callable[[T], None] | None,
    ) -> T:
        """Hand work to the owner thread and wait for it, but no longer than its budget or one APDU's."""
        if self._closed or self._loop is None:
            raise LinkEnded("the reader is closed; nothing was sent")
        outcome: asyncio.Future[T] = self._loop.create_future()

        def arrive(value: T, error: Exception | None) -> None:
            self._let_go(work)
            if not outcome.done():
                outcome.set_exception(error) if error else outcome.set_result(value)
            elif late and not error:
                late(value)

        now = self._clock.monotonic()
        work = Work(generation, job, now + budget_s, last, now, lambda *result: self._to_loop(arrive, *result))
        self._thread.submit(work)
        self._follow(work, outcome)
        try:
            return await outcome
        except asyncio.CancelledError:
            self._give_up(work)
            raise

    async def end(self, generation: Generation) -> None:
        """Have a connection ended. Raises LinkError."""
        await self.submit(generation, None, self._timing.apdu_limit, last=True, late=None)

    def _follow(self, work: Work, outcome: asyncio.Future[Any]) -> None:
        """Look at the work when its limit may be over, also when nobody waits any more: then the reader is stuck."""
        left = self._limit(work) - self._clock.monotonic()
        if left > 0:
            self._followed[work] = self._clock.call_later(left, lambda: self._follow(work, outcome))
            return
        self._overdue[work] = self._clock.monotonic()
        self._refresh()
        self._give_up(work)
        if not outcome.done():
            outcome.set_exception(DeadlineExceeded("the card or the reader does not answer in time"))

    def _give_up(self, work: Work) -> None:
        """Let the work send nothing further, and have its connection ended even if it has just come to its end."""
        work.wanted = False
        work.generation.ended = True
        if not work.last:
            self._thread.submit(replace(work, job=None, last=True, deliver=_nothing))

    def _let_go(self, work: Work) -> None:
        """Follow the work no further: it has returned."""
        if timer := self._followed.pop(work, None):
            timer.cancel()
        if self._overdue.pop(work, None) is not None:
            self._refresh()

    async def _supervise(self) -> None:
        """Notice that the presence watch hangs, as it does with a pcscd that hangs: nobody else would before a job."""
        while True:
            await self._clock.sleep(self._timing.silence_limit / 2)
            self._refresh()

    def _limit(self, work: Work) -> float:
        """Return until when, monotonic, the running call or the whole job may go on."""
        since = work.call_since  # read once: the owner thread changes it
        begun = self._clock.monotonic() if since is None else since
        return min(work.deadline, begun + self._timing.apdu_limit)

    # From the threads

    def _own(self) -> None:
        try:
            self._thread.run()
        finally:
            self._to_loop(_finish, self._ended)

    def _to_loop(self, call: Callable[..., None], *arguments: object) -> None:
        """Have something called on the loop: the only way there. A closed loop has nobody left to tell."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            return

    def _publish(self, seen: ReaderState) -> None:
        self._to_loop(self._see, seen)

    # On the loop

    def _see(self, seen: ReaderState) -> None:
        self._seen = seen
        self._refresh()

    def _refresh(self) -> None:
        is_silent = self._clock.monotonic() - self._watch.last_seen > self._timing.silence_limit
        is_stuck = bool(self._overdue) or is_silent
        state = replace(self._seen, problem=ReaderProblem.READER_STUCK) if is_stuck else self._seen
        if state != self._state:
            self._state = state
            self._changed.set()
            self._changed = asyncio.Event()


class _Connection:
    """One generation (`Connection`)."""

    def __init__(self, reader: PcscReader) -> None:
        self._reader = reader
        self._generation = Generation()
        self._used = False

    async def run(
        self, job: Job[T], *, budget_s: float, last: bool = False, late: Callable[[T], None] | None = None
    ) -> T:
        """See `Connection`."""
        if self._generation.ended:
            raise LinkEnded("the connection has ended; nothing was sent")
        self._used = True
        return await self._reader.submit(self._generation, job, budget_s, last=last, late=late)

    async def close(self) -> None:
        """See `Connection`."""
        if not self._used or self._generation.ended:
            self._generation.ended = True
            return
        try:
            await self._reader.end(self._generation)
        except LinkError:
            return


def _nothing(*_: object) -> None:
    pass


def _finish(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
