"""The table: which step follows which event, and what is to be done. All transitions of an attempt stand here.

`LOOKS` says what the front-end sees during a step. `TABLE` maps (step, event) to rules, of which the first whose
guard agrees is taken. An event that is not listed for a step is ignored there: it came too late, or means nothing
now. `Go` leads to a step; `End` leads through `TAIL`, the same for every ending, to REMOVE_CARD or, when no card
lies there, to FINISHED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from gatewayd.dialogue import events as ev
from gatewayd.dialogue.effects import Effect
from gatewayd.dialogue.facts import MOST_READINGS, Facts
from gatewayd.dialogue.vocabulary import CardRequest, Outcome, Reason, State

ATTEMPT_LIMIT_S = 15 * 60.0  # ends neither WRITING, RESOLVING nor REMOVE_CARD
RESOLVE_LIMIT_S = 120.0  # from the first unknown write to the end as unknown
REMINDERS_S = (8.0, 22.0, 60.0)  # waits before each reminder of the card: at 8, 30 and 90 s


class Step(Enum):
    """Where the dialogue stands: finer than the state that is shown."""

    ADMITTING = auto()
    WAITING_FOR_CARD = auto()
    READING_CARD = auto()
    ASK_PIN = auto()
    BEGINNING = auto()
    VERIFYING = auto()
    PLACE_FOR_PIN = auto()
    RECOUNTING = auto()
    CHECKING = auto()
    ASK_PASSWORD = auto()
    PLACE_FOR_WRITE = auto()
    OFFERING = auto()
    AUTHORIZING = auto()
    WRITING = auto()
    JUDGING = auto()
    RESOLVING = auto()
    REMOVE_CARD = auto()
    FINISHED = auto()


@dataclass(frozen=True, slots=True)
class Look:
    """A step as the front-end sees it."""

    state: State
    request: CardRequest = CardRequest.NONE
    idle_s: float | None = None  # None: the step's effect has a deadline of its own, or the step may last
    idle_reason: Reason = Reason.TIMED_OUT

    @property
    def asks_for_card(self) -> bool:
        """Whether the citizen is to place a card; one that lies there already must be lifted first."""
        return self.request in (CardRequest.PLACE, CardRequest.PLACE_SAME)


LOOKS: Mapping[Step, Look] = {
    Step.ADMITTING: Look(State.ADMITTING),
    Step.WAITING_FOR_CARD: Look(State.WAITING_FOR_CARD, CardRequest.PLACE, 60.0, Reason.NO_CARD),
    Step.READING_CARD: Look(State.READING_CARD),
    Step.ASK_PIN: Look(State.ENTER_USER_PIN, idle_s=90.0),
    Step.BEGINNING: Look(State.ENTER_USER_PIN),
    Step.VERIFYING: Look(State.ENTER_USER_PIN),
    Step.PLACE_FOR_PIN: Look(State.ENTER_USER_PIN, CardRequest.PLACE_SAME, 60.0),
    Step.RECOUNTING: Look(State.ENTER_USER_PIN),
    Step.CHECKING: Look(State.CHECKING_RESERVATION),
    Step.ASK_PASSWORD: Look(State.ENTER_NEW_PASSWORD, idle_s=180.0),
    Step.PLACE_FOR_WRITE: Look(State.AUTHORIZING, CardRequest.PLACE_SAME, 60.0),
    Step.OFFERING: Look(State.AUTHORIZING),
    Step.AUTHORIZING: Look(State.AUTHORIZING),
    Step.WRITING: Look(State.WRITING),
    Step.JUDGING: Look(State.WRITING),
    Step.RESOLVING: Look(State.RESOLVING, CardRequest.PLACE_SAME),
    Step.REMOVE_CARD: Look(State.REMOVE_CARD, CardRequest.LIFT),
    Step.FINISHED: Look(State.FINISHED),
}

# The steps that wait for a person; all others wait for the card or the centre.
HUMAN = frozenset(
    {
        Step.WAITING_FOR_CARD,
        Step.ASK_PIN,
        Step.PLACE_FOR_PIN,
        Step.ASK_PASSWORD,
        Step.PLACE_FOR_WRITE,
        Step.RESOLVING,
        Step.REMOVE_CARD,
    }
)

# The steps of an attempt that has not handed the change to the card: everything may end them.
EARLY = frozenset(
    {
        Step.ADMITTING,
        Step.WAITING_FOR_CARD,
        Step.READING_CARD,
        Step.ASK_PIN,
        Step.BEGINNING,
        Step.VERIFYING,
        Step.PLACE_FOR_PIN,
        Step.RECOUNTING,
        Step.CHECKING,
        Step.ASK_PASSWORD,
        Step.PLACE_FOR_WRITE,
        Step.OFFERING,
        Step.AUTHORIZING,
    }
)

CANCELLABLE = EARLY | {Step.RESOLVING}

TAIL = (Effect.END_CONNECTION, Effect.WIPE_SECRETS, Effect.RECORD_OUTCOME)


@dataclass(frozen=True, slots=True)
class Go:
    """Go to a step and do this there."""

    step: Step
    do: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """End through the tail. Without a reason the event's own is taken."""

    outcome: Outcome
    reason: Reason | None = None


