"""Where a reservation stands, follows from its writes; nothing here keeps a state beside them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace

from centrald.rules.model import (
    DOUBTFUL,
    NEVER_HANDED_OUT,
    SILENCE,
    VALIDITY,
    CertificateId,
    FaceMatch,
    Procedure,
    Refusal,
    Reservation,
    State,
    WriteStatus,
)


def state_of(reservation: Reservation, now: datetime.datetime) -> State:
    """Return where the reservation stands.

    AUTHORIZED holds while the attempt that authorised last has a write unreported, for 20 minutes; any other write that
    may have changed the card is doubt, and only a receipt or a definite answer about that very write clears it.
    """
    if any(write.status is WriteStatus.DONE for write in reservation.writes):
        return State.USED
    if reservation.closed is not None:
        return reservation.closed
    if not in_doubt(reservation):
        return State.RESERVED
    handed_out = [write for write in reservation.writes if write.status not in NEVER_HANDED_OUT]
    running = handed_out[-1].attempt_id
    for write in handed_out:
        if write.attempt_id == running and write.status is WriteStatus.OPEN and now < write.at + SILENCE:
            return State.AUTHORIZED
    return State.IN_DOUBT


def in_doubt(reservation: Reservation) -> bool:
    """Tell whether a write under this reservation may have changed the card."""
    return any(write.status in DOUBTFUL for write in reservation.writes)


def usable(reservation: Reservation | None, begun_at: datetime.datetime, now: datetime.datetime) -> Refusal | None:
    """Return why an attempt that began then may not use the certificate's newest reservation."""
    if reservation is None:
        return Refusal.RESERVATION_NOT_FOUND
    match state_of(reservation, now):
        case State.USED:
            return Refusal.RESERVATION_USED
        case State.CLOSED_UNKNOWN | State.REPLACED:
            return Refusal.RESERVATION_NOT_FOUND
        case State.RESERVED | State.AUTHORIZED | State.IN_DOUBT:
            return Refusal.RESERVATION_EXPIRED if begun_at >= reservation.expires_at else None


@dataclass(frozen=True, slots=True)
class Wish:
    """A phone's request for a reservation, proved: certificate, signature and registry have been judged."""

    certificate: CertificateId
    procedure: Procedure
    face_match: FaceMatch
    challenge: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Made:
    """A new reservation, and the one whose place it takes."""

    reservation: Reservation
    closed: Reservation | None


def make(newest: Reservation | None, wish: Wish, new_id: str, now: datetime.datetime) -> Made | Refusal:
    """Make a reservation in the place of the certificate's newest one; refused while an attempt runs on that."""
    closed = None
    if newest is not None:
        match state_of(newest, now):
            case State.AUTHORIZED:
                return Refusal.ATTEMPT_RUNNING
            case State.IN_DOUBT:
                closed = replace(newest, closed=State.CLOSED_UNKNOWN)
            case State.RESERVED:
                closed = replace(newest, closed=State.REPLACED)
            case State.USED | State.CLOSED_UNKNOWN | State.REPLACED:
                pass
    made = Reservation(
        id=new_id,
        certificate=wish.certificate,
        procedure=wish.procedure,
        created_at=now,
        expires_at=now + VALIDITY,
        face_match=wish.face_match,
        challenge=wish.challenge,
        content=wish.content,
    )
    return Made(made, closed)
