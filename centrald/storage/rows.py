"""Rows to the rules' values and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import RowMapping

from centrald.rules.model import (
    Attempt,
    CardEntry,
    CertificateId,
    Check,
    KioskId,
    Procedure,
    Report,
    Reservation,
    Transcript,
    Write,
)
from centrald.storage.ledger import Entry, Event

Values = dict[str, Any]
Row = Mapping[str, Any] | RowMapping
_CHALLENGE = 8  # bytes of one host challenge in the joined column


def part(row: Row, table: str) -> Values:
    """Return the columns of one table that was read beside others."""
    prefix = f"{table}__"
    return {name[len(prefix) :]: value for name, value in row.items() if name.startswith(prefix)}


def card_values(card: CardEntry) -> Values:
    """Return a card's row."""
    return {
        **certificate_values(card.certificate),
        "signing_certificate_serial": card.signing_certificate_serial,
        "signing_not_before": card.signing_not_before,
        "signing_not_after": card.signing_not_after,
        "diversification_data": card.diversification_data,
        "key_versions": {procedure.name.lower(): version for procedure, version in card.key_versions.items()},
        "user_revoked": card.user_revoked,
        "signing_revoked": card.signing_revoked,
        "signing_authority_key_id": card.signing_authority_key_id,
    }


def card_of(row: Row) -> CardEntry:
    """Return the card of a row."""
    return CardEntry(
        certificate=_certificate_of(row),
        signing_certificate_serial=row["signing_certificate_serial"],
        signing_not_before=row["signing_not_before"],
        signing_not_after=row["signing_not_after"],
        diversification_data=row["diversification_data"],
        key_versions={Procedure[name.upper()]: version for name, version in row["key_versions"].items()},
        user_revoked=row["user_revoked"],
        signing_revoked=row["signing_revoked"],
        signing_authority_key_id=row["signing_authority_key_id"],
    )


def card_beside(row: Row) -> CardEntry | None:
    """Return the card that was read beside others, if there is one."""
    return card_of(part(row, "card")) if row["card__serial"] is not None else None


def certificate_values(certificate: CertificateId) -> Values:
    """Return the columns that name a certificate."""
    return {"authority_key_id": certificate.authority_key_id, "serial": certificate.serial}


def _certificate_of(row: Row) -> CertificateId:
    return CertificateId(row["authority_key_id"], row["serial"])


def reservation_values(reservation: Reservation) -> Values:
    """Return a reservation's row without its key."""
    return {
        "id": reservation.id,
        **certificate_values(reservation.certificate),
        "procedure": int(reservation.procedure),
        "created_at": reservation.created_at,
        "expires_at": reservation.expires_at,
        "face_match": reservation.face_match,
        "challenge": reservation.challenge,
        "content": reservation.content,
        "closed": reservation.closed,
        "current_attempt": reservation.current_attempt,
    }


