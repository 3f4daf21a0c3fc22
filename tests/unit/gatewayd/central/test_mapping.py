from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from jpkireset.central.v1 import common_pb2
from jpkireset.central.v1 import kiosk_service_pb2 as pb

from gatewayd.central import mapping
from gatewayd.central.port import (
    Acknowledged,
    Receipt,
    Refusal,
    Refused,
    Report,
    Reservation,
    ReservationState,
    ServiceStatus,
    Verdict,
    WriteOutcome,
)

NOW = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.UTC)
HEADER = bytes.fromhex("8482130010")
PHONE_ONLY = {"REFUSAL_UNSPECIFIED", "REFUSAL_ATTEMPT_RUNNING", "REFUSAL_CHALLENGE_EXPIRED"}


def stamp(at: datetime.datetime = NOW) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp


def reservation_reply(**changes: object) -> pb.CheckReservationResponse:
    fields: dict[str, object] = {
        "expires_at": stamp(),
        "in_doubt": True,
        "key_version": 0x31,
        "host_challenges": [bytes([n]) * 8 for n in (1, 2, 3)],
    }
    return pb.CheckReservationResponse(**(fields | changes))  # type: ignore[arg-type]


def authorization_reply(**changes: object) -> pb.AuthorizeResetResponse:
    fields: dict[str, object] = {
        "external_authenticate": HEADER + bytes(16),
        "s_enc": b"e" * 16,
        "s_mac": b"m" * 16,
    }
    return pb.AuthorizeResetResponse(**(fields | changes))  # type: ignore[arg-type]


def test_what_a_good_centre_says() -> None:
    status = mapping.service_status(
        pb.GetServiceStatusResponse(refusal=common_pb2.REFUSAL_OUT_OF_HOURS, now=stamp(), opens_at=stamp())
    )
    assert status == ServiceStatus(Refusal.OUT_OF_HOURS, NOW, NOW, None)
    assert mapping.challenge(pb.BeginAttemptResponse(challenge=bytes(32), now=stamp())) == (bytes(32), NOW)
    assert mapping.reservation(reservation_reply()) == Reservation(
        NOW, True, 0x31, (b"\x01" * 8, b"\x02" * 8, b"\x03" * 8)
    )
    authorization = mapping.authorization(authorization_reply())
    assert not isinstance(authorization, Refused)
    assert authorization.external_authenticate == HEADER + bytes(16)
    assert (authorization.s_enc.reveal(), authorization.s_mac.reveal()) == (b"e" * 16, b"m" * 16)
    reply = pb.ReportOutcomeResponse(verdict=pb.VERDICT_VALID, reservation_state=common_pb2.RESERVATION_STATE_USED)
    assert of_done(reply) == Acknowledged(Verdict.VALID, ReservationState.USED)
    reply = pb.ReportOutcomeResponse(reservation_state=common_pb2.RESERVATION_STATE_IN_DOUBT)
    assert of_unknown(reply) == Acknowledged(Verdict.NONE, ReservationState.IN_DOUBT)


@pytest.mark.parametrize("name", sorted(set(common_pb2.Refusal.keys()) - PHONE_ONLY))
def test_every_refusal_has_its_value(name: str) -> None:
    number = common_pb2.Refusal.Value(name)
    answer = mapping.reservation(pb.CheckReservationResponse(refusal=number))
    assert isinstance(answer, Refused)
    assert answer.why.name == name.removeprefix("REFUSAL_")


@pytest.mark.parametrize("name", common_pb2.ReservationState.keys())
def test_every_state_has_its_value(name: str) -> None:
    state = mapping.reservation_state(common_pb2.ReservationState.Value(name))
    assert state.name == name.removeprefix("RESERVATION_STATE_").replace("UNSPECIFIED", "NONE")


def of_done(reply: pb.ReportOutcomeResponse) -> Acknowledged:
    return mapping.acknowledged(reply, WriteOutcome.DONE)


def of_unknown(reply: pb.ReportOutcomeResponse) -> Acknowledged:
    return mapping.acknowledged(reply, WriteOutcome.UNKNOWN)


