"""The owner thread: the one place where a card is connected, spoken to and given back.

It takes one piece of work at a time from a queue and runs it whole, so a job of many APDUs costs one hop. Nothing can
stop a running PC/SC call; what the loop no longer wants is marked, and the job's next command is refused. Every error
ends the connection, and nothing on this thread repeats a command.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from gatewayd.clock import Clock
from gatewayd.errors import (
    CardAbsent,
    DeadlineExceeded,
    LinkEnded,
    LinkError,
    ReaderHeld,
    ServiceLost,
    TransmitFailed,
)
from gatewayd.reader import pcsc
from gatewayd.reader.hooks import ReaderHooks, lock_failure_reason
from gatewayd.reader.port import Job
from gatewayd.reader.timing import Timing

_SHORTEST_ANSWER = 2  # the status word


@dataclass(eq=False, slots=True)
class Generation:
    """One connection's life. Both sides may end it; nothing brings it back."""

    ended: bool = False


@dataclass(eq=False, slots=True)
class Work:
    """One job on its way through the thread, and what the loop may look at meanwhile."""

    generation: Generation
    job: Job[Any] | None  # None: only end the connection
    deadline: float  # monotonic
    last: bool
    asked: float  # monotonic
    deliver: Callable[[Any, Exception | None], None]  # called on the thread, once
    wanted: bool = True  # cleared by the loop: send nothing further
    call_since: float | None = None  # monotonic, while a PC/SC call runs


@dataclass(eq=False, slots=True)
class _Held:
    """The reader lock: a connected card."""

    generation: Generation
    context: pcsc.Context
    reader: str
    card: pcsc.Card
    counter: int  # pcscd's insertions and removals when it was connected
    since: float  # monotonic
    failure: LinkError | None = None  # after the first one, nothing is sent any more


