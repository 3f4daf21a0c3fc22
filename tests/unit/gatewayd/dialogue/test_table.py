"""Every (step, event) pair of the dialogue, generated from the table."""

from __future__ import annotations

import datetime
import itertools
from dataclasses import replace

import pytest

from gatewayd.dialogue import events as ev
from gatewayd.dialogue.effects import Effect
from gatewayd.dialogue.facts import MOST_WRITES, Facts
from gatewayd.dialogue.machine import Dialogue
from gatewayd.dialogue.table import CANCELLABLE, EARLY, HUMAN, LOOKS, TABLE, TAIL, End, Go, Step, When
from gatewayd.dialogue.vocabulary import CardRequest, InputProblem, Outcome, Reason, State

NUMBER = 7
SOON = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)

# One event of each kind; inputs answer the present view.
EVENTS: list[ev.Event] = [
    ev.UserPinEntered(NUMBER, well_formed=True, last_try_confirmed=False),
    ev.NewPasswordEntered(NUMBER, None),
    ev.MoreTimeAsked(NUMBER),
    ev.CancelAsked(NUMBER),
    ev.CardPlaced(),
    ev.CardLifted(),
    ev.ClientGone(),
    ev.IdleOver(),
    ev.AttemptOver(),
    ev.ResolveOver(),
    ev.ReminderDue(),
    ev.DrainAsked(),
    ev.Admitted(),
    ev.Failed(Reason.INTERNAL),
    ev.Torn(),
    ev.CardDifferent(),
    ev.TriesRead(2),
    ev.Begun(),
    ev.PinAccepted(),
    ev.PinWrong(2),
    ev.PinLocked(),
    ev.PinTorn(),
    ev.ReservationGranted(SOON, in_doubt=False),
    ev.ChannelOffered(),
    ev.Authorized(),
    ev.ReservationUsed(),
    ev.IntentFailed(),
    ev.WriteAccepted(counter_agrees=True),
    ev.WriteRefused(),
    ev.WriteNotSent(),
    ev.WriteUnknown(),
    ev.ResultNotDurable(),
    ev.ReceiptValid(),
    ev.ReceiptInvalid(),
    ev.CentralSilent(),
    ev.LateReceipt(),
    ev.OutcomeContradicted(),
]

FACTS = [
    Facts(card_present=present, begun=begun, write_unknown=unknown, in_doubt=doubt, writes=writes, user_pin_tries=2)
    for present, begun, unknown, doubt, writes in itertools.product(
        (True, False), (True, False), (True, False), (True, False), (1, MOST_WRITES)
    )
]


def at(step: Step, facts: Facts) -> Dialogue:
    dialogue = Dialogue(card_present=facts.card_present)
    dialogue.step, dialogue.facts, dialogue.number = step, facts, NUMBER
    return dialogue


def listed(step: Step, event: ev.Event) -> tuple[object, ...]:
    return next((TABLE[step][kind] for kind in type(event).__mro__ if kind in TABLE[step]), ())


def test_every_kind_of_event_is_tried() -> None:
    kinds = {kind for kind in vars(ev).values() if isinstance(kind, type) and issubclass(kind, ev.Event)}
    assert {type(event) for event in EVENTS} == kinds - {ev.Event, ev.Input, ev.Result}


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_listed_pair_does_what_its_row_says_and_any_other_does_nothing(step: Step, event: ev.Event) -> None:
    rules = listed(step, event)
    for facts in FACTS:
        dialogue = at(step, facts)
        effects = dialogue.receive(event)
        if not rules:
            assert (dialogue.step, effects) == (step, ())
            continue
        after = event.absorb(facts)
        rule = next(
            (r.then if isinstance(r, When) else r for r in rules if not isinstance(r, When) or r.guard(after)), None
        )
        match rule:
            case Go(to, do):
                assert (dialogue.step, effects) == (to, do)
            case End(outcome):
                assert effects == TAIL
                waits = dialogue.facts.card_present and not dialogue.facts.draining
                assert dialogue.step is (Step.REMOVE_CARD if waits else Step.FINISHED)
                doubtful = outcome is Outcome.NOT_DONE and after.changed_perhaps
                assert dialogue.facts.outcome is (Outcome.UNKNOWN if doubtful else outcome)
            case None:
                assert (dialogue.step, effects) == (step, ())


@pytest.mark.parametrize("step", Step)
def test_at_most_one_effect_has_a_result_and_it_comes_last(step: Step) -> None:
    at_once = {Effect.END_CONNECTION, Effect.WIPE_PIN, Effect.WIPE_SECRETS, Effect.RECORD_OUTCOME}
    for rules in TABLE[step].values():
        for rule in rules:
            target = rule.then if isinstance(rule, When) else rule
            if isinstance(target, Go):
                assert all(effect in at_once for effect in target.do[:-1])


