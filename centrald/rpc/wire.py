"""Messages to the service's values and back; every malformed field is refused here."""

from __future__ import annotations

import datetime
import uuid
from enum import Enum

from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.central.v1 import common_pb2, kiosk_service_pb2, reservation_service_pb2

from centrald.certificates import MAX_CERTIFICATE_BYTES
from centrald.errors import BadContent
from centrald.rules.model import FaceMatch, Outcome, Procedure, Refusal, State, Verdict

_UUID_LENGTH = 36
_WIRE_STATE = {State.REPLACED: State.RESERVED}  # to a kiosk, replaced with nothing open means: not done

_OUTCOMES = {kiosk_service_pb2.WriteOutcome.Value(f"WRITE_OUTCOME_{one.name}"): one for one in Outcome}
_FACE_MATCHES = {reservation_service_pb2.FaceMatch.Value(f"FACE_MATCH_{one.name}"): one for one in FaceMatch}


def attempt_id(text: str) -> str:
    """Return a UUID of 36 characters."""
    try:
        if len(text) == _UUID_LENGTH and str(uuid.UUID(text)) == text.lower():
            return text
    except ValueError:
        pass
    raise BadContent("attempt_id must be a UUID of 36 characters")


def procedure(value: common_pb2.Procedure.ValueType) -> Procedure:
    """Return a known procedure."""
    try:
        return Procedure(value)
    except ValueError:
        raise BadContent("procedure must be one of the known ones") from None


def exactly(name: str, value: bytes, length: int) -> bytes:
    """Return bytes of just this length."""
    if len(value) != length:
        raise BadContent(f"{name} must have {length} bytes")
    return value


def certificate(value: bytes) -> bytes:
    """Return a certificate of acceptable size."""
    if not 0 < len(value) <= MAX_CERTIFICATE_BYTES:
        raise BadContent(f"user_certificate must have 1 to {MAX_CERTIFICATE_BYTES} bytes")
    return value


def status_word(value: int) -> int:
    """Return a status word of two bytes."""
    if value > 0xFFFF:
        raise BadContent("status_word must be 0 to 65535")
    return value


def outcome(value: kiosk_service_pb2.WriteOutcome.ValueType) -> Outcome:
    """Return a known outcome."""
    if value not in _OUTCOMES:
        raise BadContent("outcome must be one of the known ones")
    return _OUTCOMES[value]


def face_match(value: reservation_service_pb2.FaceMatch.ValueType) -> FaceMatch:
    """Return a known face match."""
    if value not in _FACE_MATCHES:
        raise BadContent("face_match must be one of the known ones")
    return _FACE_MATCHES[value]


def refusal(value: Refusal | None) -> common_pb2.Refusal.ValueType:
    """Return the refusal's number."""
    return common_pb2.Refusal.Value(_name("REFUSAL", value))


def state(value: State | None) -> common_pb2.ReservationState.ValueType:
    """Return the state's number."""
    return common_pb2.ReservationState.Value(_name("RESERVATION_STATE", value and _WIRE_STATE.get(value, value)))


def verdict(value: Verdict) -> kiosk_service_pb2.Verdict.ValueType:
    """Return the verdict's number."""
    return kiosk_service_pb2.Verdict.Value(_name("VERDICT", None if value is Verdict.NONE else value))


def moment(value: datetime.datetime | None) -> Timestamp | None:
    """Return a timestamp."""
    if value is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(value)
    return stamp


def _name(prefix: str, value: Enum | None) -> str:
    return f"{prefix}_{value.name if value else 'UNSPECIFIED'}"