Guard = Callable[[Facts], bool]


@dataclass(frozen=True, slots=True)
class When:
    """A rule that holds only when the guard agrees."""

    guard: Guard
    then: Go | End


Rule = Go | End | When


def no_problem(facts: Facts) -> bool:
    """The last input broke no rule."""
    return facts.input_problem is None


def not_done(reason: Reason) -> End:
    """The ending of an attempt that changed nothing."""
    return End(Outcome.NOT_DONE, reason)


UNRESOLVED = End(Outcome.UNKNOWN, Reason.OUTCOME_UNRESOLVED)
# Before the outcome is shown; of "unknown" there is nothing left to take back.
CORRECTION: tuple[Rule, ...] = (When(lambda facts: facts.outcome is not Outcome.UNKNOWN, UNRESOLVED),)
RESOLVE_OR_END: tuple[Rule, ...] = (When(lambda facts: facts.may_write_again, Go(Step.RESOLVING)), UNRESOLVED)

# What may end any early step. While the change may have been made, the machine turns "not done" into "unknown".
ENDINGS: Mapping[type[ev.Event], tuple[Rule, ...]] = {
    ev.CancelAsked: (not_done(Reason.CANCELLED),),
    ev.ClientGone: (not_done(Reason.CLIENT_GONE),),
    ev.DrainAsked: (not_done(Reason.DRAINING),),
    ev.AttemptOver: (When(lambda facts: not facts.write_unknown, not_done(Reason.TIMED_OUT)),),
    ev.ResolveOver: (UNRESOLVED,),
    ev.Failed: (End(Outcome.NOT_DONE),),
}