@pytest.mark.parametrize("step", [step for step in Step if step in EARLY])
@pytest.mark.parametrize(
    "event",
    [ev.CancelAsked(NUMBER), ev.ClientGone(), ev.DrainAsked(), ev.AttemptOver(), ev.Failed(Reason.CENTRAL_UNAVAILABLE)],
    ids=lambda event: type(event).__name__,
)
def test_every_early_step_can_be_ended_and_leaves_through_the_tail(step: Step, event: ev.Event) -> None:
    dialogue = at(step, Facts(card_present=True))
    assert dialogue.receive(event) == TAIL
    assert dialogue.facts.outcome is Outcome.NOT_DONE
    assert dialogue.step is (Step.FINISHED if isinstance(event, ev.DrainAsked) else Step.REMOVE_CARD)


@pytest.mark.parametrize("step", [Step.WRITING, Step.JUDGING])
@pytest.mark.parametrize(
    "event",
    [
        ev.CancelAsked(NUMBER),
        ev.ClientGone(),
        ev.DrainAsked(),
        ev.AttemptOver(),
        ev.ResolveOver(),
        ev.CardLifted(),
        ev.CardPlaced(),
        ev.IdleOver(),
        ev.Failed(Reason.INTERNAL),
    ],
    ids=lambda event: type(event).__name__,
)
def test_nothing_from_outside_ends_a_write(step: Step, event: ev.Event) -> None:
    dialogue = at(step, Facts(card_present=True, writes=1))
    assert dialogue.receive(event) == ()
    assert dialogue.step is step


@pytest.mark.parametrize("step", Step)
def test_an_ending_in_doubt_is_never_called_not_done(step: Step) -> None:
    for event in EVENTS:
        for doubt in (Facts(in_doubt=True), Facts(write_unknown=True)):
            dialogue = at(step, replace(doubt, card_present=True, writes=MOST_WRITES))
            dialogue.receive(event)
            assert dialogue.facts.outcome is not Outcome.NOT_DONE


def test_only_two_rows_say_done() -> None:
    rows = [
        (step, kind)
        for step, rules_of in TABLE.items()
        for kind, rules in rules_of.items()
        for rule in rules
        if (rule.then if isinstance(rule, When) else rule) == End(Outcome.DONE)
    ]
    assert rows == [(Step.JUDGING, ev.ReceiptValid), (Step.JUDGING, ev.CentralSilent)]


def test_an_input_for_an_older_view_is_dropped_whole() -> None:
    dialogue = at(Step.ASK_PIN, Facts(card_present=True, user_pin_tries=3, input_problem=InputProblem.USER_PIN_WRONG))
    assert dialogue.receive(ev.UserPinEntered(NUMBER - 1, well_formed=True, last_try_confirmed=False)) == ()
    assert dialogue.facts.input_problem is InputProblem.USER_PIN_WRONG
    assert dialogue.number == NUMBER


def test_a_double_press_is_one_verify() -> None:
    dialogue = at(Step.ASK_PIN, Facts(card_present=True, begun=True, user_pin_tries=3))
    press = ev.UserPinEntered(NUMBER, well_formed=True, last_try_confirmed=False)
    assert dialogue.receive(press) == (Effect.VERIFY_PIN,)
    assert dialogue.receive(press) == ()


def test_the_last_try_needs_a_confirmation() -> None:
    dialogue = at(Step.ASK_PIN, Facts(card_present=True, begun=True, user_pin_tries=1))
    assert dialogue.receive(ev.UserPinEntered(NUMBER, True, False)) == (Effect.WIPE_PIN,)
    assert dialogue.shown.input_problem is InputProblem.LAST_TRY_NOT_CONFIRMED
    assert dialogue.receive(ev.UserPinEntered(dialogue.number, True, True)) == (Effect.VERIFY_PIN,)


def test_a_card_that_lies_there_must_be_lifted_before_it_can_be_placed_again() -> None:
    dialogue = at(Step.OFFERING, Facts(card_present=True, writes=0))
    asked = []
    for event in (ev.Torn(), ev.CardLifted()):
        dialogue.receive(event)
        asked.append(dialogue.shown.card_request)
    assert asked == [CardRequest.LIFT, CardRequest.PLACE_SAME]
    assert dialogue.receive(ev.CardPlaced()) == (Effect.OFFER_CHANNEL,)


def test_the_fourth_write_is_never_asked_for() -> None:
    for event in (ev.WriteUnknown(), ev.WriteNotSent(), ev.ReceiptInvalid()):
        step = Step.JUDGING if isinstance(event, ev.ReceiptInvalid) else Step.WRITING
        dialogue = at(step, Facts(card_present=True, writes=MOST_WRITES))
        assert dialogue.receive(event) == TAIL


def test_without_a_client_nothing_is_resolved() -> None:
    dialogue = at(Step.WRITING, Facts(card_present=True, writes=1))
    dialogue.receive(ev.ClientGone())
    assert dialogue.receive(ev.WriteUnknown()) == TAIL
    assert dialogue.facts.outcome is Outcome.UNKNOWN