LIES: list[tuple[Callable[..., object], Message]] = [
    (mapping.service_status, pb.GetServiceStatusResponse()),
    (mapping.service_status, pb.GetServiceStatusResponse(now=Timestamp(seconds=2**60))),
    (mapping.service_status, pb.GetServiceStatusResponse(now=Timestamp(seconds=1, nanos=-1))),
    (mapping.service_status, pb.GetServiceStatusResponse(refusal=10, now=stamp())),  # type: ignore[arg-type]
    (mapping.service_status, pb.GetServiceStatusResponse(now=stamp(), closes_at=Timestamp())),
    (mapping.challenge, pb.BeginAttemptResponse(challenge=bytes(31), now=stamp())),
    (mapping.challenge, pb.BeginAttemptResponse(challenge=bytes(32))),
    (mapping.challenge, pb.BeginAttemptResponse(refusal=12)),  # type: ignore[arg-type]
    (mapping.reservation, pb.CheckReservationResponse(refusal=99)),  # type: ignore[arg-type]
    (mapping.reservation, pb.CheckReservationResponse(refusal=14)),  # type: ignore[arg-type]
    (mapping.reservation, reservation_reply(expires_at=None)),
    (mapping.reservation, reservation_reply(key_version=0)),
    (mapping.reservation, reservation_reply(key_version=128)),
    (mapping.reservation, reservation_reply(host_challenges=[bytes(8)] * 2)),
    (mapping.reservation, reservation_reply(host_challenges=[bytes(8)] * 4)),
    (mapping.reservation, reservation_reply(host_challenges=[bytes(8), bytes(7), bytes(8)])),
    (mapping.authorization, authorization_reply(external_authenticate=HEADER + bytes(15))),
    (mapping.authorization, authorization_reply(external_authenticate=b"\x00\x20\x00\x80\x10" + bytes(16))),
    (mapping.authorization, authorization_reply(external_authenticate=b"\x84\x82\x33\x00\x10" + bytes(16))),
    (mapping.authorization, authorization_reply(s_enc=bytes(15))),
    (mapping.authorization, authorization_reply(s_mac=bytes(17))),
    (of_done, pb.ReportOutcomeResponse(verdict=3)),  # type: ignore[arg-type]
    (of_done, pb.ReportOutcomeResponse(verdict=pb.VERDICT_VALID, reservation_state=6)),  # type: ignore[arg-type]
    (of_done, pb.ReportOutcomeResponse(reservation_state=common_pb2.RESERVATION_STATE_USED)),
    (of_unknown, pb.ReportOutcomeResponse(verdict=pb.VERDICT_VALID)),
]


@pytest.mark.parametrize(("read", "reply"), LIES)
def test_a_lie_is_no_answer(read: Callable[..., object], reply: Message) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read(reply)
    assert caught.value.__cause__ is None


READERS: list[tuple[Callable[..., object], type[Message]]] = [
    (mapping.service_status, pb.GetServiceStatusResponse),
    (mapping.challenge, pb.BeginAttemptResponse),
    (mapping.reservation, pb.CheckReservationResponse),
    (mapping.authorization, pb.AuthorizeResetResponse),
    (of_done, pb.ReportOutcomeResponse),
    (of_unknown, pb.ReportOutcomeResponse),
]


@given(st.binary(max_size=200), st.sampled_from(READERS))
def test_garbage_is_a_value_or_a_value_error(wire: bytes, reader: tuple[Callable[..., object], type[Message]]) -> None:
    read, kind = reader
    try:
        reply = kind.FromString(wire)
    except DecodeError:
        return
    try:
        read(reply)
    except ValueError:
        return


@given(
    refusal=st.integers(-1, 20),
    external_authenticate=st.binary(min_size=15, max_size=17).map(HEADER.__add__),
    s_enc=st.binary(min_size=15, max_size=17),
    s_mac=st.binary(min_size=15, max_size=17),
)
def test_an_authorization_is_whole_or_refused(
    refusal: int, external_authenticate: bytes, s_enc: bytes, s_mac: bytes
) -> None:
    reply = authorization_reply(refusal=refusal, external_authenticate=external_authenticate, s_enc=s_enc, s_mac=s_mac)
    try:
        answer = mapping.authorization(reply)
    except ValueError:
        return
    if isinstance(answer, Refused):
        assert refusal != 0
        return
    assert refusal == 0
    assert (len(answer.external_authenticate), len(s_enc), len(s_mac)) == (21, 16, 16)


def test_reports_say_what_belongs_to_their_outcome() -> None:
    done = mapping.report_request(Report("id", 1, WriteOutcome.DONE, Receipt(b"c" * 16, b"r" * 8), status_word=0x9000))
    assert (done.attempt_id, done.write_number, done.outcome) == ("id", 1, pb.WRITE_OUTCOME_DONE)
    assert (done.receipt.chaining_value, done.receipt.r_mac, done.status_word) == (b"c" * 16, b"r" * 8, 0)
    not_done = mapping.report_request(Report("id", 2, WriteOutcome.NOT_DONE, status_word=0x6985))
    assert (not_done.outcome, not_done.status_word) == (pb.WRITE_OUTCOME_NOT_DONE, 0x6985)
    assert not not_done.HasField("receipt")
    unknown = mapping.report_request(Report("id", 3, WriteOutcome.UNKNOWN))
    assert (unknown.outcome, unknown.status_word) == (pb.WRITE_OUTCOME_UNKNOWN, 0)
