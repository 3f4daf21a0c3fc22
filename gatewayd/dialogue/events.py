"""What can happen to an attempt. Each event adds what it tells to the facts; the table says what follows."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace

from gatewayd.dialogue.facts import Facts
from gatewayd.dialogue.vocabulary import InputProblem, Reason


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    def absorb(self, facts: Facts) -> Facts:
        """Return the facts with what this event tells."""
        return facts


# --- what the citizen does -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Input(Event):
    """An input answers the view of this number; the machine drops it when a newer view exists."""

    view_number: int

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, input_problem=None)


@dataclass(frozen=True, slots=True)
class UserPinEntered(Input):
    """「確認」 was pressed on the PIN page."""

    well_formed: bool
    last_try_confirmed: bool

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        problem = None
        if not self.well_formed:
            problem = InputProblem.USER_PIN_FORMAT
        elif facts.user_pin_tries == 1 and not self.last_try_confirmed:
            problem = InputProblem.LAST_TRY_NOT_CONFIRMED
        return replace(facts, input_problem=problem)


@dataclass(frozen=True, slots=True)
class NewPasswordEntered(Input):
    """「確定する」 was pressed; `problem` is the rule the password breaks."""

    problem: InputProblem | None

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, input_problem=self.problem)


@dataclass(frozen=True, slots=True)
class MoreTimeAsked(Input):
    """The citizen wants more time."""


@dataclass(frozen=True, slots=True)
class CancelAsked(Input):
    """The citizen cancels."""


@dataclass(frozen=True, slots=True)
class CardPlaced(Event):
    """A card lies on the reader."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, card_present=True)


@dataclass(frozen=True, slots=True)
class CardLifted(Event):
    """The card is gone."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, card_present=False, must_lift=False)


@dataclass(frozen=True, slots=True)
class ClientGone(Event):
    """The front-end's stream ended."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, client_present=False)


@dataclass(frozen=True, slots=True)
class IdleOver(Event):
    """The limit of the present step is over."""


@dataclass(frozen=True, slots=True)
class AttemptOver(Event):
    """The limit of the whole attempt is over."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, attempt_over=True)


@dataclass(frozen=True, slots=True)
class ResolveOver(Event):
    """The limit for resolving an unknown write is over."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, resolve_over=True)


@dataclass(frozen=True, slots=True)
class ReminderDue(Event):
    """The card still lies there: time for the next reminder."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, reminder_stage=facts.reminder_stage + 1)


@dataclass(frozen=True, slots=True)
class DrainAsked(Event):
    """The daemon is being stopped."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, draining=True)


# --- what came of an effect ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result(Event):
    """What came of an effect; the machine drops it when its step has been left, for it belongs to nothing then."""


@dataclass(frozen=True, slots=True)
class Admitted(Result):
    """The attempt may begin."""


@dataclass(frozen=True, slots=True)
class Failed(Result):
    """An effect cannot be had, or was refused: the attempt ends with this reason."""

    reason: Reason
    in_doubt: bool = False  # the centre had said in_doubt before

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, in_doubt=facts.in_doubt or self.in_doubt)


@dataclass(frozen=True, slots=True)
class Torn(Result):
    """The card was lifted, or gave no usable answer, during a job that may be begun again."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, readings=facts.readings + 1)


@dataclass(frozen=True, slots=True)
class CardDifferent(Result):
    """The card is another one than the one read at the start."""


@dataclass(frozen=True, slots=True)
class TriesRead(Result):
    """The card was read (again): so many tries of the user PIN are left."""

    tries: int

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, user_pin_tries=self.tries)


@dataclass(frozen=True, slots=True)
class Begun(Result):
    """The centre gave the challenge of this attempt."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, begun=True)


@dataclass(frozen=True, slots=True)
class PinAccepted(Result):
    """The PIN is right and the statement is signed."""

    tries: int = 3  # a right entry restores the counter

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, user_pin_tries=self.tries)


@dataclass(frozen=True, slots=True)
class PinWrong(Result):
    """The PIN is wrong."""

    tries: int

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, user_pin_tries=self.tries, input_problem=InputProblem.USER_PIN_WRONG)


@dataclass(frozen=True, slots=True)
class PinLocked(Result):
    """The PIN is locked."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, user_pin_tries=0)


@dataclass(frozen=True, slots=True)
class PinTorn(Torn):
    """The card was lifted during a PIN job: nobody knows whether the entry was counted."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(Torn.absorb(self, facts), input_problem=InputProblem.CARD_LIFTED)


@dataclass(frozen=True, slots=True)
class ReservationGranted(Result):
    """The reservation may be used."""

    expires_at: datetime.datetime
    in_doubt: bool

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, expires_at=self.expires_at, in_doubt=self.in_doubt)


@dataclass(frozen=True, slots=True)
class ChannelOffered(Result):
    """The card answered INITIALIZE UPDATE: the next write number is asked for now."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, writes=facts.writes + 1)


@dataclass(frozen=True, slots=True)
class Authorized(Result):
    """The centre authorised the write."""


@dataclass(frozen=True, slots=True)
class ReservationUsed(Result):
    """The centre says used, and an earlier write of this attempt has a receipt: perhaps it was taken meanwhile."""


@dataclass(frozen=True, slots=True)
class IntentFailed(Result):
    """The intent could not be made durable; nothing was sent to the card."""


@dataclass(frozen=True, slots=True)
class WriteAccepted(Result):
    """9000 with a receipt; durable, not yet judged."""

    counter_agrees: bool  # full, or could not be read

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, counter_agrees=self.counter_agrees)


@dataclass(frozen=True, slots=True)
class WriteRefused(Result):
    """A definite no; durable."""


@dataclass(frozen=True, slots=True)
class WriteNotSent(Result):
    """The card went before the RESET RETRY COUNTER was handed to it; durable."""


@dataclass(frozen=True, slots=True)
class WriteUnknown(Result):
    """No definite answer to the RESET RETRY COUNTER; durable."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`: what the counter said after an earlier write is no word on this one."""
        return replace(facts, write_unknown=True, counter_agrees=False)


@dataclass(frozen=True, slots=True)
class ResultNotDurable(Result):
    """The card was changed perhaps, and the journal could not keep what came of it."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, write_unknown=True)


@dataclass(frozen=True, slots=True)
class ReceiptValid(Result):
    """The centre says that the card's receipt is genuine: the card is changed."""


@dataclass(frozen=True, slots=True)
class ReceiptInvalid(Result):
    """The centre says that the receipt does not verify."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`."""
        return replace(facts, write_unknown=True)


@dataclass(frozen=True, slots=True)
class CentralSilent(Result):
    """The centre did not judge the receipt in time; the report goes on being delivered."""

    def absorb(self, facts: Facts) -> Facts:
        """See `Event`: a counter that does not agree vetoes the claim, it never makes one; a doubt vetoes it, too."""
        return replace(facts, write_unknown=facts.write_unknown or facts.in_doubt or not facts.counter_agrees)


@dataclass(frozen=True, slots=True)
class LateReceipt(Result):
    """The card's late answer to the RESET RETRY COUNTER came after all, with a receipt; durable, not yet judged.

    Nobody read the counter after it, so only the centre can make it done.
    """


@dataclass(frozen=True, slots=True)
class OutcomeContradicted(Result):
    """The journal knows of a write, or of a doubt, that contradicts the outcome: it keeps nothing but "unknown"."""
