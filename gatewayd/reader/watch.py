"""The presence watch: one thread, one context, one question. It informs; the operation's own error decides.

It waits in slices, because nothing else ends a wait for certain, and passes each state back whole, so that a swap
between two waits still shows in the event counter.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from gatewayd.clock import Clock
from gatewayd.errors import CardAbsent, LinkError, ReaderHeld, ReaderMissing, TransmitFailed
from gatewayd.reader import pcsc
from gatewayd.reader.hooks import ReaderHooks
from gatewayd.reader.pcsc import SlotState
from gatewayd.reader.port import ReaderProblem, ReaderState
from gatewayd.reader.timing import Timing

_log = logging.getLogger(__name__)
_COUNTER_MODULUS = 1 << 16
_LOOK_AGAIN_S = 2.0  # between two resets of a card that answers none

UNSEEN = ReaderState(ReaderProblem.PCSC_UNAVAILABLE, name="", card_present=False, insertions=0)


@dataclass(slots=True)
class InsertionCount:
    """How many insertions were ever seen. A card that lay there before the first look was not seen inserted."""

    total: int = 0
    _looked: bool = False
    _last: SlotState | None = None

    def see(self, state: SlotState) -> None:
        """Take a state of the configured reader."""
        last = self._last
        if last is None:
            # Out of sight since the last look, so it may be another card.
            self.total += int(state.card_present and self._looked)
        else:
            events = (state.counter - last.counter) % _COUNTER_MODULUS
            seen = (events + (not last.card_present)) // 2  # insertions and removals alternate
            self.total += max(seen, int(state.card_present and not last.card_present))
        self._looked, self._last = True, state

    def lose_sight(self) -> None:
        """Forget the last state: the reader or pcscd went away, and counters start anew."""
        self._last = None


class PresenceWatch:
    """Publishes what the reader's state is, from its own thread, whenever it changes."""

    def __init__(
        self, configured: str, clock: Clock, publish: Callable[[ReaderState], None], hooks: ReaderHooks, timing: Timing
    ) -> None:
        self._configured = configured
        self._clock = clock
        self._publish = publish
        self._hooks = hooks
        self._timing = timing
        self._insertions = InsertionCount()
        self._published = UNSEEN
        self._counter: int | None = None  # pcscd's insertions and removals up to what was published
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._context: pcsc.Context | None = None
        self._look_again_at = clock.monotonic()
        self.last_seen = clock.monotonic()  # when it last came round; older than a few seconds means pcscd hangs

    def run(self) -> None:
        """Watch until `stop`: the thread's body."""
        was_lost = False
        while not self._stop.is_set():
            self.last_seen = self._clock.monotonic()
            try:
                self._context = pcsc.establish()
                if was_lost:
                    _log.info("pcscd is back")
                    self._hooks.reconnected()
                    was_lost = False
                self._watch(self._context)
            except LinkError as error:
                # Whatever pcscd says to this beside "gone": only a new context can tell whether it is well.
                self._lose_service(error)
                was_lost = was_lost or self._context is not None
            self._release()
            self._stop.wait(self._timing.retry_pause)

    def stop(self) -> None:
        """End the thread at the next slice. Called from the loop."""
        self._stop.set()

    def await_news(self, counter: int, seconds: float) -> None:
        """Wait, not long, until more than this count of pcscd's was published. Called from the owner thread."""

        def told() -> bool:
            # Without a reader in sight there is no card either, and that was told.
            return self._counter is None or 0 < (self._counter - counter) % _COUNTER_MODULUS < _COUNTER_MODULUS // 2

        with self._news:
            self._news.wait_for(told, seconds)

    def _watch(self, context: pcsc.Context) -> None:
        """Watch under one context until `stop`. Raises LinkError."""
        name, state = "", pcsc.UNAWARE
        while not self._stop.is_set():
            self.last_seen = self._clock.monotonic()
            try:
                # Asking for the list each time costs 0.1 ms and finds what the pseudo reader misses between two waits.
                chosen = pcsc.choose_reader(context.readers(), self._configured)
                if chosen != name:
                    name, state = chosen, pcsc.UNAWARE
                    self._insertions.lose_sight()
                state = context.wait(name, state, self._timing.watch_slice)
                if state.is_unanswering:
                    state = self._look_again(context, name, state)
            except ReaderMissing:
                name = ""
                self._show(ReaderProblem.READER_UNAVAILABLE)
                context.wait(None, pcsc.UNAWARE, self._timing.watch_slice)
            else:
                self._insertions.see(state)
                self._show(None, name, card_present=state.card_present, counter=state.counter)

    def _look_again(self, context: pcsc.Context, name: str, state: SlotState) -> SlotState:
        """Return whether the card that does not answer is there at all: a kiosk would ask for ever to take it away.

        Raises ReaderMissing or ServiceLost.
        """
        if self._clock.monotonic() < self._look_again_at:
            return state
        with contextlib.suppress(ReaderHeld, CardAbsent, TransmitFailed):  # somebody speaks to it: the next round asks
            context.look_again(name)
            self._look_again_at = self._clock.monotonic() + _LOOK_AGAIN_S
        return context.slot(name)

    def _lose_service(self, error: LinkError) -> None:
        if self._published.problem is not ReaderProblem.PCSC_UNAVAILABLE:
            _log.warning("pcscd is lost: %s", error)
        self._insertions.lose_sight()
        self._show(ReaderProblem.PCSC_UNAVAILABLE)

    def _release(self) -> None:
        context, self._context = self._context, None
        if context:
            context.release()

    def _show(
        self, problem: ReaderProblem | None, name: str = "", *, card_present: bool = False, counter: int | None = None
    ) -> None:
        state = ReaderState(problem, name, card_present, self._insertions.total)
        with self._news:
            if state != self._published:
                self._published = state
                self._publish(state)
            self._counter = counter
            self._news.notify_all()
