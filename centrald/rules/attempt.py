"""What each call of a kiosk does to its attempt and the reservation: new values, or a CallError.

Calls are keyed by (attempt, call, n): the same content gets the recorded answer, other content raises ContentChanged.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace

from centrald.errors import BadContent, ContentChanged, NotYours, OutOfOrder
from centrald.rules.model import (
    FURTHER_WRITE,
    JUDGEMENT,
    MAX_WRITES,
    Attempt,
    CardEntry,
    Check,
    Fault,
    KioskId,
    Procedure,
    Refusal,
    Reservation,
    State,
    Transcript,
    Write,
    WriteStatus,
)
from centrald.rules.reservation import in_doubt, state_of, usable


def owned(attempt: Attempt | None, kiosk: KioskId) -> Attempt:
    """Return the attempt if it is known and this kiosk's; raises OutOfOrder, NotYours."""
    if attempt is None:
        raise OutOfOrder("unknown attempt")
    if attempt.kiosk != kiosk:
        raise NotYours("another kiosk's attempt")
    return attempt


def _alive(attempt: Attempt | None, kiosk: KioskId) -> Attempt:
    attempt = owned(attempt, kiosk)
    if attempt.released_at is not None:
        raise OutOfOrder("the attempt was released")
    return attempt


def repeated_begin(attempt: Attempt | None, kiosk: KioskId, procedure: Procedure) -> Attempt | None:
    """Return the attempt when this BeginAttempt repeats an earlier one; None when the id is new."""
    if attempt is None:
        return None
    attempt = _alive(attempt, kiosk)
    if attempt.procedure is not procedure:
        raise ContentChanged("the attempt was begun for another procedure")
    return attempt


@dataclass(frozen=True, slots=True)
class Proof:
    """What a certificate and its signature proved, beside the reservation; `refusal` says why they did not."""

    content: bytes  # digest of both
    refusal: Refusal | None
    card: CardEntry | None = None  # always there without refusal
    fault: Fault | None = None  # of a certificate, when that is why


def repeated_check(attempt: Attempt | None, kiosk: KioskId, content: bytes) -> tuple[Attempt, Check | None]:
    """Return the attempt, and the recorded answer when this CheckReservation repeats an earlier one."""
    attempt = _alive(attempt, kiosk)
    if attempt.check is not None and attempt.check.content != content:
        raise ContentChanged("the attempt showed another certificate or signature")
    return attempt, attempt.check


def checked(
    attempt: Attempt,
    proof: Proof,
    newest: Reservation | None,
    host_challenges: tuple[bytes, ...],
    now: datetime.datetime,
) -> tuple[Attempt, Reservation | None]:
    """Record the answer of a first CheckReservation; a card that proved itself makes this the current attempt."""
    refusal = proof.refusal
    if now >= attempt.begun_at + JUDGEMENT:
        refusal = Refusal.ATTEMPT_EXPIRED
    if refusal is None:
        refusal = usable(newest, attempt.begun_at, now)
    procedure = attempt.procedure
    if refusal is not None or newest is None or proof.card is None or procedure is None:
        return replace(attempt, check=Check(proof.content, refusal or Refusal.RESERVATION_NOT_FOUND)), None
    granted = Check(
        content=proof.content,
        refusal=None,
        certificate=proof.card.certificate,
        reservation_id=newest.id,
        expires_at=newest.expires_at,
        in_doubt=in_doubt(newest),
        key_version=proof.card.key_versions[procedure],
        host_challenges=host_challenges,
    )
    return replace(attempt, check=granted), replace(newest, current_attempt=attempt.id)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the card's answer to INITIALIZE UPDATE proved."""

    transcript: Transcript
    genuine: bool  # cryptogram, diversification data, key version and protocol are those of the registered card
    refusal: Refusal | None = None  # CARD_NOT_REGISTERED, CERTIFICATE_*: the registry changed since the check


