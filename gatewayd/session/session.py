"""One attempt: the one loop in which the dialogue and the world meet.

The loop takes an event, gives it to the dialogue, does at once what has no result, publishes the view, and starts the
one effect that has a result; its result is the next event. Limits are events as well. Nothing an RPC does can cut
the loop: a front-end submits inputs and reads views, and may leave at any time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from gatewayd.clock import Clock, Timer
from gatewayd.dialogue import events as ev
from gatewayd.dialogue import policy
from gatewayd.dialogue.effects import Effect
from gatewayd.dialogue.machine import Dialogue
from gatewayd.dialogue.table import ATTEMPT_LIMIT_S, HUMAN, LOOKS, REMINDERS_S, RESOLVE_LIMIT_S, Step
from gatewayd.dialogue.vocabulary import Reason, State
from gatewayd.metrics import NO_REASON, Metrics
from gatewayd.secret import Secret
from gatewayd.session.performer import Performer
from gatewayd.session.view import View

log = logging.getLogger(__name__)


class Session:
    """Runs one attempt to its end. `run` is the attempt; everything else only adds events or reads views."""

    def __init__(
        self,
        attempt_id: str,
        *,
        make_performer: Callable[[Callable[[], None]], Performer],
        card_present: bool,
        on_view: Callable[[], None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.attempt_id = attempt_id
        self._dialogue = Dialogue(card_present=card_present)
        self._performer = make_performer(lambda: self.tell(ev.LateReceipt()))
        self._on_view = on_view
        self._metrics = metrics
        self._clock = clock
        self._events: asyncio.Queue[tuple[ev.Event, Secret | None]] = asyncio.Queue()
        self._views: asyncio.Queue[View] = asyncio.Queue()  # those the front-end was not sent yet
        self._latest: View | None = None
        self._effect: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._armed: tuple[type[ev.Event], float] | None = None  # what the timer waits for
        self._deadlines: dict[type[ev.Event], float] = {ev.AttemptOver: clock.monotonic() + ATTEMPT_LIMIT_S}
        self._step_since = clock.monotonic()
        self._machine_s = 0.0

    # --- for the front-end's stream and the manager -----------------------------------------------------------------

    @property
    def view(self) -> View:
        """The latest view."""
        return self._latest or self._make_view()

    @property
    def blocks_with_card(self) -> bool:
        """The attempt is over and its card still lies there."""
        return self._dialogue.step is Step.REMOVE_CARD

    async def views(self) -> AsyncIterator[View]:
        """Yield every view from the first on, until the one in FINISHED; each once, to the one stream there is."""
        state = None
        while state is not State.FINISHED:
            view = await self._views.get()
            yield view
            self._views.task_done()
            state = view.shown.state

    async def caught_up(self) -> None:
        """Wait until every input is dealt with and every view sent; for ever, when the attempt is over.

        A stream is read no faster, so that a front-end cannot fill our memory.
        """
        await self._events.join()
        await self._views.join()

    def submit_user_pin(self, view_number: int, value: bytes, *, last_try_confirmed: bool) -> None:
        """Take the press of 「確認」; dropped when it answers an older view."""
        well_formed = policy.user_pin_is_well_formed(value)
        self._events.put_nowait(
            (ev.UserPinEntered(view_number, well_formed, last_try_confirmed), Secret(value) if well_formed else None)
        )

    def submit_new_password(self, view_number: int, value: bytes) -> None:
        """Take the press of 「確定する」; dropped when it answers an older view."""
        folded = policy.fold(value)
        problem = policy.password_problem(folded)
        self._events.put_nowait(
            (ev.NewPasswordEntered(view_number, problem), Secret(folded.encode()) if problem is None else None)
        )

    def submit_more_time(self, view_number: int) -> None:
        """Take the wish for more time."""
        self.tell(ev.MoreTimeAsked(view_number))

    def submit_cancel(self, view_number: int) -> None:
        """Take the wish to cancel."""
        self.tell(ev.CancelAsked(view_number))

    def tell(self, event: ev.Event) -> None:
        """Tell what happened: the card, the client, the daemon, a limit, an effect."""
        self._events.put_nowait((event, None))

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the attempt until the card is gone. Never raises; cancelled only when the process is killed."""
        self._publish()
        self._begin(Dialogue.START)
        try:
            while not self._dialogue.finished:
                self._arm()
                event, secret = await self._events.get()
                if secret is not None:
                    self._keep(event, secret)
                if self._is_due(event):
                    await self._take(event)
                self._events.task_done()
        finally:
            for running in (self._timer, self._effect):
                if running is not None:
                    running.cancel()
            self._performer.wipe()
            while not self._events.empty():
                _, secret = self._events.get_nowait()
                if secret is not None:
                    secret.wipe()

    async def _take(self, event: ev.Event) -> None:
        step, entries = self._dialogue.step, self._dialogue.entries
        effects = self._dialogue.receive(event)
        self._account(step, entries)
        if Effect.END_CONNECTION in effects and self._effect is not None:
            self._effect.cancel()  # what runs is not wanted any more; its connection ends below
        for effect in effects:
            if effect in AT_ONCE and (correction := await self._performer.at_once(effect, self._dialogue.facts)):
                await self._take(correction)
                return
        if Effect.RECORD_OUTCOME in effects:
            self._ended()
        self._publish()
        self._begin(effects)

    def _keep(self, event: ev.Event, secret: Secret) -> None:
        """Put a secret into its slot, if its press is the one the dialogue takes; a second press finds a newer view."""
        if not self._dialogue.takes(event):
            secret.wipe()
        elif isinstance(event, ev.UserPinEntered):
            self._performer.pin = secret
        else:
            self._performer.change.password = secret

    def _begin(self, effects: tuple[Effect, ...]) -> None:
        """Start the one effect that has a result."""
        for effect in effects:
            if effect not in AT_ONCE:
                self._effect = asyncio.create_task(self._perform(effect))

    async def _perform(self, effect: Effect) -> None:
        try:
            event = await self._performer.result_of(effect, self._dialogue.facts)
        except Exception:
            log.exception("effect failed", extra={"effect": effect.name.lower()})
            event = ON_FAULT.get(effect, ev.Failed(Reason.INTERNAL))
        self.tell(event)

    # --- limits -----------------------------------------------------------------------------------------------------

    def _account(self, step: Step, entries: int) -> None:
        """Start the limits anew after an entry into a step, and count the time of the machine's own steps."""
        now = self._clock.monotonic()
        dialogue = self._dialogue
        if dialogue.facts.write_unknown and not dialogue.facts.resolve_over:
            self._deadlines.setdefault(ev.ResolveOver, now + RESOLVE_LIMIT_S)
        if dialogue.entries == entries:
            return
        if step not in HUMAN:
            self._machine_s += now - self._step_since
            self._metrics.step(step.name.lower(), now - self._step_since)
        self._step_since = now
        self._metrics.card_to_be_taken(asked=dialogue.step is Step.REMOVE_CARD)
        log.info("step", extra={"step": dialogue.step.name.lower(), "after_s": round(self._machine_s, 4)})
        for kind, limit in ((ev.IdleOver, LOOKS[dialogue.step].idle_s), (ev.ReminderDue, self._next_reminder())):
            if limit is None:
                self._deadlines.pop(kind, None)
            else:
                self._deadlines[kind] = now + limit

    def _next_reminder(self) -> float | None:
        stage = self._dialogue.facts.reminder_stage
        return REMINDERS_S[stage] if self._dialogue.step is Step.REMOVE_CARD and stage < len(REMINDERS_S) else None

    def _arm(self) -> None:
        """Wake the loop at the next limit."""
        kind = min(self._deadlines, key=lambda kind: self._deadlines[kind], default=None)
        limit = None if kind is None else (kind, self._deadlines[kind])
        if self._timer is not None:
            if limit == self._armed:
                return  # the usual case: a step of the machine has no limit of its own
            self._timer.cancel()
        self._armed = limit
        self._timer = None if limit is None else self._clock.call_later(limit[1] - self._clock.monotonic(), self._wake)

    def _wake(self) -> None:
        assert self._armed is not None
        self._timer = None
        self.tell(self._armed[0]())

    def _is_due(self, event: ev.Event) -> bool:
        """Whether the event holds: a limit that began anew after its timer fired does not."""
        kind = type(event)
        if kind not in LIMITS:
            return True
        deadline = self._deadlines.get(kind)
        if deadline is None or deadline > self._clock.monotonic():
            return False
        del self._deadlines[kind]
        return True

    # --- views ------------------------------------------------------------------------------------------------------

    def _make_view(self) -> View:
        deadline = self._ends_at()
        left = None if deadline is None else max(0.0, deadline - self._clock.monotonic())
        return View(self._dialogue.number, self.attempt_id, self._dialogue.shown, left)

    def _ends_at(self) -> float | None:
        """When the present step ends by itself: by its own limit, or by the whole attempt's if that is nearer."""
        if self._dialogue.step is Step.RESOLVING:
            return self._deadlines.get(ev.ResolveOver)
        own = self._deadlines.get(ev.IdleOver)
        return None if own is None else min(own, self._deadlines.get(ev.AttemptOver, own))

    def _publish(self) -> None:
        view = self._make_view()
        if self._latest is None or view.number != self._latest.number:
            self._latest = view
            self._views.put_nowait(view)
            self._on_view()

    def _ended(self) -> None:
        outcome, reason = self._dialogue.facts.outcome, self._dialogue.facts.reason
        assert outcome is not None
        said = (outcome.name.lower(), reason.name.lower() if reason else NO_REASON)
        self._metrics.attempt_ended(*said, self._machine_s)
        log.info("attempt ended", extra={"outcome": said[0], "reason": said[1], "machine_s": round(self._machine_s, 4)})


LIMITS = frozenset({ev.IdleOver, ev.AttemptOver, ev.ResolveOver, ev.ReminderDue})
AT_ONCE = frozenset({Effect.END_CONNECTION, Effect.WIPE_PIN, Effect.WIPE_SECRETS, Effect.RECORD_OUTCOME})
# What a fault of our own means where "failed" would be a claim about the card.
ON_FAULT: dict[Effect, ev.Event] = {Effect.WRITE: ev.ResultNotDurable(), Effect.DELIVER_REPORT: ev.CentralSilent()}
