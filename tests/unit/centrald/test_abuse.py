"""Broken calls of every kind, over the wire: each gets a clear error, and the database is what it was before."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
import pytest_asyncio
import sqlalchemy as sa
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from jpkireset.central.v1 import common_pb2
from jpkireset.central.v1 import kiosk_service_pb2 as pb
from jpkireset.central.v1 import reservation_service_pb2 as phone_pb

from centrald import config, pki
from centrald.app import Centrald
from centrald.config import Service, Storage
from centrald.initialize import KIOSK_AUTHORITY, initialize
from centrald.kioskname import uri_of
from centrald.rpc import receiving
from centrald.rpc.health import MOST_OF_ONE
from centrald.statement import Purpose, statement
from centrald.storage import schema
from tests.rig.closed_window import watch_without_reading
from tests.rig.postgres import Postgres
from tests.unit.centrald.world import KIOSK, OTHER_KIOSK, PROCEDURE, HeldCard, ManualClock, World, new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 10.0
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
KIOSKS = "/jpkireset.central.v1.KioskService/"
PHONES = "/jpkireset.central.v1.ReservationService/"
TOKYO = datetime.timezone(datetime.timedelta(hours=9))
SIGNING_PASSWORD = common_pb2.PROCEDURE_SIGNING_PASSWORD
CODES = {
    "REQUEST_INVALID": grpc.StatusCode.INVALID_ARGUMENT,
    "REQUEST_MALFORMED": grpc.StatusCode.INVALID_ARGUMENT,
    "DEADLINE_REQUIRED": grpc.StatusCode.INVALID_ARGUMENT,
    "CONTENT_CHANGED": grpc.StatusCode.INVALID_ARGUMENT,
    "OUT_OF_ORDER": grpc.StatusCode.FAILED_PRECONDITION,
    "ATTEMPT_OF_ANOTHER_KIOSK": grpc.StatusCode.PERMISSION_DENIED,
    "KIOSK_NOT_IDENTIFIED": grpc.StatusCode.UNAUTHENTICATED,
    "ATTEMPT_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "TOO_MANY_REQUESTS": grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@pytest.fixture(scope="module")
def initialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As of now: the TLS library has no clock to move."""
    directory = tmp_path_factory.mktemp("central") / "new"
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    initialize(directory, ["localhost", "127.0.0.1"], always_open=True, clock=ManualClock(before))
    return directory


