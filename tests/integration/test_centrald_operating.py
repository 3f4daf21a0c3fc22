"""The running centre as its operators see it: certificates rotate live, health and metrics follow the database."""

from __future__ import annotations

import asyncio
import datetime
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from grpc_health.v1 import health_pb2, health_pb2_grpc
from jpkireset.central.v1 import common_pb2, kiosk_service_pb2_grpc
from jpkireset.central.v1 import kiosk_service_pb2 as pb
from prometheus_client.metrics_core import Metric

from centrald import config, pki
from centrald.app import Addresses, Centrald, make_metrics
from centrald.initialize import KIOSK_AUTHORITY, SERVER_AUTHORITY, SERVER_AUTHORITY_KEY, initialize
from centrald.kioskname import uri_of
from centrald.metrics import Metrics
from centrald.monitor import Monitor
from centrald.storage import database as storage
from centrald.storage.database import Database
from tests.rig import metrics
from tests.rig.postgres import Postgres
from tests.unit.centrald.world import KIOSK, new_id

SECONDS = 5.0
ALONE = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Centre:
    """A centre in this process, and its kiosk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.service = Centrald(directory, config.load(directory))
        self.where = Addresses("", "", "")
        self.kiosk = self.issue_kiosk()

    @property
    def tls(self) -> Path:
        return self.directory / "tls"

    def issue_kiosk(self, authority: pki.Issued | None = None) -> pki.Issued:
        issuer = authority or pki.load(*(self.directory / name for name in KIOSK_AUTHORITY))
        return pki.kiosk_certificate(issuer, uri_of(KIOSK), str(KIOSK), datetime.datetime.now(datetime.UTC))

    def renew(self) -> pki.Issued:
        """Issue a new server certificate, without putting it in place."""
        authority = pki.load(self.directory / SERVER_AUTHORITY, self.directory / SERVER_AUTHORITY_KEY)
        return pki.server_certificate(authority, ["localhost", "127.0.0.1"], datetime.datetime.now(datetime.UTC))

    def connect(self, kiosk: pki.Issued | None = None) -> grpc.aio.Channel:
        issued = kiosk or self.kiosk
        key = issued.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = issued.certificate.public_bytes(serialization.Encoding.PEM)
        credentials = grpc.ssl_channel_credentials((self.directory / SERVER_AUTHORITY).read_bytes(), key, certificate)
        return grpc.aio.secure_channel(self.where.kiosk_address, credentials, ALONE)

    async def shown(self, address: str | None = None) -> x509.Certificate:
        """Return the certificate a new connection is shown."""
        host, _, port = (address or self.where.kiosk_address).rpartition(":")
        command = f"openssl s_client -connect {host}:{port} -alpn h2 </dev/null 2>/dev/null | openssl x509"
        pem = await asyncio.to_thread(subprocess.check_output, ["sh", "-c", command], timeout=SECONDS)
        return x509.load_pem_x509_certificate(pem)

    def scraped(self) -> dict[str, Metric]:
        return metrics.scrape(f"http://{self.where.metrics_address}/metrics")

    async def until(self, condition: Callable[[dict[str, Metric]], bool]) -> dict[str, Metric]:
        async with asyncio.timeout(SECONDS):
            while not condition(found := await asyncio.to_thread(self.scraped)):
                await asyncio.sleep(0.01)
        return found


async def status(channel: grpc.aio.Channel) -> pb.GetServiceStatusResponse:
    stub: kiosk_service_pb2_grpc.KioskServiceAsyncStub = kiosk_service_pb2_grpc.KioskServiceStub(channel)
    return await stub.GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS)


@pytest.fixture(scope="module")
def initialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("operating") / "central"
    initialize(directory, ["localhost", "127.0.0.1"], always_open=True)
    return directory


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Monitor, "check_seconds", 0.02)
    monkeypatch.setattr(Monitor, "patience_seconds", 0.3)


@pytest.fixture
async def centre(initialized: Path, tmp_path: Path) -> AsyncIterator[Centre]:
    directory = tmp_path / "central"
    shutil.copytree(initialized, directory)
    made = Centre(directory)
    async with made.service.database.transaction() as tx:
        await tx.fleet.add(KIOSK)
    try:
        made.where = await made.service.start()
        yield made
    finally:
        await made.service.stop()


def command(centre: Centre, *words: str) -> str:
    line = [sys.executable, "-m", "centrald", *words, "--directory", str(centre.directory)]
    return subprocess.run(line, check=True, capture_output=True, text=True, timeout=30).stdout


async def test_the_server_certificate_rotates_live(centre: Centre) -> None:
    """On both listeners, with calls going on, by the command that renews it."""
    stop, served = asyncio.Event(), 0

    async def call_on() -> int:
        calls = 0
        async with centre.connect() as channel:
            while not stop.is_set():
                await status(channel)
                calls += 1
        return calls

    calling = asyncio.create_task(call_on())
    before = await centre.shown(centre.where.phone_address)
    said = json.loads(await asyncio.to_thread(command, centre, "certificate", "renew", "--json"))
    after = x509.load_pem_x509_certificate((centre.tls / "server.pem").read_bytes())
    assert said["names"] == ["localhost", "127.0.0.1"]
    assert after.serial_number != before.serial_number
    assert (await centre.shown(centre.where.phone_address)).serial_number == after.serial_number
    async with centre.connect() as channel:
        await status(channel)
    assert (centre.tls / "server.key").stat().st_mode & 0o777 == 0o600
    stop.set()
    served = await calling
    assert served > 0, "the connection that stood went on"


async def test_a_pair_that_does_not_fit_is_left_aside(centre: Centre, caplog: pytest.LogCaptureFixture) -> None:
    before = await centre.shown(centre.where.phone_address)
    issued = centre.renew()
    issued.write(centre.tls / "a.pem", centre.tls / "a.key")
    (centre.tls / "a.key").replace(centre.tls / "server.key")
    assert await centre.shown(centre.where.phone_address) == before
    assert "do not belong together" in caplog.records[-1].__dict__["error"]
    (centre.tls / "server.pem").write_text("nonsense")
    assert await centre.shown(centre.where.phone_address) == before
    (centre.tls / "a.pem").replace(centre.tls / "server.pem")
    assert await centre.shown(centre.where.phone_address) == issued.certificate


async def test_the_authority_of_the_kiosks_rotates_live(centre: Centre) -> None:
    """The new one beside the old one first, then alone."""
    old = (centre.directory / KIOSK_AUTHORITY[0]).read_bytes()
    new = pki.tls_authority("new kiosk authority", datetime.datetime.now(datetime.UTC))
    pem = new.certificate.public_bytes(serialization.Encoding.PEM)
    renewed = centre.issue_kiosk(new)

    async def accepted(kiosk: pki.Issued | None) -> bool:
        async with centre.connect(kiosk) as channel:
            try:
                await status(channel)
            except grpc.aio.AioRpcError as error:
                return error.code() is not grpc.StatusCode.UNAVAILABLE
        return True

    assert (await accepted(None), await accepted(renewed)) == (True, False)
    (centre.directory / KIOSK_AUTHORITY[0]).write_bytes(old + pem)
    assert (await accepted(None), await accepted(renewed)) == (True, True)
    (centre.directory / KIOSK_AUTHORITY[0]).write_bytes(pem)
    assert (await accepted(None), await accepted(renewed)) == (False, True)


async def test_windows_work_at_once(centre: Centre) -> None:
    now = datetime.datetime.now(datetime.UTC)
    ends = [(now + hours * datetime.timedelta(hours=1)).isoformat(timespec="seconds") for hours in (-1, 1)]
    async with centre.connect() as channel:
        assert (await status(channel)).refusal == 0
        said = json.loads(await asyncio.to_thread(command, centre, "maintenance", "add", *ends, "--json"))
        told = await status(channel)
        assert told.refusal == common_pb2.REFUSAL_MAINTENANCE
        assert told.opens_at.ToDatetime(datetime.UTC).isoformat(timespec="seconds") == ends[1]
        stub: kiosk_service_pb2_grpc.KioskServiceAsyncStub = kiosk_service_pb2_grpc.KioskServiceStub(channel)
        begin = pb.BeginAttemptRequest(attempt_id=new_id(), procedure=common_pb2.PROCEDURE_SIGNING_PASSWORD)
        assert (await stub.BeginAttempt(begin, timeout=SECONDS)).refusal == common_pb2.REFUSAL_MAINTENANCE
        await asyncio.to_thread(command, centre, "maintenance", "cancel", str(said["id"]))
        assert len((await stub.BeginAttempt(begin, timeout=SECONDS)).challenge) == 32


async def test_metrics_say_what_happens_and_promtool_finds_no_fault(centre: Centre) -> None:
    async with centre.connect() as channel:
        stub: kiosk_service_pb2_grpc.KioskServiceAsyncStub = kiosk_service_pb2_grpc.KioskServiceStub(channel)
        begin = pb.BeginAttemptRequest(attempt_id=new_id(), procedure=common_pb2.PROCEDURE_SIGNING_PASSWORD)
        await stub.BeginAttempt(begin, timeout=SECONDS)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetAttempt(pb.GetAttemptRequest(attempt_id=new_id()), timeout=SECONDS)
    name = "centrald_certificate_expiry_timestamp_seconds"
    found = await centre.until(lambda families: metrics.value(families, name, role="signing_authority") > 0)
    calls = "centrald_rpc_duration_seconds_count"
    assert metrics.value(found, calls, method="KioskService/BeginAttempt", code="OK") == 1
    assert metrics.value(found, calls, method="KioskService/GetAttempt", code="NOT_FOUND") == 1
    assert metrics.value(found, "centrald_rpc_errors_total", reason="ATTEMPT_NOT_FOUND") == 1
    assert metrics.value(found, "centrald_rpc_in_flight") == 0
    assert metrics.value(found, "centrald_ledger_entries_total", event="begun") == 1
    assert metrics.value(found, "centrald_database_up") == 1
    assert metrics.value(found, "centrald_transaction_duration_seconds_count", result="committed") >= 1
    assert metrics.value(found, "centrald_build_info") == 1
    server = x509.load_pem_x509_certificate((centre.tls / "server.pem").read_bytes())
    assert metrics.value(found, name, role="server") == server.not_valid_after_utc.timestamp()
    text = await asyncio.to_thread(metrics.text, f"http://{centre.where.metrics_address}/metrics")
    judged = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=20)
    assert (judged.returncode, judged.stdout + judged.stderr) == (0, "")


class Health:
    """A monitor of its own, and what it said."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self.said: asyncio.Queue[bool] = asyncio.Queue()
        self._monitor = Monitor(database, metrics, self.said.put)

    async def next(self) -> bool:
        async with asyncio.timeout(SECONDS):
            return await self.said.get()

    async def __aenter__(self) -> Health:
        self._task = asyncio.create_task(self._monitor.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_health_follows_a_postgresql_that_goes_and_comes(postgres: Postgres, tmp_path: Path) -> None:
    name = postgres.create()
    database = Database.open(postgres.url(name), tmp_path)
    await database.migrate()
    ending = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    recorded = make_metrics()
    async with Health(database, recorded) as health:
        assert await health.next() is True
        assert recorded.registry.get_sample_value("centrald_database_up") == 1
        postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres.execute(ending)
        assert await health.next() is False
        assert recorded.registry.get_sample_value("centrald_database_up") == 0
        postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert await health.next() is True
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        postgres.execute(ending)
        assert await health.next() is False, "a database that only reads is of no use"
        postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        postgres.execute(ending)
        assert await health.next() is True
    await database.close()


async def test_a_mute_postgresql_is_said_in_time(
    postgres: Postgres, initialized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes connections and answers nothing: stopped, as by a machine that swaps or a debugger."""
    monkeypatch.setattr(storage, "PATIENCE_SECONDS", 0.5)
    directory, url = tmp_path / "central", postgres.url(postgres.create())
    shutil.copytree(initialized, directory)
    settings = directory / config.CONFIG_NAME
    settings.write_text(re.sub(r"^url = .*$", f'url = "{url}"', settings.read_text(), flags=re.MULTILINE))
    centre = Centre(directory)
    await centre.service.database.migrate()
    async with centre.service.database.transaction() as tx:
        await tx.fleet.add(KIOSK)
    centre.where = await centre.service.start()
    async with centre.connect() as channel:
        stub: health_pb2_grpc.HealthAsyncStub = health_pb2_grpc.HealthStub(channel)
        answers = stub.Watch(health_pb2.HealthCheckRequest(), timeout=30)
        try:
            assert (await answers.read()).status == SERVING
            assert (await status(channel)).refusal == 0
            with postgres.stopped():
                begun = time.perf_counter()
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await status(channel)
                assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
                assert "STORAGE_UNAVAILABLE" in str(raised.value.trailing_metadata())
                assert time.perf_counter() - begun < 2, "a kiosk gives a call three seconds"
                async with asyncio.timeout(SECONDS):
                    assert (await answers.read()).status == NOT_SERVING
            async with asyncio.timeout(SECONDS):
                assert (await answers.read()).status == SERVING
            assert (await status(channel)).refusal == 0
        finally:
            answers.cancel()
            await centre.service.stop()


async def test_health_checks_answer_by_it(centre: Centre) -> None:
    """A file that somebody else keeps locked, until they let go of it."""
    other = sqlite3.connect(centre.directory / "centrald.db", isolation_level=None, check_same_thread=False)
    async with centre.connect() as channel:
        stub: health_pb2_grpc.HealthAsyncStub = health_pb2_grpc.HealthStub(channel)
        answers = stub.Watch(health_pb2.HealthCheckRequest(service="jpkireset.central.v1.KioskService"), timeout=30)

        async def answer() -> object:
            message = await answers.read()
            assert isinstance(message, health_pb2.HealthCheckResponse)
            return message.status

        assert await answer() == SERVING
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")  # the loop must run on: the centre may be writing
        assert await answer() == NOT_SERVING
        other.execute("ROLLBACK")
        assert await answer() == SERVING
        answers.cancel()
    other.close()
