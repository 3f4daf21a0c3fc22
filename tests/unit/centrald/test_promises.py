"""The two promises, over random lives of one card's reservations at honest kiosks with lossy lines.

A kiosk is honest: it reports DONE with the card's receipt, NOT_DONE only for what the card did not do, and releases an
attempt only when nothing it was authorised for reached the card unreported. All else may be lost, repeated or late.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from centrald.errors import OutOfOrder
from centrald.rules import attempt as rules
from centrald.rules.model import (
    MAX_WRITES,
    Attempt,
    Outcome,
    Refusal,
    Reservation,
    State,
    Verdict,
)
from centrald.rules.report import report
from centrald.rules.reservation import Made, in_doubt, make, state_of
from tests.unit.centrald.values import CARD, CHALLENGES, GENUINE, KIOSK, NOW, PROCEDURE, WISH

RECENT = st.sampled_from([0, 0, 0, 0, 1, 2])  # attempts ago: mostly the last one acts
MOSTLY = st.sampled_from([True] * 5 + [False])
RARELY = st.sampled_from([False] * 5 + [True])
CLAIMS_OF_FREEDOM = (State.RESERVED, State.REPLACED)


@dataclass
class Kiosk:
    """What one kiosk knows of its attempt, and what the card did under it."""

    id: str
    asked: int = 0
    sent: set[int] = field(default_factory=set)  # the RESET RETRY COUNTER was handed to transmit
    done: set[int] = field(default_factory=set)  # the card carried it out
    told: set[int] = field(default_factory=set)  # a report of it was delivered


class Promises(RuleBasedStateMachine):
    """One certificate, its reservations, and any number of attempts."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.reservations: dict[str, Reservation] = {}
        self.attempts: dict[str, Attempt] = {}
        self.kiosks: list[Kiosk] = []
        self.newest: Reservation | None = None
        self.changed: dict[str, bool] = {}  # by reservation: the card was changed under it
        self.proved: set[str] = set()  # reservations whose receipt the centre has seen

    def _keep(self, reservation: Reservation) -> None:
        self.reservations[reservation.id] = reservation
        if self.newest is None or self.newest.id == reservation.id:
            self.newest = reservation

    def _of(self, kiosk: Kiosk) -> Reservation | None:
        check = self.attempts[kiosk.id].check
        return self.reservations[check.reservation_id] if check and check.reservation_id else None

    @rule(seconds=st.sampled_from([1, 2, 3, 30, 60, 100, 15 * 60, 20 * 60, 24 * 3600]))
    def time_passes(self, seconds: int) -> None:
        self.now += datetime.timedelta(seconds=seconds)

    @initialize()
    def first_reservation(self) -> None:
        self.phone_reserves(eager=True)

    @rule(eager=RARELY)
    def phone_reserves(self, eager: bool) -> None:
        if self.newest is not None and not eager and state_of(self.newest, self.now) is State.RESERVED:
            return
        made = make(self.newest, WISH, f"r{len(self.reservations)}", self.now)
        if not isinstance(made, Made):
            assert made is Refusal.ATTEMPT_RUNNING
            return
        if made.closed is not None:
            self._keep(made.closed)
        self.newest = made.reservation
        self._keep(made.reservation)

    @rule()
    def card_is_set(self) -> None:
        kiosk = Kiosk(f"a{len(self.attempts)}")
        begun = Attempt(kiosk.id, KIOSK, self.now, PROCEDURE)
        attempt, changed = rules.checked(begun, rules.Proof(b"", None, CARD), self.newest, CHALLENGES, self.now)
        self.attempts[kiosk.id] = attempt
        if changed is not None:
            assert attempt.check is not None
            assert attempt.check.in_doubt is in_doubt(changed)
            self._keep(changed)
        self.kiosks.append(kiosk)

    def _kiosk(self, ago: int) -> Kiosk:
        return self.kiosks[max(0, len(self.kiosks) - 1 - ago)]

    @precondition(lambda self: self.kiosks)
    @rule(ago=RECENT, arrives=MOSTLY, answered=MOSTLY, executed=st.booleans())
    def kiosk_writes(self, ago: int, arrives: bool, answered: bool, executed: bool) -> None:
        kiosk = self._kiosk(ago)
        reservation = self._of(kiosk)
        if reservation is None or kiosk.asked == MAX_WRITES or kiosk.asked not in {0, *kiosk.told}:
            return
        n = kiosk.asked + 1
        kiosk.asked = n
        if not arrives:
            return
        before = state_of(reservation, self.now)
        try:
            answer = rules.authorize(self.attempts[kiosk.id], reservation, n, b"x", GENUINE, self.now)
        except OutOfOrder:
            return  # released
        if answer.refusal is not None:
            assert answer.reservation == reservation
            return
        assert before in (State.RESERVED, State.AUTHORIZED, State.IN_DOUBT)
        self._keep(answer.reservation)
        if answered:
            kiosk.sent.add(n)
            if executed:
                kiosk.done.add(n)
                self.changed[reservation.id] = True

    @precondition(lambda self: self.kiosks)
    @rule(ago=RECENT, earlier=st.sampled_from([0, 0, 0, 1, 2]), sure=st.booleans(), again=st.booleans())
    def kiosk_reports(self, ago: int, earlier: int, sure: bool, again: bool) -> None:
        kiosk = self._kiosk(ago)
        n = kiosk.asked - earlier
        reservation = self._of(kiosk)
        if reservation is None or n < 1 or (n > 1 and n - 1 not in kiosk.told):
            return
        outcome = Outcome.DONE if n in kiosk.done else Outcome.NOT_DONE
        if not sure and n in kiosk.sent:
            outcome = Outcome.UNKNOWN
        verdict = Verdict.VALID if outcome is Outcome.DONE else Verdict.NONE
        for _ in range(1 + again):
            reservation = self.reservations[reservation.id]
            reported = report(self.attempts[kiosk.id], reservation, n, outcome, 0, verdict, self.now)
            self._keep(reported.reservation)
        kiosk.told.add(n)
        if verdict is Verdict.VALID:
            assert reported.report.state is State.USED
            self.proved.add(reservation.id)

    @precondition(lambda self: self.kiosks)
    @rule(ago=RECENT, gives_up=RARELY)
    def kiosk_releases(self, ago: int, gives_up: bool) -> None:
        kiosk = self._kiosk(ago)
        if not gives_up:
            return
        if kiosk.sent - kiosk.told:
            return
        attempt = self.attempts[kiosk.id]
        released, settled = rules.release(attempt, kiosk.id, KIOSK, self._of(kiosk), self.now)
        self.attempts[kiosk.id] = released
        if settled is not None:
            self._keep(settled)

    @invariant()
    def a_changed_card_is_never_free_again(self) -> None:
        for name, reservation in self.reservations.items():
            state = state_of(reservation, self.now)
            if self.changed.get(name):
                assert state not in CLAIMS_OF_FREEDOM
            assert (state is State.USED) is (name in self.proved)

    @invariant()
    def what_is_open_is_doubt(self) -> None:
        for reservation in self.reservations.values():
            if state_of(reservation, self.now) in (State.IN_DOUBT, State.AUTHORIZED):
                assert in_doubt(reservation)


TestPromises = Promises.TestCase
TestPromises.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, derandomize=True, database=None
)
