"""The phone's command against a centre that follows a script, over real TLS, and what it prints."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.central.v1.common_pb2 import REFUSAL_ATTEMPT_RUNNING, REFUSAL_UNSPECIFIED, Refusal
from jpkireset.central.v1.reservation_service_pb2 import (
    FACE_MATCH_NOT_PERFORMED,
    CreateReservationRequest,
    CreateReservationResponse,
    GetChallengeRequest,
    GetChallengeResponse,
)
from jpkireset.central.v1.reservation_service_pb2_grpc import (
    ReservationServiceServicer,
    add_ReservationServiceServicer_to_server,
)

from jpki_phone import pcsc
from jpki_phone.problems import ExitCode, Problem, not_reserved
from jpki_phone.run import run
from tests.unit.clients.cards import CERTIFICATE, PIN, FakeSlot, make_card

RESERVATION = "5a5b5c5d-0000-4000-8000-000000000002"
EXPIRES_S = 1_795_413_840  # 2026-11-23 06:04 UTC


@dataclass
class Centre(ReservationServiceServicer):
    """What it says, and what it was told."""

    refusal: Refusal.ValueType = REFUSAL_UNSPECIFIED
    challenge_error: grpc.StatusCode | None = None
    reserve_error: grpc.StatusCode | None = None
    words: str = "planted"
    challenge: bytes = bytes(32)
    made: CreateReservationResponse = field(
        default_factory=lambda: CreateReservationResponse(
            reservation_id=RESERVATION, expires_at=Timestamp(seconds=EXPIRES_S)
        )
    )
    requests: list[CreateReservationRequest] = field(default_factory=list)

    def GetChallenge(self, request: GetChallengeRequest, context: Any) -> GetChallengeResponse:  # noqa: N802 - the contract's name
        if self.challenge_error:
            context.abort(self.challenge_error, self.words)
        return GetChallengeResponse(challenge=self.challenge)

    def CreateReservation(self, request: CreateReservationRequest, context: Any) -> CreateReservationResponse:  # noqa: N802
        self.requests.append(request)
        if self.reserve_error:
            context.abort(self.reserve_error, "planted")
        if self.refusal:
            return CreateReservationResponse(refusal=self.refusal)
        return self.made


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a self-signed server certificate for 127.0.0.1, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "centre")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


@dataclass
class Place:
    """Everything the command needs."""

    centre: Centre
    address: str
    authority: Path
    slot: FakeSlot

    def run(self) -> ExitCode:
        return run(None, self.address, self.authority, wait_s=0, as_json=True)


class _WaitedSlot(FakeSlot):
    name = "Phone 00 00"

    def wait_for_card(self, seconds: int, tell: Any) -> None:
        tell()


@pytest.fixture(scope="module")
def card_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


@pytest.fixture
def place(tmp_path: Path, card_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = certificate(key)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority = tmp_path / "server-ca.pem"
    authority.write_bytes(pem)
    slot = _WaitedSlot(make_card(card_key))
    monkeypatch.setattr(pcsc, "open_slot", lambda name: contextlib.nullcontext(slot))
    monkeypatch.setattr("jpki_phone.run.ask_user_pin", lambda tries: PIN)
    centre = Centre()
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        add_ReservationServiceServicer_to_server(centre, server)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(private, pem)]))
        server.start()
        try:
            yield Place(centre, f"127.0.0.1:{port}", authority, slot)
        finally:
            server.stop(grace=0).wait(10)


def test_a_reservation_is_printed_with_its_end(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(None, place.address, place.authority, wait_s=0, as_json=False) is ExitCode.RESERVED
    printed = capsys.readouterr()
    assert RESERVATION in printed.out
    assert "Monday 2026-11-23 15:04 (Asia/Tokyo), 2026年11月23日（月）15:04まで" in printed.out
    assert "face match: not performed" in printed.out.splitlines()
    assert "Place the card" in printed.err
    (request,) = place.centre.requests
    assert request.face_match == FACE_MATCH_NOT_PERFORMED
    assert (request.user_certificate, len(request.signature)) == (CERTIFICATE, 256)


def test_a_reservation_as_json(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run() is ExitCode.RESERVED
    assert json.loads(capsys.readouterr().out) == {
        "event": "reserved",
        "reservation_id": RESERVATION,
        "expires_at": "2026-11-23T06:04:00+00:00",
        "expires_at_local": "2026-11-23T15:04:00+09:00",
        "face_match": "not performed",
    }


def test_a_refusal_is_told_in_words(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.centre.refusal = REFUSAL_ATTEMPT_RUNNING
    assert place.run() is ExitCode.REFUSED
    printed = capsys.readouterr()
    assert json.loads(printed.out)["problem"] == "attempt_running"
    assert "is running at a kiosk" in printed.err


def test_without_a_challenge_no_pin_goes_to_the_card(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.centre.challenge_error = grpc.StatusCode.UNAVAILABLE
    assert place.run() is ExitCode.CENTRE_UNAVAILABLE
    assert place.slot.entries == 0
    assert json.loads(capsys.readouterr().out)["problem"] == "centre_unavailable"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, ExitCode.CENTRE_UNAVAILABLE),
        (grpc.StatusCode.UNAVAILABLE, ExitCode.UNKNOWN),
        (grpc.StatusCode.INTERNAL, ExitCode.UNKNOWN),
    ],
)
def test_a_lost_answer_is_unknown_and_a_definite_no_is_not(
    place: Place, error: grpc.StatusCode, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    place.centre.reserve_error = error
    assert place.run() is code
    assert place.slot.entries == 1
    assert json.loads(capsys.readouterr().out)["exit_code"] == code


@pytest.mark.parametrize("challenge", [b"", bytes(31), bytes(33)])
def test_no_pin_goes_to_the_card_for_a_challenge_that_is_none(
    place: Place, capsys: pytest.CaptureFixture[str], challenge: bytes
) -> None:
    place.centre.challenge = challenge
    assert place.run() is ExitCode.CENTRE_UNAVAILABLE
    assert json.loads(capsys.readouterr().out)["problem"] == "centre_unavailable"
    assert place.slot.entries == 0


@pytest.mark.parametrize(
    "answer",
    [
        CreateReservationResponse(),
        CreateReservationResponse(expires_at=Timestamp(seconds=EXPIRES_S)),
        CreateReservationResponse(reservation_id=RESERVATION),
        CreateReservationResponse(reservation_id=f"{RESERVATION}\n", expires_at=Timestamp(seconds=EXPIRES_S)),
        CreateReservationResponse(reservation_id=RESERVATION, expires_at=Timestamp(seconds=2**62)),
    ],
)
def test_an_answer_that_says_nothing_is_no_reservation(
    place: Place, capsys: pytest.CaptureFixture[str], answer: CreateReservationResponse
) -> None:
    place.centre.made = answer
    assert place.run() is ExitCode.UNKNOWN
    assert json.loads(capsys.readouterr().out)["problem"] == "answer_lost"


def test_what_a_centre_says_moves_no_cursor(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.centre.challenge_error, place.centre.words = grpc.StatusCode.INTERNAL, "\x1b[2J\x9b1A\r\nReserved.\u202e"
    assert place.run() is ExitCode.CENTRE_UNAVAILABLE
    shown = capsys.readouterr()
    detail = json.loads(shown.out)["detail"]
    assert detail == "INTERNAL: \ufffd[2J\ufffd1A\ufffd\ufffdReserved.\ufffd"
    assert detail in shown.err


def test_another_server_is_not_believed(place: Place) -> None:
    place.authority.write_bytes(certificate(ec.generate_private_key(ec.SECP256R1())))
    assert place.run() is ExitCode.CENTRE_UNAVAILABLE
    assert place.slot.entries == 0


def test_ctrl_c_has_the_shells_code(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(tries: int) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("jpki_phone.run.ask_user_pin", press)
    assert place.run() is ExitCode.LEFT


def test_tries_left_are_told_with_a_wrong_pin(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("jpki_phone.run.ask_user_pin", lambda tries: b"0000")
    assert place.run() is ExitCode.NOT_RESERVED
    printed = capsys.readouterr()
    assert json.loads(printed.out)["tries_left"] == 2
    assert "Two tries are left (あと2回)." in printed.err


def test_a_missing_reader_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str | None) -> contextlib.AbstractContextManager[FakeSlot]:
        raise not_reserved(Problem.READER_MISSING, detail="There is none at all.")

    monkeypatch.setattr(pcsc, "open_slot", missing)
    assert place.run() is ExitCode.READER_OR_CARD
    assert "There is none at all." in capsys.readouterr().err