class CardThread:
    """The thread's state; `run` is its body. `submit` and `stop` are for the loop."""

    def __init__(
        self,
        configured: str,
        clock: Clock,
        hooks: ReaderHooks,
        timing: Timing,
        await_news: Callable[[int, float], None],
    ) -> None:
        self._configured = configured
        self._clock = clock
        self._hooks = hooks
        self._timing = timing
        self._await_news = await_news
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._context: pcsc.Context | None = None
        self._held: _Held | None = None
        self._failed_counter: int | None = None  # the card of this count failed and has not been lifted since

    def submit(self, work: Work) -> None:
        """Queue a piece of work; its `deliver` is called once in any case, unless the thread hangs for ever."""
        self._queue.put(work)

    def stop(self) -> None:
        """Let a running job send nothing further, refuse the rest and end the thread."""
        self._stopping.set()
        self._queue.put(None)

    def run(self) -> None:
        """Work until `stop`: the thread's body."""
        while work := self._queue.get():
            self._perform(work)
        self._end(None)
        self._drop_context()
        while not self._queue.empty():
            if late := self._queue.get():
                late.deliver(None, LinkEnded("the reader is closed; nothing was sent"))

    def _perform(self, work: Work) -> None:
        value: Any = None
        error: Exception | None = None
        try:
            value = self._run_job(work)
        except Exception as caught:  # noqa: BLE001 - whatever a job raises belongs to the coroutine that waits for it
            error = caught
        held = self._held
        failure = held.failure if held else None  # there may be one although the job made a value of it
        if error or failure or work.last or not work.wanted:
            work.generation.ended = True
        if held and held.generation.ended:
            with self.calling(work):
                self._end(failure)
        work.deliver(value, error)

    def _run_job(self, work: Work) -> Any:
        if work.job is None:
            return None
        if work.generation.ended:
            raise LinkEnded("the connection has ended; nothing was sent")
        held = self._held
        if held is None or held.generation is not work.generation:
            self._end(None)  # one generation at a time: a newer one ends the older
            held = self._take_lock(work)
        return work.job(_JobLink(self, held, work))

    # The reader lock

    def _take_lock(self, work: Work) -> _Held:
        try:
            held = self._connect_patiently(work)
        except LinkError as error:
            self._hooks.lock_failed(lock_failure_reason(error))
            raise
        self._held = held
        self._hooks.lock_waited(held.since - work.asked)
        self._hooks.lock_taken()
        return held

    def _connect_patiently(self, work: Work) -> _Held:
        """Connect; wait a little for a foreign holder to go, or for pcscd to come back. Raises LinkError."""
        give_up = self._clock.monotonic() + self._timing.connect_patience
        while True:
            self.check(work)
            try:
                with self.calling(work):
                    return self._connect(work)
            except (ReaderHeld, ServiceLost) as error:
                if isinstance(error, ServiceLost):
                    self._drop_context()
                    self._failed_counter = None  # a new pcscd powers the card anew, and counts anew
                if self._clock.monotonic() >= give_up:
                    raise
            self._stopping.wait(self._timing.retry_pause)

    def _connect(self, work: Work) -> _Held:
        context = self._context = self._context or pcsc.establish()
        reader = pcsc.choose_reader(context.readers(), self._configured)
        self._demand_lifted(work, context, reader)
        card = context.connect(reader)
        try:
            # Counted after connecting: a swap in between then costs a needless lift, never a missed one.
            counter = context.slot(reader).counter
        except LinkError:
            with contextlib.suppress(LinkError):
                card.disconnect(leave=False)
            raise
        return _Held(work.generation, context, reader, card, counter, self._clock.monotonic())

    def _demand_lifted(self, work: Work, context: pcsc.Context, reader: str) -> None:
        """Wait, not long, until the card that failed has been lifted. Raises CardAbsent when it still lies there.

        After a failed command pcscd may not notice that the card was swapped within its poll, and would let the next
        command through to another card without power-up. Only a removal it has seen makes the reader trustworthy.
        """
        if self._failed_counter is None:
            return
        give_up = self._clock.monotonic() + self._timing.lift_patience
        slot = context.slot(reader)
        while slot.card_present and slot.counter == self._failed_counter:
            self.check(work)
            left = give_up - self._clock.monotonic()
            if left <= 0:
                raise CardAbsent("the card that failed has not been lifted; nothing was sent")
            slot = context.wait(reader, slot, min(left, self._timing.retry_pause))
        self._failed_counter = None

    def _end(self, failure: LinkError | None) -> None:
        """Give the reader back with the card reset. Never raises."""
        held = self._held
        if held is None:
            return
        held.generation.ended = True
        torn = isinstance(failure, TransmitFailed)
        gone = False
        try:
            gone = self._is_gone(held, self._timing.presence_poll if torn else 0)
            held.card.disconnect(leave=gone)
        except LinkError as error:
            failure = failure or error  # the handle is void either way
        self._held = None
        if torn:
            self._failed_counter = held.counter
        if failure:
            self._drop_context()
        self._hooks.lock_held(self._clock.monotonic() - held.since)
        self._hooks.lock_released()
        if torn and gone:
            # First the lift, then the failure: or the citizen would be asked to lift a card that is in their hand.
            self._await_news(held.counter, self._timing.news_patience)

    def _is_gone(self, held: _Held, patience: float) -> bool:
        """Tell whether the card was pulled; with patience, once pcscd must have noticed. Raises LinkError.

        A reset of an empty reader keeps pcscd from seeing the next card for seconds; a card left without a reset keeps
        its verified PIN. So neither is done on a guess.
        """
        give_up = self._clock.monotonic() + patience
        slot = held.context.slot(held.reader)
        while slot.card_present and slot.counter == held.counter:
            left = give_up - self._clock.monotonic()
            if left <= 0:
                return False
            slot = held.context.wait(held.reader, slot, left)
        return True

    def _drop_context(self) -> None:
        context, self._context = self._context, None
        if context:
            context.release()

    # For the link of a running job

    def check(self, work: Work) -> None:
        """Raise DeadlineExceeded, before anything is sent, for a job that is over or no longer wanted."""
        if not work.wanted or self._stopping.is_set() or self._clock.monotonic() >= work.deadline:
            raise DeadlineExceeded("the job is over; nothing further is sent")

    @contextlib.contextmanager
    def calling(self, work: Work) -> Iterator[None]:
        """Let the loop see since when PC/SC has not come back."""
        work.call_since = self._clock.monotonic()
        try:
            yield
        finally:
            work.call_since = None


class _JobLink:
    """The card as one job sees it. The first failure is the last call."""

    def __init__(self, thread: CardThread, held: _Held, work: Work) -> None:
        self._thread = thread
        self._held = held
        self._work = work

    def transmit(self, command: bytes) -> bytes:
        """See `Link`."""
        with self._call():
            answer = self._held.card.transmit(command)
            if len(answer) < _SHORTEST_ANSWER:
                # A card torn off during a command: PC/SC calls it a success.
                raise TransmitFailed(f"an answer of {len(answer)} bytes")
            return answer

    def reset(self) -> None:
        """See `Link`."""
        with self._call():
            self._held.card.reset()

    @contextlib.contextmanager
    def _call(self) -> Iterator[None]:
        if self._held.failure:
            raise LinkEnded("an earlier command failed; nothing was sent")
        self._thread.check(self._work)
        with self._thread.calling(self._work):
            try:
                yield
            except LinkError as error:
                self._held.failure = error
                raise