@dataclass
class Stage:
    """A running service, and attempts that stand at every point of their way."""

    directory: Path
    service: Centrald
    kiosk_address: str = ""
    phone_address: str = ""
    begun: str = ""
    checked: str = ""
    authorized: str = ""
    reported: str = ""
    released: str = ""
    sent: dict[str, Message] = field(default_factory=dict)  # requests that were answered, by attempt and call

    async def start(self) -> None:
        addresses = await self.service.start()
        self.kiosk_address, self.phone_address = addresses.kiosk_address, addresses.phone_address

    @property
    def _roots(self) -> bytes:
        return (self.directory / "tls/server-ca.pem").read_bytes()

    def phone(self) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(self.phone_address, grpc.ssl_channel_credentials(self._roots), OPTIONS)

    def kiosk(self, uri: str, authority: pki.Issued | None = None) -> grpc.aio.Channel:
        authority = authority or pki.load(*(self.directory / part for part in KIOSK_AUTHORITY))
        issued = pki.kiosk_certificate(authority, uri, "kiosk", datetime.datetime.now(datetime.UTC))
        certificate, key = self.directory / f"{new_id()}.pem", self.directory / f"{new_id()}.key"
        issued.write(certificate, key)
        credentials = grpc.ssl_channel_credentials(self._roots, key.read_bytes(), certificate.read_bytes())
        return grpc.aio.secure_channel(self.kiosk_address, credentials, OPTIONS)

    async def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every row of every table, but for what the service does by itself meanwhile."""
        found = {}
        async with self.service.database.transaction() as tx:
            for table in (one for one in schema.metadata.sorted_tables if one is not schema.chore):
                rows = (await tx._connection.execute(sa.select(table))).all()
                found[table.name] = sorted((tuple(row) for row in rows), key=repr)
        return found


async def prepared(world: World, stage: Stage) -> None:
    """Bring one attempt to each point, and keep what was sent on the way."""
    for kiosk in (KIOSK, OTHER_KIOSK):
        await world.add_kiosk(kiosk)
    stage.begun = (await world.attempt()).id
    for name in ("checked", "authorized", "reported", "released"):
        card = await world.card()
        await world.reserved(card)
        attempt = await world.attempt()
        setattr(stage, name, attempt.id)
        stage.sent[f"{name} check"] = await check_request(world, attempt.id, attempt.challenge, card)
        assert (await attempt.check(card)).refusal is None
        if name in ("authorized", "reported"):
            await attempt.authorized(card)
            offer = attempt.offers[1]
            stage.sent[f"{name} authorize"] = authorize(attempt.id, answer=offer)
        if name == "reported":
            await attempt.not_done()
        if name == "released":
            await attempt.release()
    card = await world.card()
    challenge = await world.phones.challenge(PROCEDURE)
    await world.reserve_with(card, challenge)
    stage.sent["create"] = phone_pb.CreateReservationRequest(
        procedure=SIGNING_PASSWORD,
        challenge=challenge,
        user_certificate=card.certificate,
        signature=card.sign(statement(Purpose.RESERVE, PROCEDURE, "", "", challenge)),
        face_match=phone_pb.FACE_MATCH_NOT_PERFORMED,
    )


async def check_request(world: World, attempt: str, challenge: bytes, card: HeldCard) -> pb.CheckReservationRequest:
    signature = card.sign(statement(Purpose.RESET, PROCEDURE, attempt, str(KIOSK), challenge))
    return pb.CheckReservationRequest(attempt_id=attempt, user_certificate=card.certificate, signature=signature)


@pytest.fixture(scope="module", params=("sqlite", "postgresql"))
def storage_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return Storage().url
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.create(request.getfixturevalue("template")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(initialized: Path, tmp_path_factory: pytest.TempPathFactory, storage_url: str) -> AsyncIterator[Stage]:
    """One for all tests: none of them may change anything, and each shows that it did not."""
    directory = tmp_path_factory.mktemp("stage") / "central"
    shutil.copytree(initialized, directory)
    clock = ManualClock(datetime.datetime.now(TOKYO).replace(hour=12))
    world = World(directory, clock, Service(opens="00:00", closes="24:00").hours(), storage_url)
    settings = msgspec.structs.replace(config.load(directory), storage=Storage(url=storage_url))
    try:
        made = Stage(directory, None)  # type: ignore[arg-type]
        await prepared(world, made)
    finally:
        await world.database.close()
    made.service = Centrald(directory, settings, clock)
    try:
        await made.start()
        yield made
    finally:
        await made.service.stop()


def begin(attempt: str, procedure: int = 1) -> pb.BeginAttemptRequest:
    return pb.BeginAttemptRequest(attempt_id=attempt, procedure=procedure)  # type: ignore[arg-type]


def check(attempt: str, certificate: bytes = b"x", signature: bytes = bytes(256)) -> pb.CheckReservationRequest:
    return pb.CheckReservationRequest(attempt_id=attempt, user_certificate=certificate, signature=signature)


def authorize(attempt: str, n: int = 1, answer: bytes = bytes(29)) -> pb.AuthorizeResetRequest:
    return pb.AuthorizeResetRequest(attempt_id=attempt, write_number=n, initialize_update_response=answer)


def report(
    attempt: str, n: int = 1, outcome: int = 2, sizes: tuple[int, int] | None = None, status: int = 0
) -> Message:
    receipt = pb.Receipt(chaining_value=bytes(sizes[0]), r_mac=bytes(sizes[1])) if sizes else None
    return pb.ReportOutcomeRequest(
        attempt_id=attempt,
        write_number=n,
        outcome=outcome,  # type: ignore[arg-type]
        receipt=receipt,
        status_word=status,
    )


def release(attempt: str) -> Message:
    return pb.ReleaseAttemptRequest(attempt_id=attempt)


def get(attempt: str) -> Message:
    return pb.GetAttemptRequest(attempt_id=attempt)


def create(stage: Stage, **changes: object) -> Message:
    request = phone_pb.CreateReservationRequest()
    request.CopyFrom(stage.sent["create"])  # type: ignore[arg-type]
    for name, value in changes.items():
        setattr(request, name, value)
    return request


def malformed(stage: Stage) -> Iterator[tuple[str, str, Message]]:
    """Fields that are wrong."""
    for text in ("", "x" * 36, "{" + "0" * 32 + "}xx", new_id() + "0", new_id()[:-1]):
        for name, make in (
            ("BeginAttempt", begin), ("CheckReservation", check), ("AuthorizeReset", authorize),
            ("ReportOutcome", report), ("ReleaseAttempt", release), ("GetAttempt", get),
        ):  # fmt: skip
            yield name, "REQUEST_INVALID", make(text)
    for number in (0, 7, 2**31 - 1):
        yield "BeginAttempt", "REQUEST_INVALID", begin(new_id(), number)
        yield "GetChallenge", "REQUEST_INVALID", phone_pb.GetChallengeRequest(procedure=number)  # type: ignore[arg-type]
        yield "CreateReservation", "REQUEST_INVALID", create(stage, procedure=number)
        yield "ReportOutcome", "REQUEST_INVALID", report(stage.authorized, outcome=number or 0)
    for size in (0, 255, 257):
        yield "CheckReservation", "REQUEST_INVALID", check(stage.begun, signature=bytes(size))
        yield "CreateReservation", "REQUEST_INVALID", create(stage, signature=bytes(size))
    for size in (0, 4097):
        yield "CheckReservation", "REQUEST_INVALID", check(stage.begun, certificate=bytes(size))
        yield "CreateReservation", "REQUEST_INVALID", create(stage, user_certificate=bytes(size))
    for size in (0, 28, 30):
        yield "AuthorizeReset", "REQUEST_INVALID", authorize(stage.checked, answer=bytes(size))
    for n in (0, 4, 2**32 - 1):
        yield "AuthorizeReset", "REQUEST_INVALID", authorize(stage.checked, n)
        yield "ReportOutcome", "REQUEST_INVALID", report(stage.authorized, n)
    for sizes in ((0, 8), (15, 8), (17, 8), (16, 0), (16, 7), (16, 9)):
        yield "ReportOutcome", "REQUEST_INVALID", report(stage.authorized, outcome=1, sizes=sizes)
    yield "ReportOutcome", "REQUEST_INVALID", report(stage.authorized, outcome=1)  # done, and no receipt
    yield "ReportOutcome", "REQUEST_INVALID", report(stage.authorized, outcome=2, sizes=(16, 8))  # not done, and one
    yield "ReportOutcome", "REQUEST_INVALID", report(stage.authorized, status=0x10000)
    for size in (0, 31, 33):
        yield "CreateReservation", "REQUEST_INVALID", create(stage, challenge=bytes(size))
    for number in (0, 7):
        yield "CreateReservation", "REQUEST_INVALID", create(stage, face_match=number)


def out_of_order(stage: Stage) -> Iterator[tuple[str, str, Message]]:
    """Calls before the one they build on, after the end, or for nothing."""
    unknown = new_id()
    for attempt in (unknown, stage.released):
        yield "CheckReservation", "OUT_OF_ORDER", check(attempt)
    for attempt in (unknown, stage.released, stage.begun):
        yield "AuthorizeReset", "OUT_OF_ORDER", authorize(attempt)
    for attempt in (unknown, stage.begun):
        yield "ReportOutcome", "OUT_OF_ORDER", report(attempt)
    yield "BeginAttempt", "OUT_OF_ORDER", begin(stage.released)
    yield "AuthorizeReset", "OUT_OF_ORDER", authorize(stage.checked, 2)
    yield "AuthorizeReset", "OUT_OF_ORDER", authorize(stage.authorized, 3)
    yield "ReportOutcome", "OUT_OF_ORDER", report(stage.checked, 2)
    yield "ReportOutcome", "OUT_OF_ORDER", report(stage.authorized, 3)
    yield "GetAttempt", "ATTEMPT_NOT_FOUND", get(unknown)


def replayed(stage: Stage) -> Iterator[tuple[str, str, Message]]:
    """Calls that were made before, with other content."""
    earlier = stage.sent["checked check"]
    assert isinstance(earlier, pb.CheckReservationRequest)
    yield "CheckReservation", "CONTENT_CHANGED", check(stage.checked)
    yield "CheckReservation", "CONTENT_CHANGED", check(stage.checked, earlier.user_certificate, bytes(256))
    stolen = stage.sent["authorized check"]
    assert isinstance(stolen, pb.CheckReservationRequest)
    yield "CheckReservation", "CONTENT_CHANGED", check(stage.checked, stolen.user_certificate, stolen.signature)
    yield "AuthorizeReset", "CONTENT_CHANGED", authorize(stage.authorized)
    yield "ReportOutcome", "CONTENT_CHANGED", report(stage.reported, status=0x6A80)


def foreign(stage: Stage) -> Iterator[tuple[str, str, Message]]:
    """What another kiosk sends for our attempts, word for word what we sent."""
    reason = "ATTEMPT_OF_ANOTHER_KIOSK"
    for attempt in (stage.begun, stage.checked, stage.authorized, stage.reported, stage.released):
        yield "BeginAttempt", reason, begin(attempt)
        yield "ReleaseAttempt", reason, release(attempt)
        yield "GetAttempt", reason, get(attempt)
        yield "CheckReservation", reason, check(attempt)
        yield "AuthorizeReset", reason, authorize(attempt)
        yield "ReportOutcome", reason, report(attempt)
    yield "CheckReservation", reason, stage.sent["checked check"]
    yield "AuthorizeReset", reason, stage.sent["authorized authorize"]


def path_of(name: str) -> str:
    return (PHONES if name in ("GetChallenge", "CreateReservation") else KIOSKS) + name


async def told(channel: grpc.aio.Channel, path: str, data: bytes, deadline: float | None = SECONDS) -> tuple[Any, str]:
    """Call with these bytes; return the status code, and the reason of its ErrorInfo."""
    call: Any = channel.unary_unary(path)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(data, timeout=deadline)
    status = rpc_status.from_call(raised.value)
    info = ErrorInfo()
    if status is not None:
        assert status.details[0].Unpack(info)
        assert info.domain == "centrald"
    return raised.value.code(), info.reason


@pytest.mark.parametrize("table", [malformed, out_of_order, replayed, foreign])
async def test_a_broken_call_is_told_why_and_changes_nothing(
    stage: Stage, table: Callable[[Stage], Iterator[tuple[str, str, Message]]]
) -> None:
    before = await stage.state()
    other = table is foreign
    async with stage.kiosk(uri_of(OTHER_KIOSK if other else KIOSK)) as kiosk, stage.phone() as phone:
        for name, reason, request in table(stage):
            path = path_of(name)
            channel = phone if path.startswith(PHONES) else kiosk
            given = await told(channel, path, request.SerializeToString())
            assert given == (CODES[reason], reason), (name, request)
            assert await stage.state() == before, (name, request)


NAMES = (
    "GetServiceStatus", "BeginAttempt", "CheckReservation", "AuthorizeReset", "ReportOutcome", "ReleaseAttempt",
    "GetAttempt", "GetChallenge", "CreateReservation",
)  # fmt: skip


async def test_every_call_refuses_what_is_no_message_too_big_or_without_deadline(stage: Stage) -> None:
    before = await stage.state()
    oversized = bytes([0xFA, 0x3F]) + bytes([0xA0, 0x9C, 0x01]) + bytes(20_000)  # an unknown field of 20,000 bytes
    async with stage.kiosk(uri_of(KIOSK)) as kiosk, stage.phone() as phone:
        for name in NAMES:
            path = path_of(name)
            channel, wrong = (phone, kiosk) if path.startswith(PHONES) else (kiosk, phone)
            assert await told(channel, path, b"\xff\xff") == (CODES["REQUEST_MALFORMED"], "REQUEST_MALFORMED"), name
            assert await told(channel, path, oversized) == (grpc.StatusCode.RESOURCE_EXHAUSTED, ""), name
            assert await told(channel, path, b"", None) == (CODES["DEADLINE_REQUIRED"], "DEADLINE_REQUIRED"), name
            assert await told(wrong, path, b"") == (grpc.StatusCode.UNIMPLEMENTED, ""), name
        assert await told(kiosk, KIOSKS + "Nothing", b"") == (grpc.StatusCode.UNIMPLEMENTED, "")
    assert await stage.state() == before


async def test_who_is_no_kiosk_gets_nowhere(stage: Stage) -> None:
    before = await stage.state()
    now = datetime.datetime.now(datetime.UTC)
    stranger = pki.tls_authority("centrald kiosk authority", now)  # the same name, another key
    async with (
        stage.kiosk("spiffe://jpki-reset/chain/a/store/b") as nameless,
        stage.kiosk(uri_of(KIOSK), stranger) as forged,
    ):
        for name in NAMES[:7]:
            reason = "KIOSK_NOT_IDENTIFIED"
            assert await told(nameless, KIOSKS + name, begin(stage.begun).SerializeToString()) == (
                CODES[reason],
                reason,
            )
            assert await told(forged, KIOSKS + name, b"") == (grpc.StatusCode.UNAVAILABLE, "")
    assert await stage.state() == before


async def test_a_repeat_gets_the_same_answer_and_changes_nothing(stage: Stage) -> None:
    before = await stage.state()
    repeats = [
        ("BeginAttempt", begin(stage.begun)),
        ("CheckReservation", stage.sent["checked check"]),
        ("AuthorizeReset", stage.sent["authorized authorize"]),
        ("ReportOutcome", report(stage.reported)),
        ("ReleaseAttempt", release(stage.released)),
        ("GetAttempt", get(stage.reported)),
        ("CreateReservation", stage.sent["create"]),
    ]
    async with stage.kiosk(uri_of(KIOSK)) as kiosk, stage.phone() as phone:
        for name, request in repeats:
            path = path_of(name)
            call: Any = (phone if path.startswith(PHONES) else kiosk).unary_unary(path)
            first = await call(request.SerializeToString(), timeout=SECONDS)
            assert first
            assert await call(request.SerializeToString(), timeout=SECONDS) == first, name
            assert await stage.state() == before, name


OK = grpc.StatusCode.OK
CHALLENGE = phone_pb.GetChallengeRequest(procedure=SIGNING_PASSWORD).SerializeToString()


@contextlib.asynccontextmanager
async def limited(initialized: Path, directory: Path, clock: ManualClock, **changes: int) -> AsyncIterator[Stage]:
    """Run a service of its own with these limits."""
    shutil.copytree(initialized, directory)
    settings = config.load(directory)
    limits = msgspec.structs.replace(settings.limits, **changes)
    stage = Stage(directory, Centrald(directory, msgspec.structs.replace(settings, limits=limits), clock))
    try:
        await stage.start()
        yield stage
    finally:
        await stage.service.stop()


@pytest.fixture
def now() -> ManualClock:
    return ManualClock(datetime.datetime.now(TOKYO))


async def test_an_address_that_calls_too_often_waits(initialized: Path, tmp_path: Path, now: ManualClock) -> None:
    request = CHALLENGE
    async with (
        limited(initialized, tmp_path / "central", now, address_burst=3, address_per_minute=6) as stage,
        stage.phone() as phone,
    ):
        call: Any = phone.unary_unary(PHONES + "GetChallenge")
        for _ in range(3):
            await call(request, timeout=SECONDS)
        before = await stage.state()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(request, timeout=SECONDS)
        status = rpc_status.from_call(raised.value)
        assert status is not None
        info, retry = ErrorInfo(), RetryInfo()
        assert status.details[0].Unpack(info)
        assert status.details[1].Unpack(retry)
        assert (raised.value.code(), info.reason) == (CODES["TOO_MANY_REQUESTS"], "TOO_MANY_REQUESTS")
        assert retry.retry_delay.ToTimedelta() == datetime.timedelta(seconds=10)
        assert await stage.state() == before
        now.advance(retry.retry_delay.ToTimedelta())
        assert await call(request, timeout=SECONDS)


async def ends(call: Any) -> grpc.StatusCode:
    """Return what a call ends with, whatever it said before."""
    async with asyncio.timeout(SECONDS):
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:
                pass
        code: grpc.StatusCode = await call.code()
        return code


async def test_calls_without_a_request_do_not_last(
    initialized: Path, tmp_path: Path, now: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them has one of the listener's places."""
    monkeypatch.setattr(receiving, "SECONDS", 0.2)
    async with (
        limited(initialized, tmp_path / "central", now, concurrent_calls=3) as stage,
        stage.phone() as attacker,
        stage.phone() as phone,
    ):
        call: Any = phone.unary_unary(PHONES + "GetChallenge")
        for path in (PHONES + "GetChallenge", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"):
            silent: Any = attacker.stream_stream(path)
            calls = [silent(timeout=3600) for _ in range(3)]
            assert {await ends(call) for call in calls} == {grpc.StatusCode.INVALID_ARGUMENT}, path
            assert await call(CHALLENGE, timeout=SECONDS), path


async def test_calls_without_a_request_count_for_their_address(
    initialized: Path, tmp_path: Path, now: ManualClock
) -> None:
    async with limited(initialized, tmp_path / "central", now, address_burst=1) as stage, stage.phone() as attacker:
        silent: Any = attacker.stream_stream(PHONES + "GetChallenge")
        first, second = silent(timeout=3600), silent(timeout=3600)
        done, _ = await asyncio.wait(
            [asyncio.create_task(ends(call)) for call in (first, second)],
            timeout=receiving.SECONDS / 2,
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert [task.result() for task in done] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
        first.cancel()
        second.cancel()


async def test_who_watches_the_health_takes_few_places(initialized: Path, tmp_path: Path, now: ManualClock) -> None:
    async with (
        limited(initialized, tmp_path / "central", now, concurrent_calls=MOST_OF_ONE + 1) as stage,
        stage.phone() as attacker,
        stage.phone() as phone,
    ):
        stub: Any = health_pb2_grpc.HealthStub(attacker)
        watches = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=3600) for _ in range(MOST_OF_ONE)]
        for one in watches:
            assert (await one.read()).status == health_pb2.HealthCheckResponse.SERVING
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError, match="too many health checks"):
                await stub.Watch(health_pb2.HealthCheckRequest(), timeout=3600).read()
        call: Any = phone.unary_unary(PHONES + "GetChallenge")
        assert await call(CHALLENGE, timeout=SECONDS)
        watches[0].cancel()
        async with asyncio.timeout(SECONDS):
            while (
                check := stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
            ) and await check.code() is not OK:
                assert await check.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # the place is not free yet


def connected(address: str, authority: Path) -> socket.socket:
    """Return a connection with TLS, for HTTP/2."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(socket.create_connection((host, int(port)), SECONDS), server_hostname=host)


async def test_a_watcher_that_takes_nothing_holds_nobody_up(
    initialized: Path, tmp_path: Path, now: ManualClock
) -> None:
    async with limited(initialized, tmp_path / "central", now, stop_seconds=1) as stage, stage.phone() as phone:
        authority = stage.directory / "tls/server-ca.pem"
        link = await asyncio.to_thread(connected, stage.phone_address, authority)
        stub: Any = health_pb2_grpc.HealthStub(phone)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=3600)
        with contextlib.closing(link):
            await asyncio.to_thread(watch_without_reading, link, "https", "localhost")
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            listeners = stage.service._listeners
            assert listeners is not None
            for able in (False, True, False):
                async with asyncio.timeout(SECONDS):
                    await listeners.serving(able)
                    told = (await watch.read()).status
                assert (told == health_pb2.HealthCheckResponse.SERVING) is able
            async with asyncio.timeout(SECONDS):
                await stage.service.stop()
            assert await ends(watch) is OK