def reservation_of(row: Row, writes: Iterable[Row]) -> Reservation:
    """Return the reservation of a row; `writes` has a row for each report of each write, in order."""
    made: dict[tuple[str, int], Write] = {}
    for one in writes:
        if one["attempt_id"] is None:  # the reservation's own row, without any
            continue
        key = (one["attempt_id"], one["n"])
        write = made.get(key) or _write_of(one)
        if one["report__outcome"] is not None:
            write = replace(write, reports=(*write.reports, _report_of(one)))
        made[key] = write
    return Reservation(
        id=row["id"],
        certificate=_certificate_of(row),
        procedure=Procedure(row["procedure"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        face_match=row["face_match"],
        challenge=row["challenge"],
        content=row["content"],
        closed=row["closed"],
        current_attempt=row["current_attempt"],
        writes=tuple(made.values()),
    )


def write_values(write: Write, reservation_id: str) -> Values:
    """Return a write's row without its key."""
    return {
        "attempt_id": write.attempt_id,
        "n": write.n,
        "reservation_id": reservation_id,
        "status": write.status,
        "at": write.at,
        **_transcript_values(write.transcript),
        "card_answer": write.card_answer,
    }


def _write_of(row: Row) -> Write:
    return Write(
        attempt_id=row["attempt_id"],
        n=row["n"],
        status=row["status"],
        at=row["at"],
        transcript=_transcript_of(row),
        card_answer=row["card_answer"],
    )


def report_values(write: Write, report: Report, order: int) -> Values:
    """Return a report's row; `order` counts the reports of one write."""
    return {
        "attempt_id": write.attempt_id,
        "n": write.n,
        "outcome": report.outcome,
        "status_word": report.status_word,
        "verdict": report.verdict,
        "state": report.state,
        "contradiction": report.contradiction,
        "order": order,
    }


def _report_of(row: Row) -> Report:
    return Report(
        outcome=row["report__outcome"],
        status_word=row["report__status_word"],
        verdict=row["report__verdict"],
        state=row["report__state"],
        contradiction=row["report__contradiction"],
    )


def _transcript_values(transcript: Transcript | None) -> Values:
    if transcript is None:
        return {}
    return {
        "key_version": transcript.key_version,
        "diversification_data": transcript.diversification_data,
        "host_challenge": transcript.host_challenge,
        "card_challenge": transcript.card_challenge,
    }


def _transcript_of(row: Row) -> Transcript | None:
    if row["key_version"] is None:
        return None
    return Transcript(row["key_version"], row["diversification_data"], row["host_challenge"], row["card_challenge"])


def attempt_values(attempt: Attempt) -> Values:
    """Return an attempt's row."""
    values: Values = {
        "id": attempt.id,
        "chain": attempt.kiosk.chain,
        "store": attempt.kiosk.store,
        "kiosk": attempt.kiosk.kiosk,
        "begun_at": attempt.begun_at,
        "procedure": attempt.procedure,
        "challenge": attempt.challenge,
        "released_at": attempt.released_at,
        "released_state": attempt.released_state,
    }
    check = attempt.check
    if check is not None:
        values |= {
            "check_content": check.content,
            "check_refusal": check.refusal,
            **(certificate_values(check.certificate) if check.certificate else {}),
            "reservation_id": check.reservation_id,
            "expires_at": check.expires_at,
            "in_doubt": check.in_doubt,
            "key_version": check.key_version,
            "host_challenges": b"".join(check.host_challenges),
        }
    return values


def attempt_of(row: Row) -> Attempt:
    """Return the attempt of a row."""
    return Attempt(
        id=row["id"],
        kiosk=KioskId(row["chain"], row["store"], row["kiosk"]),
        begun_at=row["begun_at"],
        procedure=None if row["procedure"] is None else Procedure(row["procedure"]),
        challenge=row["challenge"],
        check=_check_of(row),
        released_at=row["released_at"],
        released_state=row["released_state"],
    )


def attempt_beside(row: Row) -> Attempt | None:
    """Return the attempt that was read beside others, if there is one."""
    return attempt_of(part(row, "attempt")) if row["attempt__id"] is not None else None


def _check_of(row: Row) -> Check | None:
    if row["check_content"] is None:
        return None
    joined = row["host_challenges"]
    return Check(
        content=row["check_content"],
        refusal=row["check_refusal"],
        certificate=None if row["serial"] is None else _certificate_of(row),
        reservation_id=row["reservation_id"],
        expires_at=row["expires_at"],
        in_doubt=row["in_doubt"],
        key_version=row["key_version"],
        host_challenges=tuple(joined[at : at + _CHALLENGE] for at in range(0, len(joined), _CHALLENGE)),
    )


_PLAIN = (
    "at", "kiosk", "attempt_id", "n", "reservation_id", "state_before", "state_after",
    "refusal", "outcome", "status_word", "verdict", "face_match", "contradiction", "detail",
)  # fmt: skip


def ledger_values(entry: Entry) -> Values:
    """Return a ledger entry's row without its key and hashes."""
    plain = {name: getattr(entry, name) for name in _PLAIN}
    return plain | {"event": entry.event.value} | _transcript_values(entry.transcript)


def entry_of(row: Row) -> Entry:
    """Return the ledger entry of a row."""
    plain = {name: row[name] for name in (*_PLAIN, "lane", "seq", "previous", "hash")}
    return Entry(event=Event(row["event"]), transcript=_transcript_of(row), **plain)
