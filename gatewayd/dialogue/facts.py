"""What an attempt knows. Events add to it, the table's guards ask it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from gatewayd.dialogue.vocabulary import InputProblem, Outcome, Reason

MOST_WRITES = 3  # AuthorizeReset calls of one attempt
MOST_READINGS = 3  # readings of a card that keeps being lifted before the attempt ends


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the dialogue remembers; no secret is ever among it."""

    card_present: bool = False
    client_present: bool = True
    readings: int = 0  # torn readings of READING_CARD
    user_pin_tries: int | None = None
    begun: bool = False  # the centre has been told this attempt's id
    expires_at: datetime.datetime | None = None  # of the reservation, for display
    in_doubt: bool = False  # the centre said that an earlier write is unresolved
    writes: int = 0  # AuthorizeReset calls made; the number of the latest write
    write_unknown: bool = False  # a write of this attempt may have reached the card
    counter_agrees: bool = False  # after an accepted write the counter was full, or could not be read
    attempt_over: bool = False  # the time for the whole attempt is over
    resolve_over: bool = False  # the time for resolving is over
    draining: bool = False  # the daemon is being stopped
    must_lift: bool = False  # the card on the reader cannot be used before it was lifted
    input_problem: InputProblem | None = None
    reminder_stage: int = 0
    outcome: Outcome | None = None
    reason: Reason | None = None

    @property
    def changed_perhaps(self) -> bool:
        """Without a valid receipt nobody may say "not done"."""
        return self.in_doubt or self.write_unknown

    @property
    def may_write_again(self) -> bool:
        """Whether the same card may be asked for another write."""
        return self.writes < MOST_WRITES and self.client_present and not self.resolve_over and not self.draining