def granted_check(attempt: Attempt | None, kiosk: KioskId) -> tuple[Attempt, Check]:
    """Return the attempt and its successful check; raises OutOfOrder when there is none."""
    attempt = _alive(attempt, kiosk)
    if attempt.check is None or attempt.check.refusal is not None:
        raise OutOfOrder("no reservation was checked")
    return attempt, attempt.check


def find_write(reservation: Reservation, attempt_id: str, n: int) -> Write | None:
    """Return write `n` of an attempt."""
    return next((write for write in reservation.writes if (write.attempt_id, write.n) == (attempt_id, n)), None)


@dataclass(frozen=True, slots=True)
class Authorization:
    """The answer of AuthorizeReset: a refusal, or the transcript the keys are derived from."""

    reservation: Reservation
    refusal: Refusal | None
    transcript: Transcript | None = None
    repeated: bool = False


def authorize(
    attempt: Attempt, reservation: Reservation, n: int, card_answer: bytes, evidence: Evidence, now: datetime.datetime
) -> Authorization:
    """Authorise write `n`, or say why not. `attempt` has a granted check of this reservation."""
    earlier = find_write(reservation, attempt.id, n)
    if earlier is not None:
        return _repeated(reservation, earlier, card_answer)
    mine = [write for write in reservation.writes if write.attempt_id == attempt.id]
    if not 1 <= n <= MAX_WRITES:
        raise BadContent("a write number is 1 to 3")
    if n != len(mine) + 1 or any(write.status is WriteStatus.NOT_GENUINE for write in mine):
        raise OutOfOrder("write numbers come in order, without gaps")
    refusal = _refusal_of_write(attempt, reservation, mine, now) or evidence.refusal
    if refusal is not None:
        return Authorization(reservation, refusal)
    status = WriteStatus.OPEN if evidence.genuine else WriteStatus.NOT_GENUINE
    write = Write(attempt.id, n, status, now, evidence.transcript, card_answer)
    reservation = replace(reservation, writes=(*reservation.writes, write))
    if not evidence.genuine:
        return Authorization(reservation, Refusal.CARD_NOT_GENUINE)
    return Authorization(reservation, None, evidence.transcript)


def _repeated(reservation: Reservation, earlier: Write, card_answer: bytes) -> Authorization:
    if earlier.status is WriteStatus.VOID:
        raise OutOfOrder("the write was reported not done before it was asked for")
    if earlier.card_answer != card_answer:
        raise ContentChanged("the write was asked for with another answer of the card")
    if earlier.status is WriteStatus.NOT_GENUINE:
        return Authorization(reservation, Refusal.CARD_NOT_GENUINE, repeated=True)
    return Authorization(reservation, None, earlier.transcript, repeated=True)


def _refusal_of_write(
    attempt: Attempt, reservation: Reservation, mine: list[Write], now: datetime.datetime
) -> Refusal | None:
    if (refusal := usable(reservation, attempt.begun_at, now)) is not None:
        return refusal
    if reservation.current_attempt != attempt.id:
        return Refusal.SUPERSEDED
    authorized = [write.at for write in mine if write.status is not WriteStatus.VOID]
    good_until = max([attempt.begun_at + JUDGEMENT, *(at + FURTHER_WRITE for at in authorized)])
    return Refusal.ATTEMPT_EXPIRED if now >= good_until else None


def release(
    attempt: Attempt | None, attempt_id: str, kiosk: KioskId, reservation: Reservation | None, now: datetime.datetime
) -> tuple[Attempt, Reservation | None]:
    """End an attempt, for good: each write not yet reported counts as not done; an id never seen leaves a tombstone."""
    if attempt is None:
        return Attempt(attempt_id, kiosk, now, None, released_at=now), None
    attempt = owned(attempt, kiosk)
    if attempt.released_at is not None:
        return attempt, None
    state: State | None = None
    if reservation is not None:
        writes = tuple(
            replace(write, status=WriteStatus.NOT_DONE)
            if write.attempt_id == attempt.id and write.status is WriteStatus.OPEN
            else write
            for write in reservation.writes
        )
        reservation = replace(reservation, writes=writes)
        state = state_of(reservation, now)
    return replace(attempt, released_at=now, released_state=state), reservation