STEPS: Mapping[Step, Mapping[type[ev.Event], tuple[Rule, ...]]] = {
    Step.ADMITTING: {
        ev.Admitted: (
            When(lambda facts: facts.card_present, Go(Step.READING_CARD, (Effect.READ_CARD,))),
            Go(Step.WAITING_FOR_CARD),
        ),
    },
    Step.WAITING_FOR_CARD: {
        ev.CardPlaced: (Go(Step.READING_CARD, (Effect.READ_CARD,)),),
        ev.MoreTimeAsked: (Go(Step.WAITING_FOR_CARD),),
    },
    Step.READING_CARD: {
        ev.TriesRead: (
            When(lambda facts: facts.card_present, Go(Step.ASK_PIN)),
            Go(Step.PLACE_FOR_PIN),
        ),
        ev.Torn: (
            When(lambda facts: facts.readings < MOST_READINGS, Go(Step.WAITING_FOR_CARD)),
            not_done(Reason.CARD_UNREADABLE),
        ),
    },
    Step.ASK_PIN: {
        ev.UserPinEntered: (
            When(lambda facts: not no_problem(facts), Go(Step.ASK_PIN, (Effect.WIPE_PIN,))),
            When(lambda facts: not facts.begun, Go(Step.BEGINNING, (Effect.BEGIN,))),
            Go(Step.VERIFYING, (Effect.VERIFY_PIN,)),
        ),
        ev.CardLifted: (Go(Step.PLACE_FOR_PIN),),
        ev.MoreTimeAsked: (Go(Step.ASK_PIN),),
    },
    Step.BEGINNING: {
        ev.Begun: (
            When(lambda facts: facts.card_present, Go(Step.VERIFYING, (Effect.VERIFY_PIN,))),
            Go(Step.PLACE_FOR_PIN, (Effect.WIPE_PIN,)),
        ),
    },
    Step.VERIFYING: {
        ev.PinAccepted: (Go(Step.CHECKING, (Effect.WIPE_PIN, Effect.CHECK_RESERVATION)),),
        ev.PinWrong: (
            When(lambda facts: facts.card_present, Go(Step.ASK_PIN, (Effect.WIPE_PIN,))),
            Go(Step.PLACE_FOR_PIN, (Effect.WIPE_PIN,)),
        ),
        ev.PinLocked: (not_done(Reason.USER_PIN_LOCKED),),
        ev.CardDifferent: (not_done(Reason.DIFFERENT_CARD),),
        ev.PinTorn: (Go(Step.PLACE_FOR_PIN, (Effect.WIPE_PIN,)),),
    },
    Step.PLACE_FOR_PIN: {
        ev.CardPlaced: (Go(Step.RECOUNTING, (Effect.RECOUNT,)),),
        ev.MoreTimeAsked: (Go(Step.PLACE_FOR_PIN),),
    },
    Step.RECOUNTING: {
        ev.TriesRead: (
            When(lambda facts: facts.card_present, Go(Step.ASK_PIN)),
            Go(Step.PLACE_FOR_PIN),
        ),
        ev.PinLocked: (not_done(Reason.USER_PIN_LOCKED),),
        ev.CardDifferent: (not_done(Reason.DIFFERENT_CARD),),
        ev.Torn: (Go(Step.PLACE_FOR_PIN),),
    },
    Step.CHECKING: {
        ev.ReservationGranted: (Go(Step.ASK_PASSWORD),),
    },
    Step.ASK_PASSWORD: {
        ev.NewPasswordEntered: (
            When(lambda facts: not no_problem(facts), Go(Step.ASK_PASSWORD)),
            When(lambda facts: facts.card_present, Go(Step.OFFERING, (Effect.OFFER_CHANNEL,))),
            Go(Step.PLACE_FOR_WRITE),
        ),
        ev.MoreTimeAsked: (Go(Step.ASK_PASSWORD),),
    },
    Step.PLACE_FOR_WRITE: {
        ev.CardPlaced: (Go(Step.OFFERING, (Effect.OFFER_CHANNEL,)),),
        ev.MoreTimeAsked: (Go(Step.PLACE_FOR_WRITE),),
    },
    Step.OFFERING: {
        ev.ChannelOffered: (Go(Step.AUTHORIZING, (Effect.AUTHORIZE,)),),
        ev.CardDifferent: (
            When(lambda facts: facts.write_unknown, Go(Step.RESOLVING)),
            not_done(Reason.DIFFERENT_CARD),
        ),
        ev.Torn: (
            When(lambda facts: facts.write_unknown, Go(Step.RESOLVING)),
            Go(Step.PLACE_FOR_WRITE),
        ),
    },
    Step.AUTHORIZING: {
        ev.Authorized: (Go(Step.WRITING, (Effect.WRITE,)),),
        ev.ReservationUsed: (Go(Step.JUDGING, (Effect.END_CONNECTION, Effect.DELIVER_REPORT)),),
    },
    Step.WRITING: {
        ev.IntentFailed: (not_done(Reason.JOURNAL_UNAVAILABLE),),
        ev.WriteAccepted: (Go(Step.JUDGING, (Effect.DELIVER_REPORT,)),),
        ev.WriteRefused: (not_done(Reason.CARD_REFUSED),),
        ev.WriteNotSent: (
            When(lambda facts: facts.may_write_again and facts.write_unknown, Go(Step.RESOLVING)),
            When(lambda facts: facts.may_write_again and not facts.attempt_over, Go(Step.PLACE_FOR_WRITE)),
            When(lambda facts: not facts.client_present, not_done(Reason.CLIENT_GONE)),
            When(lambda facts: facts.draining, not_done(Reason.DRAINING)),
            When(lambda facts: facts.attempt_over, not_done(Reason.TIMED_OUT)),
            not_done(Reason.CARD_UNREADABLE),
        ),
        ev.WriteUnknown: RESOLVE_OR_END,
        ev.ResultNotDurable: (UNRESOLVED,),
    },
    Step.JUDGING: {
        ev.ReceiptValid: (End(Outcome.DONE),),
        ev.ReceiptInvalid: RESOLVE_OR_END,
        ev.CentralSilent: (
            When(lambda facts: facts.counter_agrees and not facts.in_doubt, End(Outcome.DONE)),
            *RESOLVE_OR_END,
        ),
    },
    Step.RESOLVING: {
        ev.CardPlaced: (Go(Step.OFFERING, (Effect.OFFER_CHANNEL,)),),
        ev.LateReceipt: (Go(Step.JUDGING, (Effect.DELIVER_REPORT,)),),
        ev.CancelAsked: (UNRESOLVED,),
        ev.ClientGone: (UNRESOLVED,),
        ev.DrainAsked: (UNRESOLVED,),
        ev.ResolveOver: (UNRESOLVED,),
    },
    Step.REMOVE_CARD: {
        ev.CardLifted: (Go(Step.FINISHED),),
        ev.ReminderDue: (Go(Step.REMOVE_CARD),),
        ev.DrainAsked: (Go(Step.FINISHED),),
        ev.OutcomeContradicted: CORRECTION,
    },
    Step.FINISHED: {
        ev.OutcomeContradicted: CORRECTION,
    },
}


def _rules(step: Step) -> dict[type[ev.Event], tuple[Rule, ...]]:
    look = LOOKS[step]
    rules = dict(ENDINGS) if step in EARLY else {}
    if look.idle_s is not None:
        rules[ev.IdleOver] = (not_done(look.idle_reason),)
    return {**rules, **STEPS[step]}


TABLE: Mapping[Step, Mapping[type[ev.Event], tuple[Rule, ...]]] = {step: _rules(step) for step in Step}
