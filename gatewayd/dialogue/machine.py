"""The machine: looks an event up in the table and says what to do. State changes in `receive`, and nowhere else."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gatewayd.dialogue.effects import Effect
from gatewayd.dialogue.events import Event, Failed, Input, Result
from gatewayd.dialogue.facts import Facts
from gatewayd.dialogue.table import CANCELLABLE, HUMAN, LOOKS, TABLE, TAIL, End, Go, Rule, Step, When
from gatewayd.dialogue.vocabulary import CardRequest, InputProblem, Outcome, Reason, State


@dataclass(frozen=True, slots=True)
class Shown:
    """What the front-end may know of an attempt, but for its id and the running limits."""

    state: State
    card_request: CardRequest
    busy: bool
    reminder_stage: int
    user_pin_tries: int | None
    input_problem: InputProblem | None
    expires_at: datetime.datetime | None
    in_doubt: bool
    cancellable: bool
    outcome: Outcome | None
    reason: Reason | None


class Dialogue:
    """One attempt. The shell calls `receive` with every event, performs what it returns, in order, and shows `shown`.

    A new dialogue is in ADMITTING, and `START` is what its shell does first.
    """

    START = (Effect.ADMIT,)

    def __init__(self, *, card_present: bool) -> None:
        self.step = Step.ADMITTING
        self.facts = Facts(card_present=card_present)
        self.entries = 1  # grows with every entry into a step, so that the shell knows when limits begin anew
        self.number = 1  # of the view

    @property
    def finished(self) -> bool:
        """Nothing can happen any more."""
        return self.step is Step.FINISHED

    def takes(self, event: Event) -> bool:
        """Whether an input answers the present view and means something in the present step."""
        return isinstance(event, Input) and event.view_number == self.number and type(event) in TABLE[self.step]

    def receive(self, event: Event) -> tuple[Effect, ...]:
        """Take an event and return what to do, in order; at most the last has a result, the next event.

        An input that the present view does not ask for changes nothing and is not remembered; nor is what came of an
        effect that is not this step's.
        """
        rules = TABLE[self.step].get(_listed(self.step, event))
        if (isinstance(event, Input) and not self.takes(event)) or (isinstance(event, Result) and not rules):
            return ()
        before, entries = self.shown, self.entries
        self.facts = event.absorb(self.facts)
        effects = self._follow(_first(rules, self.facts), event) if rules else ()
        if self.shown != before or self.entries != entries:
            self.number += 1
        return effects

    @property
    def shown(self) -> Shown:
        """What the front-end may know now."""
        look, facts = LOOKS[self.step], self.facts
        lift_first = look.asks_for_card and facts.must_lift
        return Shown(
            state=look.state,
            card_request=CardRequest.LIFT if lift_first else look.request,
            busy=self.step not in HUMAN and self.step is not Step.FINISHED,
            reminder_stage=facts.reminder_stage,
            user_pin_tries=facts.user_pin_tries,
            input_problem=facts.input_problem,
            expires_at=facts.expires_at,
            in_doubt=facts.changed_perhaps and facts.outcome is not Outcome.DONE,
            cancellable=self.step in CANCELLABLE,
            outcome=facts.outcome,
            reason=facts.reason,
        )

    def _follow(self, rule: Go | End | None, event: Event) -> tuple[Effect, ...]:
        match rule:
            case Go(step, do):
                self._enter(step)
                return do
            case End(outcome, reason):
                if reason is None and isinstance(event, Failed):
                    reason = event.reason
                self._end(outcome, reason)
                return TAIL
            case None:
                return ()

    def _enter(self, step: Step) -> None:
        self.step = step
        self.entries += 1
        self.facts = replace(self.facts, must_lift=LOOKS[step].asks_for_card and self.facts.card_present)

    def _end(self, outcome: Outcome, reason: Reason | None) -> None:
        if outcome is Outcome.NOT_DONE and self.facts.changed_perhaps:
            outcome, reason = Outcome.UNKNOWN, Reason.OUTCOME_UNRESOLVED
        self.facts = replace(self.facts, outcome=outcome, reason=reason, input_problem=None)
        wait = self.facts.card_present and not self.facts.draining  # a daemon that is being stopped waits for no lift
        self._enter(Step.REMOVE_CARD if wait else Step.FINISHED)


def _listed(step: Step, event: Event) -> type[Event]:
    """Return the most particular kind of this event that the step lists, else the event's own."""
    return next((kind for kind in type(event).__mro__ if kind in TABLE[step]), type(event))


def _first(rules: Iterable[Rule], facts: Facts) -> Go | End | None:
    for rule in rules:
        if not isinstance(rule, When):
            return rule
        if rule.guard(facts):
            return rule.then
    return None
