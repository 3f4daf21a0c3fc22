"""What a report of one write does: forward only, and a valid receipt is always the truth."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace

from centrald.errors import BadContent, ContentChanged, OutOfOrder
from centrald.rules.attempt import find_write
from centrald.rules.model import (
    MAX_WRITES,
    NEVER_HANDED_OUT,
    Attempt,
    Outcome,
    Report,
    Reservation,
    Verdict,
    Write,
    WriteStatus,
)
from centrald.rules.reservation import state_of

_STATUS_OF = {
    (Outcome.NOT_DONE, Verdict.NONE): WriteStatus.NOT_DONE,
    (Outcome.UNKNOWN, Verdict.NONE): WriteStatus.UNKNOWN,
    (Outcome.DONE, Verdict.VALID): WriteStatus.DONE,
    (Outcome.DONE, Verdict.INVALID): WriteStatus.UNPROVEN,
}
# What a report may still change: unreported once, and unknown once more to a definite answer.
_MAY_BECOME = {
    WriteStatus.OPEN: frozenset(_STATUS_OF.values()),
    WriteStatus.UNKNOWN: frozenset({WriteStatus.NOT_DONE, WriteStatus.DONE, WriteStatus.UNPROVEN}),
}


@dataclass(frozen=True, slots=True)
class Reported:
    """A report's recorded answer, and the reservation after it."""

    reservation: Reservation
    report: Report
    repeated: bool = False


def report(
    attempt: Attempt,
    reservation: Reservation,
    n: int,
    outcome: Outcome,
    status_word: int,
    verdict: Verdict,
    now: datetime.datetime,
) -> Reported:
    """Record a report. `verdict` is what the receipt of a DONE is worth (NONE with the other outcomes).

    A valid receipt makes the write done whatever was reported before, for the card itself says so; a report that fits
    nothing is acknowledged, changes nothing and is marked as a contradiction.
    """
    if not 1 <= n <= MAX_WRITES:
        raise BadContent("a write number is 1 to 3")
    write = find_write(reservation, attempt.id, n)
    if write is None:
        write = _never_asked(attempt, reservation, n, now)
        reservation = replace(reservation, writes=(*reservation.writes, write))
    earlier = next((one for one in write.reports if one.outcome is outcome), None)
    if earlier is not None and not (verdict is Verdict.VALID and earlier.verdict is Verdict.INVALID):
        if (earlier.status_word, earlier.verdict) != (status_word, verdict):
            raise ContentChanged("the write was reported with other content")
        return Reported(reservation, earlier, repeated=True)
    status = _STATUS_OF[outcome, verdict]
    fits = status in _MAY_BECOME.get(write.status, frozenset()) or (
        not write.reports and status is write.status is WriteStatus.NOT_DONE  # released first, then the report came
    )
    voided = write.status in NEVER_HANDED_OUT and status is WriteStatus.NOT_DONE
    if fits or status is WriteStatus.DONE:
        write = replace(write, status=status)
    reservation = _with(reservation, write)
    recorded = Report(outcome, status_word, verdict, state_of(reservation, now), not (fits or voided))
    kept = tuple(one for one in write.reports if one is not earlier)
    return Reported(_with(reservation, replace(write, reports=(*kept, recorded))), recorded)


def _never_asked(attempt: Attempt, reservation: Reservation, n: int, now: datetime.datetime) -> Write:
    """Return the write of a number that never reached the centre: from now on it never will be authorised."""
    asked = sum(write.attempt_id == attempt.id for write in reservation.writes)
    if n != asked + 1:
        raise OutOfOrder("write numbers come in order, without gaps")
    return Write(attempt.id, n, WriteStatus.VOID, now)


def _with(reservation: Reservation, changed: Write) -> Reservation:
    key = (changed.attempt_id, changed.n)
    writes = tuple(changed if (write.attempt_id, write.n) == key else write for write in reservation.writes)
    return replace(reservation, writes=writes)
