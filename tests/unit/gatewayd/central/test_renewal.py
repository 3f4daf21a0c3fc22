"""New certificate files under a running client: good ones are taken into use, bad ones never."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.central.v1 import kiosk_service_pb2 as pb
from jpkireset.central.v1 import kiosk_service_pb2_grpc as pb_grpc

from gatewayd.central.client import CentralClient
from gatewayd.central.renewal import POLL_S, Renewal
from gatewayd.central.settings import CentralSettings
from tests.fakes.clock import FakeClock
from tests.fakes.pki import KIOSK_URI, NOT_AFTER, NOT_BEFORE, Pki, make_pki

METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["KioskService"].methods]
PATIENCE_S = 5.0
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass
class Centre:
    """Notes whom it served."""

    address: str = ""
    served: list[str] = field(default_factory=list)  # serial numbers of certificates
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def GetServiceStatus(self, request: pb.GetServiceStatusRequest, context: Context) -> Any:  # noqa: N802
        self.served.append(caller(context))
        return pb.GetServiceStatusResponse(now=Timestamp(seconds=1))

    async def ReleaseAttempt(self, request: pb.ReleaseAttemptRequest, context: Context) -> Any:  # noqa: N802
        self.served.append(caller(context))
        await self.released.wait()
        return pb.ReleaseAttemptResponse()


def caller(context: Context) -> str:
    (version,) = context.auth_context()["ssl_tls_version"]
    assert version == b"TLSv1.3"
    (pem,) = context.auth_context()["x509_pem_cert"]
    return serial(pem)


def serial(pem: bytes) -> str:
    return f"{x509.load_pem_x509_certificate(pem).serial_number:x}"


@dataclass
class Scene:
    centre: Centre
    pki: Pki
    client: CentralClient
    renewal: Renewal
    clock: FakeClock
    ends: list[dict[str, float]]
    wake: asyncio.Event
    spare: Path

    def other(self, name: str, uri: str = KIOSK_URI, not_after: datetime.datetime = NOT_AFTER) -> Pki:
        """Certificates of another authority."""
        directory = self.spare / name
        directory.mkdir()
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
        return make_pki(directory, names, authority="second authority", not_after=not_after)

    def put(self, certificate: bytes | None = None, key: bytes | None = None) -> None:
        """Exchange files as administrators do: by renaming over them."""
        for path, content in ((self.pki.kiosk, certificate), (self.pki.kiosk_key, key)):
            if content is not None:
                fresh = path.with_suffix(".new")
                fresh.write_bytes(content)
                fresh.replace(path)

    async def serves(self) -> str:
        """Whose certificate the centre sees on the next call."""
        await self.client.service_status()
        return self.centre.served[-1]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    for name in ("pki", "second"):
        (tmp_path / name).mkdir()
    pki = make_pki(tmp_path / "pki")
    second = make_pki(tmp_path / "second", authority="second authority")  # which the centre knows as well
    centre, server = Centre(), grpc.aio.server()
    answers = {name: getattr(centre, name) for name in ("GetServiceStatus", "ReleaseAttempt")}
    methods = dict.fromkeys(METHODS, None) | {name: staticmethod(answer) for name, answer in answers.items()}
    servicer: pb_grpc.KioskServiceServicer = type("Known", (pb_grpc.KioskServiceServicer,), methods)()
    pb_grpc.add_KioskServiceServicer_to_server(servicer, server)
    credentials = grpc.ssl_server_credentials(
        [(pki.server_key.read_bytes(), pki.server.read_bytes())],
        pki.authority.read_bytes() + second.authority.read_bytes(),
        require_client_auth=True,
    )
    centre.address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    clock, wake = FakeClock(), asyncio.Event()
    ends: list[dict[str, float]] = []
    client = CentralClient(CentralSettings(centre.address, pki.kiosk, pki.kiosk_key, pki.authority), clock)
    renewal = Renewal(client, clock, lambda expiry: ends.append(dict(expiry)), wake)
    yield Scene(centre, pki, client, renewal, clock, ends, wake, tmp_path)
    centre.released.set()
    await client.close()
    await server.stop(None)


async def test_good_files_are_taken_into_use(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    new = scene.spare / "second"
    old_serial, new_serial = serial(scene.pki.kiosk.read_bytes()), serial((new / "kiosk.pem").read_bytes())
    assert await scene.serves() == old_serial
    await scene.renewal.look()
    assert (scene.ends, len(scene.centre.served)) == ([], 1), "nothing has changed"
    scene.put((new / "kiosk.pem").read_bytes(), (new / "kiosk.key").read_bytes())
    with caplog.at_level(logging.INFO):
        await scene.renewal.look()
        await scene.renewal.look()
    assert await scene.serves() == new_serial
    assert scene.ends == [scene.client.certificate_expiry]
    assert [record.message for record in caplog.records] == ["certificates renewed"]


async def test_a_call_on_the_old_channel_ends_in_peace(scene: Scene) -> None:
    new = scene.spare / "second"
    running = asyncio.create_task(scene.client.release_attempt("an attempt"))
    async with asyncio.timeout(PATIENCE_S):
        while not scene.centre.served:
            await asyncio.sleep(0.005)
    scene.put((new / "kiosk.pem").read_bytes(), (new / "kiosk.key").read_bytes())
    looking = asyncio.create_task(scene.renewal.look())
    async with asyncio.timeout(PATIENCE_S):
        while await scene.serves() != serial((new / "kiosk.pem").read_bytes()):
            await asyncio.sleep(0.005)
    assert not running.done()
    scene.centre.released.set()
    async with asyncio.timeout(PATIENCE_S):
        await running
        await looking


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("half", "not the key of the certificate"),
        ("garbage", "no certificate in PEM form"),
        ("gone", "No such file"),
        ("another kiosk", "names another kiosk"),
        ("expired", "has expired"),
        ("not accepted", "unavailable: tls"),
    ],
)
async def test_bad_files_are_not(scene: Scene, caplog: pytest.LogCaptureFixture, case: str, said: str) -> None:
    old = serial(scene.pki.kiosk.read_bytes())
    match case:
        case "half":  # the new key is still on its way
            scene.put((scene.spare / "second/kiosk.pem").read_bytes())
        case "garbage":
            scene.put(b"nothing")
        case "gone":
            scene.pki.kiosk.unlink()
        case "another kiosk":
            other = scene.other("third", KIOSK_URI.replace("seven", "lawson"))
            scene.put(other.kiosk.read_bytes(), other.kiosk_key.read_bytes())
        case "expired":
            other = scene.other("third", not_after=NOT_BEFORE + datetime.timedelta(days=1))
            scene.put(other.kiosk.read_bytes(), other.kiosk_key.read_bytes())
        case "not accepted":
            other = scene.other("third")
            scene.put(other.kiosk.read_bytes(), other.kiosk_key.read_bytes())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await scene.renewal.look()
    assert await scene.serves() == old
    assert scene.ends == []
    (complaint,) = caplog.records
    assert said in complaint.why  # type: ignore[attr-defined]

    second = scene.spare / "second"
    scene.put((second / "kiosk.pem").read_bytes(), (second / "kiosk.key").read_bytes())
    await scene.renewal.look()
    assert await scene.serves() == serial((second / "kiosk.pem").read_bytes())


@pytest.mark.parametrize("woken", [False, True])
async def test_it_looks_every_ten_seconds_and_when_woken(scene: Scene, woken: bool) -> None:
    running = asyncio.create_task(scene.renewal.run())
    await scene.clock.advance(POLL_S / 2)
    second = scene.spare / "second"
    scene.put((second / "kiosk.pem").read_bytes(), (second / "kiosk.key").read_bytes())
    await scene.clock.advance(POLL_S / 4)
    assert not scene.centre.served
    if woken:
        scene.wake.set()
    else:
        await scene.clock.advance(POLL_S / 4)
    async with asyncio.timeout(PATIENCE_S):
        while not scene.ends:
            await asyncio.sleep(0.005)
    running.cancel()
