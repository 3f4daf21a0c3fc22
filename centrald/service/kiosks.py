"""The kiosks' calls."""

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass, field

from centrald.cardkeys import CHALLENGE_BYTES, CardAnswer, Channel, MasterKey
from centrald.certificates import UserAuthority
from centrald.errors import BadContent, NeverBegun, OutOfOrder
from centrald.rules import attempt as rules
from centrald.rules import report as report_rules
from centrald.rules.hours import Hours, opening
from centrald.rules.model import (
    MAX_WRITES,
    Attempt,
    CardEntry,
    Check,
    KioskId,
    Outcome,
    Procedure,
    Refusal,
    Report,
    Reservation,
    State,
    Transcript,
    Verdict,
)
from centrald.rules.reservation import state_of
from centrald.service.cards import digest, prove, standing
from centrald.statement import CHALLENGE_BYTES as STATEMENT_CHALLENGE_BYTES
from centrald.statement import Purpose, statement
from centrald.storage.database import Database
from centrald.storage.ledger import Entry, Event
from centrald.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Whether an attempt may begin now."""

    refusal: Refusal | None
    now: datetime.datetime
    opens_at: datetime.datetime | None
    closes_at: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class Authorized:
    """One write is authorised; holds session keys, so it prints none."""

    external_authenticate: bytes  # 21 bytes
    s_enc: bytes = field(repr=False)  # 16 bytes
    s_mac: bytes = field(repr=False)  # 16 bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """The card's own receipt."""

    chaining_value: bytes = field(repr=False)  # 16 bytes
    r_mac: bytes = field(repr=False)  # 8 bytes


@dataclass(frozen=True, slots=True)
class AttemptStatus:
    """What became of an attempt."""

    state: State | None
    verdict: Verdict
    released: bool


