"""The client against a scripted centre behind real mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.central.v1 import common_pb2
from jpkireset.central.v1 import kiosk_service_pb2 as pb
from jpkireset.central.v1 import kiosk_service_pb2_grpc as pb_grpc

from gatewayd.central.circuit import CircuitState
from gatewayd.central.client import CentralClient
from gatewayd.central.port import Begun, Receipt, Report, ReservationState, Verdict, WriteOutcome
from gatewayd.central.settings import CentralSettings
from gatewayd.central.statement import reset_statement
from gatewayd.errors import CentralRejected, CentralUnavailable
from tests.fakes.clock import FakeClock
from tests.fakes.pki import Pki, make_pki

ATTEMPT = "0a6fd1b2-3d1c-4b0e-9a53-1f3c7c9f3b11"
HANG = "hang"
Step = Message | grpc.StatusCode | str

METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["KioskService"].methods]


class QuickClock(FakeClock):
    """Sleeps take no real time, only the clock's; the wall clock can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.advance(seconds)

    def jump(self, seconds: float) -> None:
        self._start += datetime.timedelta(seconds=seconds)


@dataclass
class Centre:
    """Answers each call with the next step of the script; the last one stays."""

    address: str = ""
    script: list[Step] = field(default_factory=list)
    heard: list[Message] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)

    async def answer(self, request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        self.heard.append(request)
        self.timeouts.append(context.time_remaining() or 0.0)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, grpc.StatusCode):
            await context.abort(step, "scripted")
        if isinstance(step, str):
            await asyncio.sleep(30)
        assert isinstance(step, Message)
        return step


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def centre(pki: Pki) -> AsyncIterator[Centre]:
    scripted = Centre()
    server = grpc.aio.server()
    answers = dict.fromkeys(METHODS, staticmethod(scripted.answer))
    servicer: pb_grpc.KioskServiceServicer = type("Scripted", (pb_grpc.KioskServiceServicer,), answers)()
    pb_grpc.add_KioskServiceServicer_to_server(servicer, server)
    credentials = grpc.ssl_server_credentials(
        [(pki.server_key.read_bytes(), pki.server.read_bytes())],
        root_certificates=pki.authority.read_bytes(),
        require_client_auth=True,
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    scripted.address = f"127.0.0.1:{port}"
    await server.start()
    yield scripted
    await server.stop(None)


@pytest.fixture
def clock() -> QuickClock:
    return QuickClock()


@pytest.fixture
def observed() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def client(
    centre: Centre, pki: Pki, clock: QuickClock, observed: list[tuple[str, str]]
) -> AsyncIterator[CentralClient]:
    settings = CentralSettings(centre.address, pki.kiosk, pki.kiosk_key, pki.authority)
    made = CentralClient(settings, clock, lambda method, code, _: observed.append((method, code)))
    yield made
    await made.close()


def now(clock: QuickClock, ahead_s: int = 0) -> Timestamp:
    return Timestamp(seconds=int(clock.now().timestamp()) + ahead_s)


def open_now(clock: QuickClock) -> pb.GetServiceStatusResponse:
    return pb.GetServiceStatusResponse(now=now(clock), closes_at=now(clock))


async def test_begin_gives_the_statement_and_the_time(centre: Centre, client: CentralClient, clock: QuickClock) -> None:
    assert client.clock_skew_s is None
    centre.script = [pb.BeginAttemptResponse(challenge=bytes(32), now=now(clock, 90))]
    assert await client.begin_attempt(ATTEMPT) == Begun(reset_statement(1, ATTEMPT, "seven/0001/1", bytes(32)))
    (request,) = centre.heard
    assert request == pb.BeginAttemptRequest(attempt_id=ATTEMPT, procedure=common_pb2.PROCEDURE_SIGNING_PASSWORD)
    assert client.clock_skew_s == 90.0
    await clock.advance(3600)
    assert client.clock_skew_s == 90.0
    clock.jump(-30)
    assert client.clock_skew_s == 120.0
    assert set(client.certificate_expiry) == {"client", "authority"}


async def test_a_passing_failure_is_tried_again_within_the_step(
    centre: Centre, client: CentralClient, clock: QuickClock, observed: list[tuple[str, str]]
) -> None:
    centre.script = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, open_now(clock)]
    status = await client.service_status()
    assert status.refusal is None
    assert observed == [("GetServiceStatus", code) for code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "OK")]
    assert len(clock.slept) == 2
    assert all(seconds >= 0.05 for seconds in clock.slept)
    assert all(0 < seconds < 3.1 for seconds in centre.timeouts)


