"""The phones' calls."""

from __future__ import annotations

import logging
import secrets
import uuid

from centrald.clock import Clock
from centrald.errors import TooMany
from centrald.rules.model import FaceMatch, Procedure, Refusal, Reservation
from centrald.rules.reservation import Made, Wish, make, state_of
from centrald.service.cards import Trust, digest, prove
from centrald.service.guards import PhoneGuard
from centrald.statement import CHALLENGE_BYTES, Purpose, statement
from centrald.storage.database import Database, transactional
from centrald.storage.ledger import Entry, Event
from centrald.storage.transaction import Transaction

_log = logging.getLogger(__name__)

_SHARE = 20  # of the challenges that may still be opened, one process gives so small a part before it counts again


class PhoneCalls:
    """What phones ask; anyone may, so what is kept for them before a proof is bounded."""

    def __init__(self, database: Database, trust: Trust, open_challenges: int, guard: PhoneGuard, clock: Clock) -> None:
        self._database = database
        self._trust = trust
        self._open_challenges = open_challenges
        self._allowance = 0  # challenges to give before those that are open are counted again
        self._guard = guard
        self._clock = clock  # of the guard alone

    def admit(self, peer: str) -> None:
        """Let one call of this peer (as gRPC names it) through, before anything is done for it; raises TooMany."""
        self._guard.address(peer, self._clock.now())

    @transactional
    async def challenge(self, tx: Transaction, procedure: Procedure) -> bytes:
        """Return a challenge (32 bytes) that lives five minutes; raises TooMany."""
        await tx.look_at_clock()
        if self._allowance <= 0:
            left = self._open_challenges - await tx.open_challenges()
            if left <= 0:
                raise TooMany("too many open challenges; try again in a few minutes")
            self._allowance = max(1, left // _SHARE)
        self._allowance -= 1
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        tx.add_challenge(challenge, procedure)
        return challenge

    @transactional
    async def reserve(
        self,
        tx: Transaction,
        procedure: Procedure,
        challenge: bytes,
        certificate: bytes,
        signature: bytes,
        face_match: FaceMatch,
    ) -> Reservation | Refusal:
        """Make a reservation; the same request again gets the same one."""
        content = digest(bytes([procedure]), challenge, certificate, signature, face_match.value.encode())
        # A challenge that lives is held here: the same request at once waits, and then finds what this one made.
        if not await tx.challenge_lives(challenge, procedure):
            earlier = await tx.reservation_of_challenge(challenge)
            return earlier if earlier is not None and earlier.content == content else Refusal.CHALLENGE_EXPIRED
        signed = statement(Purpose.RESERVE, procedure, "", "", challenge)
        proof = await prove(tx, self._trust, procedure, signed, certificate, signature)
        if proof.fault is not None:
            _log.info("certificate refused", extra={"fault": proof.fault.value})
        if proof.refusal is not None or proof.card is None:
            return proof.refusal or Refusal.CARD_NOT_REGISTERED
        self._guard.certificate(proof.card.certificate, tx.now)
        newest = await tx.newest_reservation(proof.card.certificate, procedure)
        if newest is not None:
            tx.settle(newest)
        wish = Wish(proof.card.certificate, procedure, face_match, challenge, content)
        made = make(newest, wish, str(uuid.uuid4()), tx.now)
        if isinstance(made, Refusal):
            return made
        self._save(tx, newest, made)
        return made.reservation

    def _save(self, tx: Transaction, newest: Reservation | None, made: Made) -> None:
        if newest is not None and made.closed is not None:
            tx.save_reservation(newest, made.closed)
            replaced = Entry(
                Event.REPLACED,
                tx.now,
                reservation_id=newest.id,
                state_before=state_of(newest, tx.now),
                state_after=state_of(made.closed, tx.now),
            )
            tx.append(replaced)
        tx.add_reservation(made.reservation, newest)
        tx.use_challenge(made.reservation.challenge)
        reserved = Entry(
            Event.RESERVED,
            tx.now,
            reservation_id=made.reservation.id,
            state_after=state_of(made.reservation, tx.now),
            face_match=made.reservation.face_match,
        )
        tx.append(reserved)
