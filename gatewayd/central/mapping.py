"""From the centre's messages to the port's values and back. Pure.

Nothing the centre says is taken on trust: each function raises ValueError for an answer that is not one. The message
never shows the answer: it may hold session keys.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection

from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.central.v1 import common_pb2, kiosk_service_pb2

from gatewayd.central.port import (
    Acknowledged,
    Authorization,
    Refusal,
    Refused,
    Report,
    Reservation,
    ReservationState,
    ServiceStatus,
    Verdict,
    WriteOutcome,
)
from gatewayd.central.statement import CHALLENGE_LENGTH
from gatewayd.secret import Secret

KEY_VERSIONS = range(1, 128)  # GPC_SPE_034 11.1.8: 01-7F
HOST_CHALLENGES = 3  # write numbers 1, 2, 3
HOST_CHALLENGE_LENGTH = 8  # GPC_SPE_014 7.1.1, S8 mode
SESSION_KEY_LENGTH = 16  # AES-128
EXTERNAL_AUTHENTICATE_LENGTH = 21
# CLA INS P1 P2 Lc of EXTERNAL AUTHENTICATE with level 13: C-MAC, C-DECRYPTION and R-MAC (GPC_SPE_014 7.1.2). Checked,
# so that a centre gone astray cannot have the kiosk send any other command to a card.
EXTERNAL_AUTHENTICATE_HEADER = bytes.fromhex("8482130010")

# What is said about kiosk and hours, before there is a card.
_EARLY = frozenset({Refusal.OUT_OF_HOURS, Refusal.MAINTENANCE, Refusal.KIOSK_NOT_ENABLED})
_LATE = frozenset(Refusal)

_REFUSALS = {common_pb2.Refusal.Value(f"REFUSAL_{refusal.name}"): refusal for refusal in Refusal}
_STATES = {
    common_pb2.ReservationState.Value(f"RESERVATION_STATE_{state.name}"): state
    for state in ReservationState
    if state is not ReservationState.NONE
} | {common_pb2.RESERVATION_STATE_UNSPECIFIED: ReservationState.NONE}
_VERDICTS = {
    kiosk_service_pb2.VERDICT_UNSPECIFIED: Verdict.NONE,
    kiosk_service_pb2.VERDICT_VALID: Verdict.VALID,
    kiosk_service_pb2.VERDICT_INVALID: Verdict.INVALID,
}
_OUTCOMES = {
    WriteOutcome.DONE: kiosk_service_pb2.WRITE_OUTCOME_DONE,
    WriteOutcome.NOT_DONE: kiosk_service_pb2.WRITE_OUTCOME_NOT_DONE,
    WriteOutcome.UNKNOWN: kiosk_service_pb2.WRITE_OUTCOME_UNKNOWN,
}


def service_status(reply: kiosk_service_pb2.GetServiceStatusResponse) -> ServiceStatus:
    """Read whether the service is open for this kiosk."""
    return ServiceStatus(
        refusal=_refusal(reply.refusal, _EARLY),
        now=_time(reply.now),
        opens_at=_time(reply.opens_at) if reply.HasField("opens_at") else None,
        closes_at=_time(reply.closes_at) if reply.HasField("closes_at") else None,
    )


def challenge(reply: kiosk_service_pb2.BeginAttemptResponse) -> tuple[bytes, datetime.datetime] | Refused:
    """Read the challenge (32 bytes) and the centre's time."""
    if refusal := _refusal(reply.refusal, _EARLY):
        return Refused(refusal)
    return _exactly(reply.challenge, CHALLENGE_LENGTH), _time(reply.now)


def reservation(reply: kiosk_service_pb2.CheckReservationResponse) -> Reservation | Refused:
    """Read the reservation."""
    if refusal := _refusal(reply.refusal, _LATE):
        return Refused(refusal)
    if reply.key_version not in KEY_VERSIONS:
        raise ValueError("the key version is out of range")
    if len(reply.host_challenges) != HOST_CHALLENGES:
        raise ValueError("there is not one host challenge for each write")
    first, second, third = (_exactly(part, HOST_CHALLENGE_LENGTH) for part in reply.host_challenges)
    return Reservation(_time(reply.expires_at), reply.in_doubt, reply.key_version, (first, second, third))


def authorization(reply: kiosk_service_pb2.AuthorizeResetResponse) -> Authorization | Refused:
    """Read the authorisation of one write."""
    if refusal := _refusal(reply.refusal, _LATE):
        return Refused(refusal)
    command = _exactly(reply.external_authenticate, EXTERNAL_AUTHENTICATE_LENGTH)
    if not command.startswith(EXTERNAL_AUTHENTICATE_HEADER):
        raise ValueError("the command is no EXTERNAL AUTHENTICATE")
    keys = [Secret(_exactly(key, SESSION_KEY_LENGTH)) for key in (reply.s_enc, reply.s_mac)]
    return Authorization(command, *keys)


def report_request(report: Report) -> kiosk_service_pb2.ReportOutcomeRequest:
    """Write a report."""
    request = kiosk_service_pb2.ReportOutcomeRequest(
        attempt_id=report.attempt_id, write_number=report.n, outcome=_OUTCOMES[report.outcome]
    )
    if report.receipt is not None:
        request.receipt.chaining_value = report.receipt.chaining_value
        request.receipt.r_mac = report.receipt.r_mac
    if report.outcome is WriteOutcome.NOT_DONE:
        request.status_word = report.status_word
    return request


def acknowledged(reply: kiosk_service_pb2.ReportOutcomeResponse, outcome: WriteOutcome) -> Acknowledged:
    """Read what the centre made of a report: of a receipt a verdict, of any other report none.

    Without one a receipt would be erased here as delivered, and judged by nobody.
    """
    verdict = _VERDICTS.get(reply.verdict)
    if verdict is None or (verdict is Verdict.NONE) == (outcome is WriteOutcome.DONE):
        raise ValueError("the verdict is unknown, or none of this report")
    return Acknowledged(verdict, reservation_state(reply.reservation_state))


def reservation_state(state: common_pb2.ReservationState.ValueType) -> ReservationState:
    """Read where a reservation stands."""
    known = _STATES.get(state)
    if known is None:
        raise ValueError("the reservation's state is unknown")
    return known


def _refusal(value: common_pb2.Refusal.ValueType, expected: Collection[Refusal]) -> Refusal | None:
    if value == common_pb2.REFUSAL_UNSPECIFIED:
        return None
    refusal = _REFUSALS.get(value)
    if refusal not in expected:
        raise ValueError("the refusal is unknown, or none of this call")
    return refusal


def _exactly(value: bytes, length: int) -> bytes:
    if len(value) != length:
        raise ValueError(f"{len(value)} bytes instead of {length}")
    return value


def _time(value: Timestamp) -> datetime.datetime:
    """Read a time that must be said; the beginning of 1970 is the default of the field, and no answer."""
    if value.seconds <= 0:
        raise ValueError("a time is missing")
    try:
        return value.ToDatetime(tzinfo=datetime.UTC)
    except (ValueError, OverflowError):
        raise ValueError("a time is out of range") from None