async def test_the_step_ends_with_its_budget(centre: Centre, client: CentralClient, clock: QuickClock) -> None:
    centre.script = [grpc.StatusCode.UNAVAILABLE]
    with pytest.raises(CentralUnavailable) as caught:
        await client.check_reservation(ATTEMPT, b"certificate", b"signature")
    assert caught.value.detail == "unavailable"
    assert caught.value.__cause__ is None
    assert len(centre.heard) > 3
    assert all(request == centre.heard[0] for request in centre.heard)
    assert 6 < sum(clock.slept) < 10


async def test_authorize_has_five_seconds(centre: Centre, client: CentralClient, clock: QuickClock) -> None:
    centre.script = [grpc.StatusCode.UNAVAILABLE]
    with pytest.raises(CentralUnavailable):
        await client.authorize_reset(ATTEMPT, 1, bytes(29))
    assert 2 < sum(clock.slept) < 5


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "denied"),
        (grpc.StatusCode.PERMISSION_DENIED, "denied"),
        (grpc.StatusCode.INTERNAL, "internal"),
        (grpc.StatusCode.UNIMPLEMENTED, "internal"),
    ],
)
async def test_a_lasting_failure_is_said_at_once(
    centre: Centre, client: CentralClient, clock: QuickClock, code: grpc.StatusCode, detail: str
) -> None:
    centre.script = [code]
    with pytest.raises(CentralUnavailable) as caught:
        await client.begin_attempt(ATTEMPT)
    assert caught.value.detail == detail
    assert len(centre.heard) == 1
    assert not clock.slept


@pytest.mark.parametrize("code", [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT])
async def test_a_call_that_is_refused_as_such_is_not_made_again(
    centre: Centre, client: CentralClient, clock: QuickClock, code: grpc.StatusCode
) -> None:
    centre.script = [code]
    with pytest.raises(CentralRejected) as caught:
        await client.begin_attempt(ATTEMPT)
    assert caught.value.code == code.name.lower()
    with pytest.raises(CentralUnavailable):
        await client.service_status()
    assert len(centre.heard) == 2
    assert not clock.slept


async def test_a_lie_is_not_asked_for_again(centre: Centre, client: CentralClient) -> None:
    centre.script = [pb.AuthorizeResetResponse(s_enc=bytes(16), s_mac=bytes(16))]
    with pytest.raises(CentralUnavailable) as caught:
        await client.authorize_reset(ATTEMPT, 1, bytes(29))
    assert caught.value.detail == "malformed"
    assert len(centre.heard) == 1


async def test_reports_and_releases_are_delivered_once(centre: Centre, client: CentralClient) -> None:
    centre.script = [
        pb.ReportOutcomeResponse(verdict=pb.VERDICT_VALID, reservation_state=common_pb2.RESERVATION_STATE_USED),
        pb.ReleaseAttemptResponse(reservation_state=common_pb2.RESERVATION_STATE_RESERVED),
        grpc.StatusCode.UNAVAILABLE,
    ]
    report = Report(ATTEMPT, 1, WriteOutcome.DONE, Receipt(bytes(16), bytes(8)))
    acknowledged = await client.report_outcome(report)
    assert (acknowledged.verdict, acknowledged.reservation) == (Verdict.VALID, ReservationState.USED)
    assert await client.release_attempt(ATTEMPT) is ReservationState.RESERVED
    calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: client.report_outcome(report),
        lambda: client.release_attempt(ATTEMPT),
        lambda: client.get_attempt(ATTEMPT),
    ]
    for call in calls:
        before = len(centre.heard)
        with pytest.raises(CentralUnavailable):
            await call()
        assert len(centre.heard) == before + 1


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION])
async def test_what_the_centre_will_never_take_is_told_apart(
    centre: Centre, client: CentralClient, code: grpc.StatusCode
) -> None:
    centre.script = [code]
    with pytest.raises(CentralRejected) as caught:
        await client.report_outcome(Report(ATTEMPT, 1, WriteOutcome.UNKNOWN))
    assert caught.value.code == code.name.lower()
    with pytest.raises(CentralRejected):
        await client.release_attempt(ATTEMPT)