class KioskCalls:
    """What kiosks ask; every method raises CallError for a broken call."""

    def __init__(self, database: Database, master: MasterKey, authority: UserAuthority, hours: Hours) -> None:
        self._database = database
        self._master = master
        self._authority = authority
        self._hours = hours

    async def status(self, kiosk: KioskId) -> ServiceStatus:
        """Tell whether an attempt may begin; changes nothing."""
        async with self._database.transaction() as tx:
            return await self._status(tx, kiosk)

    async def _status(self, tx: Transaction, kiosk: KioskId) -> ServiceStatus:
        now_open = opening(self._hours, tx.now)
        refusal = now_open.refusal if await tx.fleet.enabled(kiosk) else Refusal.KIOSK_NOT_ENABLED
        return ServiceStatus(refusal, tx.now, now_open.opens_at, now_open.closes_at)

    async def begin(self, kiosk: KioskId, attempt_id: str, procedure: Procedure) -> Attempt | ServiceStatus:
        """Begin an attempt, or say why not; a refusal leaves no trace."""
        async with self._database.transaction() as tx:
            status = await self._status(tx, kiosk)
            if status.refusal is Refusal.KIOSK_NOT_ENABLED:
                return status
            earlier = rules.repeated_begin(await tx.attempt(attempt_id), kiosk, procedure)
            if earlier is not None:
                return earlier
            if status.refusal is not None:
                return status
            challenge = secrets.token_bytes(STATEMENT_CHALLENGE_BYTES)
            begun = Attempt(attempt_id, kiosk, tx.now, procedure, challenge)
            await tx.add_attempt(begun)
            await tx.append(Entry(Event.BEGUN, tx.now, kiosk=str(kiosk), attempt_id=attempt_id))
            return begun

    async def check(self, kiosk: KioskId, attempt_id: str, certificate: bytes, signature: bytes) -> Check:
        """Judge the citizen's right once; its answer is recorded."""
        async with self._database.transaction() as tx:
            content = digest(certificate, signature)
            if not await tx.fleet.enabled(kiosk):
                return Check(content, Refusal.KIOSK_NOT_ENABLED)
            attempt, earlier = rules.repeated_check(await tx.attempt(attempt_id), kiosk, content)
            if earlier is not None:
                return earlier
            procedure = _procedure(attempt)
            signed = statement(Purpose.RESET, procedure, attempt.id, str(kiosk), attempt.challenge)
            proof = await prove(tx, self._authority, procedure, signed, certificate, signature)
            newest = None
            if proof.refusal is None and proof.card is not None:
                newest = await tx.newest_reservation(proof.card.certificate, procedure)
            host_challenges = tuple(secrets.token_bytes(CHALLENGE_BYTES) for _ in range(MAX_WRITES))
            attempt, changed = rules.checked(attempt, proof, newest, host_challenges, tx.now)
            return await self._save_check(tx, attempt, newest, changed)

    async def _save_check(
        self, tx: Transaction, attempt: Attempt, before: Reservation | None, after: Reservation | None
    ) -> Check:
        assert attempt.check is not None
        state = None
        if before is not None:
            await tx.settle(before)
            state = state_of(before, tx.now)
        if before is not None and after is not None:
            await tx.save_reservation(before, after)
        await tx.save_attempt(attempt)
        await tx.append(
            Entry(
                Event.CHECKED,
                tx.now,
                kiosk=str(attempt.kiosk),
                attempt_id=attempt.id,
                reservation_id=before.id if before else None,
                state_before=state,
                state_after=state,
                refusal=attempt.check.refusal,
            )
        )
        return attempt.check

    async def authorize(self, kiosk: KioskId, attempt_id: str, n: int, card_answer: bytes) -> Authorized | Refusal:
        """Verify the card's cryptogram (answer to INITIALIZE UPDATE, 29 bytes) and authorise write `n`."""
        async with self._database.transaction() as tx:
            if not await tx.fleet.enabled(kiosk):
                return Refusal.KIOSK_NOT_ENABLED
            attempt, check = rules.granted_check(await tx.attempt(attempt_id), kiosk)
            if not 1 <= n <= MAX_WRITES:
                raise BadContent("a write number is 1 to 3")
            assert check.certificate is not None
            card = await tx.card(check.certificate)
            reservation = await self._reservation(tx, check)
            evidence = self._evidence(attempt, check, card, n, card_answer, tx.now)
            answer = rules.authorize(attempt, reservation, n, card_answer, evidence, tx.now)
            if not answer.repeated:
                await self._save_authorization(tx, attempt, n, reservation, answer)
            if answer.refusal is not None:
                return answer.refusal
            assert answer.transcript is not None
            channel = Channel(self._master, _procedure(attempt), answer.transcript)
            return Authorized(channel.external_authenticate(), channel.s_enc, channel.s_mac)

    def _evidence(
        self, attempt: Attempt, check: Check, card: CardEntry | None, n: int, card_answer: bytes, now: datetime.datetime
    ) -> rules.Evidence:
        """Compare the card's answer with its registry entry, and verify the cryptogram."""
        try:
            parsed = CardAnswer.parse(card_answer)
        except ValueError as error:
            raise BadContent(str(error)) from None
        procedure = _procedure(attempt)
        transcript = Transcript(
            key_version=parsed.key_version,
            diversification_data=parsed.diversification_data,
            host_challenge=check.host_challenges[n - 1],
            card_challenge=parsed.card_challenge,
        )
        refusal = standing(card, procedure, now)
        genuine = (
            card is not None
            and parsed.speaks_our_protocol
            and parsed.diversification_data == card.diversification_data
            and parsed.key_version == check.key_version == card.key_versions.get(procedure)
            and Channel(self._master, procedure, transcript).card_is_genuine(parsed.cryptogram)
        )
        return rules.Evidence(transcript, genuine, refusal)

    async def _save_authorization(
        self, tx: Transaction, attempt: Attempt, n: int, before: Reservation, answer: rules.Authorization
    ) -> None:
        await tx.save_reservation(before, answer.reservation)
        await tx.append(
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
                transcript=answer.transcript,
            )
        )

    async def report(
        self, kiosk: KioskId, attempt_id: str, n: int, outcome: Outcome, status_word: int, receipt: Receipt | None
    ) -> Report:
        """Record what became of write `n`; taken also when the kiosk is disabled or the attempt released."""
        async with self._database.transaction() as tx:
            attempt = rules.owned(await tx.attempt(attempt_id), kiosk)
            if attempt.check is None or attempt.check.refusal is not None:
                raise OutOfOrder("no reservation was checked")
            before = await self._reservation(tx, attempt.check)
            verdict = self._verdict(attempt, before, n, outcome, receipt)
            reported = report_rules.report(attempt, before, n, outcome, status_word, verdict, tx.now)
            if reported.repeated:
                return reported.report
            await tx.save_reservation(before, reported.reservation)
            write = rules.find_write(reported.reservation, attempt.id, n)
            await tx.append(
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
                    transcript=write.transcript if write else None,
                )
            )
            return reported.report

    def _verdict(
        self, attempt: Attempt, reservation: Reservation, n: int, outcome: Outcome, receipt: Receipt | None
    ) -> Verdict:
        """Judge a receipt with S-RMAC, derived again from the recorded transcript."""
        if (receipt is None) == (outcome is Outcome.DONE):
            raise BadContent("a receipt comes with DONE, and only with it")
        if receipt is None:
            return Verdict.NONE
        write = rules.find_write(reservation, attempt.id, n)
        if write is None or write.transcript is None:
            return Verdict.INVALID
        channel = Channel(self._master, _procedure(attempt), write.transcript)
        return Verdict.VALID if channel.receipt_is_valid(receipt.chaining_value, receipt.r_mac) else Verdict.INVALID

    async def release(self, kiosk: KioskId, attempt_id: str) -> State | None:
        """End an attempt for good; an id never seen leaves a tombstone."""
        async with self._database.transaction() as tx:
            known = await tx.attempt(attempt_id)
            before = None
            if known is not None and known.check is not None and known.check.reservation_id is not None:
                before = await self._reservation(tx, known.check)
            attempt, after = rules.release(known, attempt_id, kiosk, before, tx.now)
            if known is not None and known.released_at is not None:
                return known.released_state
            await (tx.add_attempt(attempt) if known is None else tx.save_attempt(attempt))
            if before is not None and after is not None:
                await tx.save_reservation(before, after)
            await tx.append(
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

    async def get(self, kiosk: KioskId, attempt_id: str) -> AttemptStatus:
        """Tell what became of an attempt; raises NeverBegun."""
        async with self._database.transaction() as tx:
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
        await tx.settle(reservation)
        return reservation


def _procedure(attempt: Attempt) -> Procedure:
    assert attempt.procedure is not None  # a tombstone is released, and every call that gets here refuses released ones
    return attempt.procedure
