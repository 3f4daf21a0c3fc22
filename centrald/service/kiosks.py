"""The kiosks' calls."""

from __future__ import annotations

import datetime
import logging
import secrets
from dataclasses import dataclass, replace

from centrald.cardkeys import CHALLENGE_BYTES
from centrald.errors import BadContent, NeverBegun, OutOfOrder
from centrald.masterkeys import CardKeys
from centrald.rules import attempt as rules
from centrald.rules import report as report_rules
from centrald.rules.hours import Hours, opening
from centrald.rules.model import (
    MAX_WRITES,
    Attempt,
    CertificateId,
    Check,
    Fault,
    KioskId,
    Outcome,
    Procedure,
    Refusal,
    Report,
    Reservation,
    State,
    Verdict,
)
from centrald.rules.reservation import state_of
from centrald.service.cards import Trust, digest, prove, refusal_of
from centrald.service.channels import Authorized, Channels, Receipt
from centrald.service.guards import CryptogramGuard
from centrald.statement import CHALLENGE_BYTES as STATEMENT_CHALLENGE_BYTES
from centrald.statement import Purpose, statement
from centrald.storage.database import Database, transactional
from centrald.storage.ledger import Entry, Event
from centrald.storage.transaction import Standing, Transaction

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Whether an attempt may begin now."""

    refusal: Refusal | None
    now: datetime.datetime
    opens_at: datetime.datetime | None
    closes_at: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class AttemptStatus:
    """What became of an attempt."""

    state: State | None
    verdict: Verdict
    released: bool


@dataclass(frozen=True, slots=True)
class _Judged:
    """Whose cryptogram was judged, and when; a repeated call judges nothing anew."""

    certificate: CertificateId
    reservation_id: str
    at: datetime.datetime


class KioskCalls:
    """What kiosks ask; every method raises CallError for a broken call."""

    def __init__(
        self, database: Database, keys: CardKeys, trust: Trust, hours: Hours, guard: CryptogramGuard | None = None
    ) -> None:
        self._database = database
        self._channels = Channels(keys)
        self._trust = trust
        self._hours = hours
        self._guard = guard or CryptogramGuard()

    @transactional
    async def status(self, tx: Transaction, kiosk: KioskId) -> ServiceStatus:
        """Tell whether an attempt may begin; changes nothing."""
        return self._status(await tx.standing(kiosk), tx.now)

    def _status(self, standing: Standing, now: datetime.datetime) -> ServiceStatus:
        now_open = opening(replace(self._hours, maintenance=standing.windows), now)
        refusal = now_open.refusal if standing.enabled else Refusal.KIOSK_NOT_ENABLED
        if refusal is None and not self._trust.revocations.reliable(now):
            refusal = Refusal.MAINTENANCE  # whether a certificate is revoked cannot be judged; the log says of which
        return ServiceStatus(refusal, now, now_open.opens_at, now_open.closes_at)

    @transactional
    async def begin(
        self, tx: Transaction, kiosk: KioskId, attempt_id: str, procedure: Procedure
    ) -> Attempt | ServiceStatus:
        """Begin an attempt, or say why not; a refusal leaves no trace."""
        standing = await tx.standing(kiosk, attempt_id)
        status = self._status(standing, tx.now)
        if status.refusal is Refusal.KIOSK_NOT_ENABLED:
            return status
        earlier = rules.repeated_begin(standing.attempt, kiosk, procedure)
        if earlier is not None:
            return earlier
        if status.refusal is not None:
            return status
        challenge = secrets.token_bytes(STATEMENT_CHALLENGE_BYTES)
        begun = Attempt(attempt_id, kiosk, tx.now, procedure, challenge)
        tx.add_attempt(begun)
        tx.append(Entry(Event.BEGUN, tx.now, kiosk=str(kiosk), attempt_id=attempt_id))
        return begun

    @transactional
    async def check(
        self, tx: Transaction, kiosk: KioskId, attempt_id: str, certificate: bytes, signature: bytes
    ) -> Check:
        """Judge the citizen's right once; its answer is recorded."""
        content = digest(certificate, signature)
        visit = await tx.visit(kiosk, attempt_id)
        if not visit.enabled:
            return Check(content, Refusal.KIOSK_NOT_ENABLED)
        attempt, earlier = rules.repeated_check(visit.attempt, kiosk, content)
        if earlier is not None:
            return earlier
        procedure = _procedure(attempt)
        signed = statement(Purpose.RESET, procedure, attempt.id, str(kiosk), attempt.challenge)
        proof = await prove(tx, self._trust, procedure, signed, certificate, signature)
        newest = None
        if proof.refusal is None and proof.card is not None:
            newest = await tx.newest_reservation(proof.card.certificate, procedure)
        host_challenges = tuple(secrets.token_bytes(CHALLENGE_BYTES) for _ in range(MAX_WRITES))
        attempt, changed = rules.checked(attempt, proof, newest, host_challenges, tx.now)
        return self._save_check(tx, attempt, newest, changed, proof.fault)

    def _save_check(
        self,
        tx: Transaction,
        attempt: Attempt,
        before: Reservation | None,
        after: Reservation | None,
        fault: Fault | None,
    ) -> Check:
        assert attempt.check is not None
        state = None
        if before is not None:
            tx.settle(before)
            state = state_of(before, tx.now)
        if before is not None and after is not None:
            tx.save_reservation(before, after)
        tx.save_attempt(attempt)
        tx.append(
            Entry(
                Event.CHECKED,
                tx.now,
                kiosk=str(attempt.kiosk),
                attempt_id=attempt.id,
                reservation_id=before.id if before else None,
                state_before=state,
                state_after=state,
                refusal=attempt.check.refusal,
                detail=fault.value if fault and fault.refusal is attempt.check.refusal else None,
            )
        )
        return attempt.check

    async def authorize(self, kiosk: KioskId, attempt_id: str, n: int, card_answer: bytes) -> Authorized | Refusal:
        """Verify the card's cryptogram (answer to INITIALIZE UPDATE, 29 bytes) and authorise write `n`.

        Raises TooMany, and changes nothing, while card or kiosk wait because of wrong cryptograms.
        """
        given, judged = await self._authorize(kiosk, attempt_id, n, card_answer)
        if judged is not None:
            genuine = isinstance(given, Authorized)
            self._guard.judged(judged.certificate, kiosk, judged.reservation_id, judged.at, genuine=genuine)
        return given

    @transactional
    async def _authorize(
        self, tx: Transaction, kiosk: KioskId, attempt_id: str, n: int, card_answer: bytes
    ) -> tuple[Authorized | Refusal, _Judged | None]:
        visit = await tx.visit(kiosk, attempt_id)
        if not visit.enabled:
            return Refusal.KIOSK_NOT_ENABLED, None
        attempt, check = rules.granted_check(visit.attempt, kiosk)
        if not 1 <= n <= MAX_WRITES:
            raise BadContent("a write number is 1 to 3")
        assert check.certificate is not None
        reservation = await self._reservation(tx, check)
        if rules.find_write(reservation, attempt.id, n) is None:
            self._guard.admit(check.certificate, kiosk, tx.now)
        procedure = _procedure(attempt)
        host_challenge = check.host_challenges[n - 1]
        why = self._trust.standing(visit.card, procedure, tx.now)
        evidence = rules.Evidence(
            *await self._channels.judge(procedure, visit.card, check.key_version, host_challenge, card_answer),
            refusal_of(why),
        )
        answer = rules.authorize(attempt, reservation, n, card_answer, evidence, tx.now)
        judged = None
        if not answer.repeated:
            fault = why if isinstance(why, Fault) and answer.refusal is why.refusal else None
            self._save_authorization(tx, attempt, n, reservation, answer, fault)
            if answer.refusal in (None, Refusal.CARD_NOT_GENUINE):
                judged = _Judged(check.certificate, reservation.id, tx.now)
        if answer.refusal is not None:
            return answer.refusal, judged
        assert answer.transcript is not None
        return await self._channels.hand_over(procedure, answer.transcript), judged

    def _save_authorization(
        self,
        tx: Transaction,
        attempt: Attempt,
        n: int,
        before: Reservation,
        answer: rules.Authorization,
        fault: Fault | None,
    ) -> None:
        tx.save_reservation(before, answer.reservation)
        write = rules.find_write(answer.reservation, attempt.id, n)
        tx.append(
            Entry(
                Event.AUTHORIZED if answer.refusal is None else Event.NOT_AUTHORIZED,
                tx.now,
                kiosk=str(attempt.kiosk),
                attempt_id=attempt.id,
                n=n,
                reservation_id=before.id,
                state_before=state_of(before, tx.now),
                state_after=state_of(answer.reservation, tx.now),
                refusal=answer.refusal,
                detail=fault and fault.value,
                transcript=write.transcript if write else None,
            )
        )

    @transactional
    async def report(
        self,
        tx: Transaction,
        kiosk: KioskId,
        attempt_id: str,
        n: int,
        outcome: Outcome,
        status_word: int,
        receipt: Receipt | None,
    ) -> Report:
        """Record what became of write `n`; taken also when the kiosk is disabled or the attempt released."""
        attempt = rules.owned(await tx.attempt(attempt_id), kiosk)
        if attempt.check is None or attempt.check.refusal is not None:
            raise OutOfOrder("no reservation was checked")
        before = await self._reservation(tx, attempt.check)
        asked = rules.find_write(before, attempt.id, n)
        verdict = await self._channels.verdict(_procedure(attempt), asked, outcome, receipt)
        reported = report_rules.report(attempt, before, n, outcome, status_word, verdict, tx.now)
        if reported.repeated:
            return reported.report
        tx.save_reservation(before, reported.reservation)
        tx.append(
            Entry(
                Event.REPORTED,
                tx.now,
                kiosk=str(kiosk),
                attempt_id=attempt.id,
                n=n,
                reservation_id=before.id,
                state_before=state_of(before, tx.now),
                state_after=reported.report.state,
                outcome=outcome,
                status_word=status_word,
                verdict=None if verdict is Verdict.NONE else verdict,
                contradiction=reported.report.contradiction,
                transcript=asked.transcript if asked else None,
            )
        )
        _alarm(attempt, n, reported.report)
        return reported.report

    @transactional
    async def release(self, tx: Transaction, kiosk: KioskId, attempt_id: str) -> State | None:
        """End an attempt for good; an id never seen leaves a tombstone."""
        known = await tx.attempt(attempt_id)
        before = None
        if known is not None and known.check is not None and known.check.reservation_id is not None:
            before = await self._reservation(tx, known.check)
        attempt, after = rules.release(known, attempt_id, kiosk, before, tx.now)
        if known is not None and known.released_at is not None:
            return known.released_state
        (tx.add_attempt if known is None else tx.save_attempt)(attempt)
        if before is not None and after is not None:
            tx.save_reservation(before, after)
        tx.append(
            Entry(
                Event.RELEASED,
                tx.now,
                kiosk=str(kiosk),
                attempt_id=attempt_id,
                reservation_id=before.id if before else None,
                state_before=state_of(before, tx.now) if before else None,
                state_after=attempt.released_state,
            )
        )
        return attempt.released_state

    @transactional
    async def get(self, tx: Transaction, kiosk: KioskId, attempt_id: str) -> AttemptStatus:
        """Tell what became of an attempt; raises NeverBegun."""
        known = await tx.attempt(attempt_id)
        if known is None:
            raise NeverBegun("no such attempt")
        attempt = rules.owned(known, kiosk)
        released = attempt.released_at is not None
        if attempt.check is None or attempt.check.reservation_id is None:
            return AttemptStatus(None, Verdict.NONE, released)
        reservation = await self._reservation(tx, attempt.check)
        mine = [write for write in reservation.writes if write.attempt_id == attempt.id]
        verdicts = {one.verdict for write in mine for one in write.reports}
        verdict = next((one for one in (Verdict.VALID, Verdict.INVALID) if one in verdicts), Verdict.NONE)
        return AttemptStatus(state_of(reservation, tx.now), verdict, released)

    async def _reservation(self, tx: Transaction, check: Check) -> Reservation:
        """Return the reservation of a granted check, with what silence made of it recorded."""
        assert check.reservation_id is not None
        reservation = await tx.reservation(check.reservation_id)
        assert reservation is not None
        tx.settle(reservation)
        return reservation


def _alarm(attempt: Attempt, n: int, report: Report) -> None:
    """Log what people have to look at; the ledger has the rest."""
    told = {"attempt_id": attempt.id, "n": n, "outcome": report.outcome.value, "state": report.state.value}
    if report.verdict is Verdict.INVALID:
        _log.error("a receipt does not verify", extra=told)
    if report.contradiction:
        _log.error("a report contradicts an earlier one", extra=told)


def _procedure(attempt: Attempt) -> Procedure:
    assert attempt.procedure is not None  # a tombstone is released, and every call that gets here refuses released ones
    return attempt.procedure
