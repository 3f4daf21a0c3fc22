"""The centre goes and comes back under a running daemon, which says why it cannot be used, and heals by itself."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates
from jpkireset.gateway.v1.gateway_service_pb2 import (
    READINESS_PROBLEM_CENTRAL_UNAVAILABLE,
    READINESS_PROBLEM_KIOSK_NOT_ENABLED,
    Status,
)

from tests.fakes.pki import make_pki
from tests.rig import metrics
from tests.rig.citizen import Citizen
from tests.rig.front_end import FrontEnd
from tests.rig.parts import Gatewayd
from tests.rig.process import BIN, run, wait_until
from tests.rig.site import CHAIN, KIOSK_ID, KIOSK_NUMBER, STORE, Site
from tests.rig.stack import Stack

RECOVERY_S = 10.0
NOTICE_S = 40.0  # a step is tried for ten seconds first


def says(status: Status, word: str) -> bool:
    return READINESS_PROBLEM_CENTRAL_UNAVAILABLE in status.problems and status.central_detail.startswith(word)


def circuit(stack: Stack) -> str:
    """The state of the circuit, as the metrics tell it."""
    families = metrics.scrape(stack.gatewayd.metrics_url)
    (state,) = (found.labels["state"] for found in families["gatewayd_central_circuit"].samples if found.value)
    return state


async def recovered(front: FrontEnd, what: str) -> None:
    begun = time.monotonic()
    await front.until_status(lambda status: status.ready, RECOVERY_S)
    print(f"ready {time.monotonic() - begun:.2f} s after the centre {what}")


async def killed_and_back(citizen: Citizen) -> None:
    stack, front = citizen.stack, citizen.front
    assert circuit(stack) == "closed"
    stack.centrald.kill()
    await front.until_status(lambda status: says(status, "refused"), NOTICE_S)
    await front.until_status(lambda status: "circuit" in status.central_detail, NOTICE_S)
    assert circuit(stack) in ("open", "half_open")
    stack.centrald.start()
    await recovered(front, "serves again")
    assert (await front.status()).central_detail == ""
    assert circuit(stack) == "closed"


async def test_frozen_and_back(citizen: Citizen) -> None:
    stack, front = citizen.stack, citizen.front
    stack.centrald.signal(signal.SIGSTOP)
    try:
        stack.gatewayd.restart()
        await front.until_status(lambda status: says(status, "deadline"), NOTICE_S)
    finally:
        stack.centrald.signal(signal.SIGCONT)
    await recovered(front, "goes on")


async def test_not_enabled_is_an_answer(citizen: Citizen) -> None:
    stack, front = citizen.stack, citizen.front
    kiosk = (KIOSK_ID, "--directory", stack.site.central)
    run([BIN / "centrald", "kiosk", "disable", *kiosk])
    stack.gatewayd.restart()
    status = await front.until_status(lambda status: READINESS_PROBLEM_KIOSK_NOT_ENABLED in status.problems)
    assert status.central_detail == ""
    run([BIN / "centrald", "kiosk", "enable", *kiosk])
    stack.gatewayd.restart()
    await front.ready()


async def test_certificate_is_renewed_without_a_restart(citizen: Citizen, tmp_path: Path) -> None:
    stack, kiosk = citizen.stack, citizen.stack.site.kiosk
    new = tmp_path / "new"
    run([BIN / "centrald", "kiosk", "renew", CHAIN, STORE, KIOSK_NUMBER, "-d", stack.site.central, "--out", new])

    def told(event: str) -> bool:
        stack.gatewayd.signal(signal.SIGHUP)
        return f'"{event}"' in stack.gatewayd.process.output()

    (kiosk / "kiosk.key").write_bytes((new / "kiosk.key").read_bytes())
    wait_until(lambda: told("certificates not renewed, the old ones stay in use"), RECOVERY_S, "half of a pair")
    assert (await citizen.front.status()).ready
    (kiosk / "kiosk.pem").write_bytes((new / "kiosk.pem").read_bytes())
    wait_until(lambda: told("certificates renewed"), RECOVERY_S, "both halves")
    (end,) = (
        certificate.not_valid_after_utc for certificate in load_pem_x509_certificates((new / "kiosk.pem").read_bytes())
    )
    families = metrics.scrape(stack.gatewayd.metrics_url)
    assert metrics.value(families, "gatewayd_certificate_expiry_timestamp_seconds", role="client") == end.timestamp()
    citizen.reserve()
    attempt = await citizen.to_password()  # through the centre, on the new channel
    await attempt.cancel()
    await citizen.leave(attempt)


@contextmanager
def daemon(directory: Path, site: Site, address: str) -> Iterator[Gatewayd]:
    """A daemon without a reader, with a centre of its own imagination."""
    directory.mkdir()
    made = Gatewayd(
        directory / "kiosk",
        site=site,
        central_address=address,
        socket=directory / "api.sock",
        reader="Kiosk 00 00",
        pcsc={"PCSCLITE_CSOCK_NAME": str(directory / "no-pcscd")},
        log=directory / "gatewayd.log",
    )
    with made:
        yield made


@contextmanager
def stranger(tmp_path: Path) -> Iterator[str]:
    """A server of another authority, which answers nothing else; its address."""
    pki = make_pki(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server, pki.server_key)
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with suppress(OSError), context.wrap_socket(connection, server_side=True):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


async def test_killed_and_back_and_others_that_never_come(citizen: Citizen, site: Site, tmp_path: Path) -> None:
    """Side by side, because each daemon tries for ten seconds before it gives up."""

    async def said(lonely: Gatewayd, word: str) -> None:
        async with FrontEnd(lonely.socket) as front:
            await front.until_status(lambda status: says(status, word), NOTICE_S)
        assert f'"problem": "{word}"' in lonely.process.output()

    with (
        stranger(tmp_path) as elsewhere,
        daemon(tmp_path / "a", site, "no-such-centre.invalid:443") as without_name,
        daemon(tmp_path / "b", site, elsewhere) as without_trust,
    ):
        await asyncio.gather(said(without_name, "dns"), said(without_trust, "tls"), killed_and_back(citizen))
