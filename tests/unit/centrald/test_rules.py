"""The tables of the reservation's rules, one by one, without database or keys."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace

import pytest

from centrald.errors import BadContent, OutOfOrder
from centrald.rules.attempt import Proof, authorize, checked, release
from centrald.rules.model import (
    SILENCE,
    VALIDITY,
    Attempt,
    FaceMatch,
    Outcome,
    Refusal,
    Reservation,
    State,
    Verdict,
    Write,
    WriteStatus,
)
from centrald.rules.report import Reported, report
from centrald.rules.reservation import Made, in_doubt, make, state_of, usable
from tests.unit.centrald.values import (
    CARD,
    CERTIFICATE,
    CHALLENGES,
    GENUINE,
    KIOSK,
    NOW,
    PROCEDURE,
    SECOND,
    TRANSCRIPT,
    WISH,
)

EMPTY = Reservation("r", CERTIFICATE, PROCEDURE, NOW, NOW + VALIDITY, FaceMatch.NOT_PERFORMED, bytes(32), b"")


def attempt(name: str = "a1") -> Attempt:
    return Attempt(name, KIOSK, NOW, PROCEDURE)


def write(status: WriteStatus, name: str = "a1", n: int = 1, at: datetime.datetime = NOW) -> Write:
    return Write(name, n, status, at, TRANSCRIPT, b"answer")


def having(*writes: Write, closed: State | None = None) -> Reservation:
    return replace(EMPTY, writes=writes, closed=closed, current_attempt=writes[-1].attempt_id if writes else "a1")


OPEN, NOT_DONE, UNKNOWN = WriteStatus.OPEN, WriteStatus.NOT_DONE, WriteStatus.UNKNOWN
DONE, UNPROVEN, VOID, NOT_GENUINE = WriteStatus.DONE, WriteStatus.UNPROVEN, WriteStatus.VOID, WriteStatus.NOT_GENUINE

RESERVED = EMPTY
AUTHORIZED = having(write(OPEN))
IN_DOUBT = having(write(UNKNOWN))
USED = having(write(DONE))
CLOSED = having(write(UNKNOWN), closed=State.CLOSED_UNKNOWN)
REPLACED = replace(EMPTY, closed=State.REPLACED)


@pytest.mark.parametrize(
    ("reservation", "expected"),
    [
        (RESERVED, State.RESERVED),
        (AUTHORIZED, State.AUTHORIZED),
        (IN_DOUBT, State.IN_DOUBT),
        (USED, State.USED),
        (CLOSED, State.CLOSED_UNKNOWN),
        (REPLACED, State.REPLACED),
        (having(write(UNPROVEN)), State.IN_DOUBT),
        (having(write(VOID)), State.RESERVED),
        (having(write(NOT_GENUINE)), State.RESERVED),
        (having(write(NOT_DONE), write(NOT_DONE, n=2)), State.RESERVED),
        (having(write(NOT_DONE), write(OPEN, n=2)), State.AUTHORIZED),
        (having(write(UNKNOWN), write(OPEN, n=2)), State.AUTHORIZED),
        (having(write(UNKNOWN), write(NOT_DONE, n=2)), State.IN_DOUBT),
        (having(write(UNKNOWN), write(DONE, n=2)), State.USED),
        (having(write(OPEN), write(NOT_DONE, n=2)), State.AUTHORIZED),
        (having(write(OPEN), write(OPEN, "a2")), State.AUTHORIZED),
        (having(write(OPEN), write(NOT_DONE, "a2")), State.IN_DOUBT),
        (having(write(OPEN), write(NOT_GENUINE, "a2")), State.AUTHORIZED),
        (having(write(DONE), closed=State.CLOSED_UNKNOWN), State.USED),
        (having(write(OPEN, at=NOW - SILENCE)), State.IN_DOUBT),
        (having(write(OPEN, at=NOW - SILENCE + SECOND)), State.AUTHORIZED),
        (having(write(OPEN, at=NOW - SILENCE), write(OPEN, n=2)), State.AUTHORIZED),
    ],
)
def test_where_a_reservation_stands(reservation: Reservation, expected: State) -> None:
    assert state_of(reservation, NOW) is expected


@pytest.mark.parametrize(
    ("reservation", "refusal", "doubt"),
    [
        (RESERVED, None, False),
        (AUTHORIZED, None, True),
        (IN_DOUBT, None, True),
        (USED, Refusal.RESERVATION_USED, None),
        (CLOSED, Refusal.RESERVATION_NOT_FOUND, None),
        (REPLACED, Refusal.RESERVATION_NOT_FOUND, None),
        (None, Refusal.RESERVATION_NOT_FOUND, None),
    ],
)
def test_check_and_authorize_by_state(
    reservation: Reservation | None, refusal: Refusal | None, doubt: bool | None
) -> None:
    assert usable(reservation, NOW, NOW) is refusal
    begun = attempt("a2")
    one, changed = checked(begun, Proof(b"", None, CARD), reservation, CHALLENGES, NOW)
    assert one.check is not None
    assert one.check.refusal is refusal
    if reservation is None or refusal is not None:
        assert changed is None
        return
    assert one.check.in_doubt is doubt
    assert changed == replace(reservation, current_attempt="a2")
    assert state_of(changed, NOW) is state_of(reservation, NOW)
    answer = authorize(one, changed, 1, b"answer", GENUINE, NOW)
    assert (answer.refusal, answer.transcript) == (None, TRANSCRIPT)
    assert state_of(answer.reservation, NOW) is State.AUTHORIZED
    assert in_doubt(answer.reservation)


@pytest.mark.parametrize(
    ("begun_at", "refusal"),
    [(NOW + VALIDITY - SECOND, None), (NOW + VALIDITY, Refusal.RESERVATION_EXPIRED)],
)
@pytest.mark.parametrize("reservation", [RESERVED, IN_DOUBT])
def test_past_24_hours(reservation: Reservation, begun_at: datetime.datetime, refusal: Refusal | None) -> None:
    assert usable(reservation, begun_at, begun_at + 60 * SECOND) is refusal


@pytest.mark.parametrize(
    ("newest", "old_one_becomes"),
    [
        (None, None),
        (RESERVED, State.REPLACED),
        (IN_DOUBT, State.CLOSED_UNKNOWN),
        (USED, None),
        (CLOSED, None),
        (REPLACED, None),
    ],
)
@pytest.mark.parametrize("later", [0 * SECOND, VALIDITY])
def test_a_new_reservation(
    newest: Reservation | None, old_one_becomes: State | None, later: datetime.timedelta
) -> None:
    made = make(newest, WISH, "new", NOW + later)
    assert isinstance(made, Made)
    assert (made.closed and made.closed.closed) is old_one_becomes
    assert (made.reservation.created_at, made.reservation.expires_at) == (NOW + later, NOW + later + VALIDITY)
    assert state_of(made.reservation, NOW + later) is State.RESERVED


def test_no_new_reservation_while_an_attempt_runs() -> None:
    assert make(AUTHORIZED, WISH, "new", NOW) is Refusal.ATTEMPT_RUNNING
    assert isinstance(make(AUTHORIZED, WISH, "new", NOW + SILENCE), Made)


VALID, INVALID, NONE = Verdict.VALID, Verdict.INVALID, Verdict.NONE
Told = tuple[Outcome, Verdict]
IS_DONE, IS_UNPROVEN = (Outcome.DONE, VALID), (Outcome.DONE, INVALID)
IS_NOT_DONE, IS_UNKNOWN = (Outcome.NOT_DONE, NONE), (Outcome.UNKNOWN, NONE)


def tell(reservation: Reservation, *told: Told, n: int = 1) -> Reported:
    for outcome, verdict in told:
        reported = report(attempt(), reservation, n, outcome, 0, verdict, NOW)
        reservation = reported.reservation
    return reported


@pytest.mark.parametrize(
    ("told", "expected", "contradiction"),
    [
        ([IS_DONE], State.USED, False),
        ([IS_UNPROVEN], State.IN_DOUBT, False),
        ([IS_NOT_DONE], State.RESERVED, False),
        ([IS_UNKNOWN], State.IN_DOUBT, False),
        ([IS_UNKNOWN, IS_DONE], State.USED, False),
        ([IS_UNKNOWN, IS_UNPROVEN], State.IN_DOUBT, False),
        ([IS_UNKNOWN, IS_NOT_DONE], State.RESERVED, False),
        ([IS_UNKNOWN, IS_NOT_DONE, IS_DONE], State.USED, True),
        ([IS_UNKNOWN, IS_NOT_DONE, IS_UNPROVEN], State.RESERVED, True),
        ([IS_NOT_DONE, IS_UNKNOWN], State.RESERVED, True),
        ([IS_NOT_DONE, IS_DONE], State.USED, True),
        ([IS_NOT_DONE, IS_UNPROVEN], State.RESERVED, True),
        ([IS_DONE, IS_NOT_DONE], State.USED, True),
        ([IS_DONE, IS_UNKNOWN], State.USED, True),
        ([IS_UNPROVEN, IS_NOT_DONE], State.IN_DOUBT, True),
        ([IS_UNPROVEN, IS_UNKNOWN], State.IN_DOUBT, True),
        ([IS_UNPROVEN, IS_DONE], State.USED, True),
    ],
)
def test_reports_of_one_write(told: list[Told], expected: State, contradiction: bool) -> None:
    last = tell(AUTHORIZED, *told)
    assert (last.report.state, last.report.contradiction, last.repeated) == (expected, contradiction, False)
    assert state_of(last.reservation, NOW) is expected


@pytest.mark.parametrize(
    ("reservation", "n", "contradiction"),
    [
        (AUTHORIZED, 1, False),
        (IN_DOUBT, 1, False),
        (having(write(UNKNOWN), write(OPEN, n=2)), 1, False),
        (having(write(DONE), write(OPEN, n=2)), 2, False),  # used already: answered "valid" all the same
        (having(write(NOT_DONE)), 1, True),
        (CLOSED, 1, False),
        (replace(AUTHORIZED, expires_at=NOW - SECOND), 1, False),  # past 24 hours
    ],
)
def test_a_valid_receipt_is_the_truth_wherever_the_reservation_stands(
    reservation: Reservation, n: int, contradiction: bool
) -> None:
    told = tell(reservation, IS_DONE, n=n)
    assert (told.report.verdict, told.report.state) == (VALID, State.USED)
    assert told.report.contradiction is contradiction
    assert state_of(told.reservation, NOW) is State.USED


@pytest.mark.parametrize("told", [IS_DONE, IS_UNPROVEN, IS_NOT_DONE, IS_UNKNOWN])
def test_the_same_report_again_gets_the_recorded_answer(told: Told) -> None:
    first = tell(AUTHORIZED, told)
    again = tell(first.reservation, told)
    assert again == replace(first, repeated=True)


def test_the_same_outcome_with_other_content_is_refused() -> None:
    with pytest.raises(BadContent):
        tell(AUTHORIZED, IS_DONE, IS_UNPROVEN)
    told = tell(AUTHORIZED, IS_NOT_DONE).reservation
    with pytest.raises(BadContent):
        report(attempt(), told, 1, Outcome.NOT_DONE, 0x6985, NONE, NOW)


@pytest.mark.parametrize("told", [IS_UNPROVEN, IS_NOT_DONE, IS_UNKNOWN])
def test_a_number_the_centre_never_saw_changes_nothing_and_is_dead(told: Told) -> None:
    reported = tell(EMPTY, told)
    assert reported.report.state is State.RESERVED
    assert reported.report.contradiction is (told is not IS_NOT_DONE)
    one, current = checked(attempt(), Proof(b"", None, CARD), reported.reservation, CHALLENGES, NOW)
    assert current is not None
    with pytest.raises(OutOfOrder):
        authorize(one, current, 1, b"answer", GENUINE, NOW)
    assert authorize(one, current, 2, b"answer", GENUINE, NOW).refusal is None


@pytest.mark.parametrize("n", [0, 4, 2**32 - 1])
def test_a_write_number_is_one_to_three(n: int) -> None:
    with pytest.raises(BadContent):
        tell(EMPTY, IS_NOT_DONE, n=n)
    with pytest.raises(BadContent):
        authorize(attempt(), AUTHORIZED, n, b"", GENUINE, NOW)


def test_reports_leave_no_gaps() -> None:
    with pytest.raises(OutOfOrder):
        tell(EMPTY, IS_NOT_DONE, n=2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([OPEN], State.RESERVED),
        ([OPEN, OPEN], State.RESERVED),
        ([UNKNOWN, OPEN], State.IN_DOUBT),
        ([UNKNOWN], State.IN_DOUBT),
        ([UNPROVEN], State.IN_DOUBT),
        ([DONE], State.USED),
        ([NOT_DONE], State.RESERVED),
    ],
)
def test_a_release_settles_what_was_not_reported(before: list[WriteStatus], after: State) -> None:
    reservation = having(*(write(status, n=n) for n, status in enumerate(before, 1)))
    released, settled = release(attempt(), "a1", KIOSK, reservation, NOW)
    assert settled is not None
    assert (released.released_at, released.released_state) == (NOW, after)
    assert state_of(settled, NOW) is after


def test_a_release_leaves_other_attempts_writes_open() -> None:
    _, settled = release(attempt("a2"), "a2", KIOSK, having(write(OPEN), write(OPEN, "a2")), NOW)
    assert settled is not None
    assert state_of(settled, NOW) is State.IN_DOUBT


def test_not_done_told_after_a_release_is_no_contradiction() -> None:
    _, settled = release(attempt(), "a1", KIOSK, AUTHORIZED, NOW)
    assert settled is not None
    assert not tell(settled, IS_NOT_DONE).report.contradiction
    assert tell(settled, IS_UNKNOWN).report.contradiction


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda r: replace(r, current_attempt="a2"), Refusal.SUPERSEDED),
        (lambda r: replace(r, closed=State.REPLACED), Refusal.RESERVATION_NOT_FOUND),
        (lambda r: replace(r, closed=State.CLOSED_UNKNOWN), Refusal.RESERVATION_NOT_FOUND),
        (lambda r: replace(r, writes=(write(DONE, "a2"),)), Refusal.RESERVATION_USED),
    ],
)
def test_what_takes_an_authorisation_away(change: Callable[[Reservation], Reservation], refusal: Refusal) -> None:
    one, current = checked(attempt(), Proof(b"", None, CARD), EMPTY, CHALLENGES, NOW)
    assert current is not None
    assert authorize(one, change(current), 1, b"answer", GENUINE, NOW).refusal is refusal


def test_a_failed_proof_is_recorded_as_the_answer() -> None:
    one, changed = checked(attempt(), Proof(b"x", Refusal.SIGNATURE_INVALID), None, CHALLENGES, NOW)
    assert changed is None
    assert one.check is not None
    assert (one.check.content, one.check.refusal) == (b"x", Refusal.SIGNATURE_INVALID)