def test_a_silent_centre_and_a_counter_that_disagrees_are_no_done() -> None:
    for disagrees in (Facts(writes=1, counter_agrees=False), Facts(writes=1, counter_agrees=True, in_doubt=True)):
        dialogue = at(Step.JUDGING, disagrees)
        dialogue.receive(ev.CentralSilent())
        assert dialogue.step is Step.RESOLVING


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.RESOLVING])
def test_only_an_unknown_write_is_resolved_for_it_alone_has_a_limit(step: Step) -> None:
    for event, facts, agrees in itertools.product(EVENTS, FACTS, (True, False)):
        dialogue = at(step, replace(facts, counter_agrees=agrees))
        dialogue.receive(event)
        assert dialogue.step is not Step.RESOLVING or dialogue.facts.write_unknown


def test_what_the_counter_said_of_one_write_is_no_word_on_the_next() -> None:
    dialogue = at(Step.WRITING, Facts(card_present=True, writes=2, counter_agrees=True))  # as after the first write
    for event in (ev.WriteUnknown(), ev.LateReceipt(), ev.CentralSilent()):
        dialogue.receive(event)
    assert dialogue.step is Step.RESOLVING


@pytest.mark.parametrize("step", [Step.REMOVE_CARD, Step.JUDGING])
def test_a_result_that_comes_after_its_step_tells_nothing(step: Step) -> None:
    facts = Facts(card_present=True, writes=1, counter_agrees=True)
    for event in (ev.ReservationGranted(SOON, in_doubt=True), ev.WriteUnknown()):
        dialogue = at(step, facts)
        assert dialogue.receive(event) == ()
        assert (dialogue.facts, dialogue.number) == (facts, NUMBER)


def test_a_doubt_that_is_not_durable_is_still_a_doubt() -> None:
    dialogue = at(Step.CHECKING, Facts(card_present=True))
    assert dialogue.receive(ev.Failed(Reason.JOURNAL_UNAVAILABLE, in_doubt=True)) == TAIL
    assert (dialogue.facts.outcome, dialogue.facts.reason) == (Outcome.UNKNOWN, Reason.OUTCOME_UNRESOLVED)


@pytest.mark.parametrize("said", [Outcome.DONE, Outcome.NOT_DONE])
@pytest.mark.parametrize("step", [Step.REMOVE_CARD, Step.FINISHED])
def test_what_the_journal_contradicts_is_unknown_and_recorded_so(step: Step, said: Outcome) -> None:
    dialogue = at(step, Facts(card_present=step is Step.REMOVE_CARD, outcome=said))
    assert dialogue.receive(ev.OutcomeContradicted()) == TAIL
    assert dialogue.step is step
    assert (dialogue.facts.outcome, dialogue.facts.reason) == (Outcome.UNKNOWN, Reason.OUTCOME_UNRESOLVED)
    assert dialogue.receive(ev.OutcomeContradicted()) == ()


def test_an_attempt_whose_time_ended_during_a_write_is_not_begun_anew() -> None:
    dialogue = at(Step.WRITING, Facts(card_present=True, writes=1))
    for event in (ev.AttemptOver(), ev.WriteNotSent()):
        dialogue.receive(event)
    assert (dialogue.facts.outcome, dialogue.facts.reason) == (Outcome.NOT_DONE, Reason.TIMED_OUT)


def test_no_connection_is_held_while_an_earlier_receipt_is_judged() -> None:
    dialogue = at(Step.AUTHORIZING, Facts(card_present=True, writes=2, write_unknown=True))
    assert dialogue.receive(ev.ReservationUsed()) == (Effect.END_CONNECTION, Effect.DELIVER_REPORT)


def test_another_card_while_resolving_is_only_asked_to_be_lifted() -> None:
    dialogue = at(Step.OFFERING, Facts(card_present=True, writes=1, write_unknown=True))
    assert dialogue.receive(ev.CardDifferent()) == ()
    assert dialogue.step is Step.RESOLVING
    assert dialogue.shown.card_request is CardRequest.LIFT


def test_the_looks_agree_with_the_sets_of_steps() -> None:
    assert set(LOOKS) == set(TABLE) == set(Step)
    assert {LOOKS[step].state for step in Step} == set(State)
    assert {Step.RESOLVING} == CANCELLABLE - EARLY
    assert all(LOOKS[step].idle_s is None for step in set(Step) - HUMAN)


def test_every_view_after_a_change_has_a_new_number() -> None:
    for step, event, facts in itertools.product(Step, EVENTS, FACTS):
        dialogue = at(step, facts)
        before, entries = dialogue.shown, dialogue.entries
        dialogue.receive(event)
        changed = dialogue.shown != before or dialogue.entries != entries
        assert dialogue.number == NUMBER + changed