async def test_what_became_of_an_attempt(centre: Centre, client: CentralClient) -> None:
    centre.script = [
        pb.GetAttemptResponse(reservation_state=common_pb2.RESERVATION_STATE_IN_DOUBT),
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
    ]
    assert await client.get_attempt(ATTEMPT) is ReservationState.IN_DOUBT
    assert await client.get_attempt(ATTEMPT) is ReservationState.NONE
    with pytest.raises(CentralUnavailable):
        await client.get_attempt(ATTEMPT)


async def test_a_silent_centre_is_not_waited_for(
    centre: Centre, client: CentralClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatewayd.central.wire.CALL_TIMEOUT_S", 0.1)
    centre.script = [HANG]
    with pytest.raises(CentralUnavailable) as caught:
        await client.report_outcome(Report(ATTEMPT, 1, WriteOutcome.UNKNOWN))
    assert caught.value.detail == "deadline"


async def test_a_cancelled_caller_is_cancelled(
    centre: Centre, client: CentralClient, observed: list[tuple[str, str]]
) -> None:
    centre.script = [HANG]
    call = asyncio.create_task(client.service_status())
    async with asyncio.timeout(5):
        while not centre.heard:
            await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert observed == [("GetServiceStatus", "CANCELLED")]
    assert len(centre.heard) == 1


async def test_a_closed_channel_is_an_absent_centre(client: CentralClient) -> None:
    await client.close()
    with pytest.raises(CentralUnavailable):
        await client.service_status()


async def test_a_centre_of_another_authority_hears_nothing(
    centre: Centre, pki: Pki, clock: QuickClock, tmp_path: Path
) -> None:
    other = make_pki(tmp_path)
    settings = CentralSettings(centre.address, pki.kiosk, pki.kiosk_key, other.authority)
    client = CentralClient(settings, clock)
    with pytest.raises(CentralUnavailable) as caught:
        await client.report_outcome(Report(ATTEMPT, 1, WriteOutcome.UNKNOWN))
    assert caught.value.detail == "tls"
    assert not centre.heard
    await client.close()


@pytest.mark.parametrize(("server_name", "heard"), [("localhost", 1), ("elsewhere", 0)])
async def test_the_expected_name_can_be_given(
    centre: Centre, pki: Pki, clock: QuickClock, server_name: str, heard: int
) -> None:
    centre.script = [pb.ReleaseAttemptResponse()]
    settings = CentralSettings(centre.address, pki.kiosk, pki.kiosk_key, pki.authority, server_name)
    client = CentralClient(settings, clock)
    with contextlib.suppress(CentralUnavailable):
        await client.release_attempt(ATTEMPT)
    assert len(centre.heard) == heard
    await client.close()


async def test_a_connection_that_is_made_or_was_never_there_is_told(centre: Centre, pki: Pki) -> None:
    clock, told = FakeClock(), 0

    def tell() -> None:
        nonlocal told
        told += 1

    client = CentralClient(CentralSettings(centre.address, pki.kiosk, pki.kiosk_key, pki.authority), clock)
    watching = asyncio.create_task(client.watch_connection(tell))
    await clock.advance(3)
    assert told == 1
    centre.script = [pb.ReleaseAttemptResponse()]
    await client.release_attempt(ATTEMPT)
    await clock.advance(3)
    assert told == 2
    watching.cancel()
    await client.close()


async def test_an_open_circuit_keeps_steps_back_and_no_reports(
    centre: Centre, client: CentralClient, clock: QuickClock
) -> None:
    centre.script = [grpc.StatusCode.UNAVAILABLE]
    while client.circuit is CircuitState.CLOSED:
        with pytest.raises(CentralUnavailable):
            await client.service_status()
    heard = len(centre.heard)
    with pytest.raises(CentralUnavailable) as caught:
        await client.begin_attempt(ATTEMPT)
    assert caught.value.detail == "unavailable"
    assert len(centre.heard) == heard
    centre.script = [pb.ReleaseAttemptResponse(), pb.BeginAttemptResponse(challenge=bytes(32), now=now(clock))]
    await client.release_attempt(ATTEMPT)
    await client.begin_attempt(ATTEMPT)  # an answer to a report closes the circuit
    assert len(centre.heard) > heard + 1
