"""`gatewayctl doctor` on the whole stack: all well, and each trouble by a real cause. No card is ever spoken to."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import grp
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path

import grpc
import msgspec
import pytest
from jpkireset.central.v1.kiosk_service_pb2 import GetServiceStatusRequest, GetServiceStatusResponse
from jpkireset.central.v1.kiosk_service_pb2_grpc import KioskServiceServicer, add_KioskServiceServicer_to_server

from gatewayctl.doctor import betrayal, centre, daemon, evidence, pcsc, sockets, storage, way
from gatewayctl.doctor.evidence import Evidence
from gatewayctl.doctor.examination import CHECKS
from gatewayctl.doctor.finding import Finding, Report, Verdict
from gatewayctl.exits import ExitCode
from tests.fakes.pki import Pki, make_pki
from tests.rig import holder
from tests.rig.citizen import Citizen
from tests.rig.doubt import given_up, torn_write
from tests.rig.front_end import ENTER_USER_PIN, FrontEnd
from tests.rig.opensc import OpenSC
from tests.rig.parts import CardSimulator, toml
from tests.rig.pcscd import KIOSK, PrivatePcscd
from tests.rig.process import BIN, Process, run, wait_until
from tests.rig.site import CHAIN, STORE, Site
from tests.rig.stack import Stack

NOBODY = "65534"
USER_PIN = "1357"
SECONDS = 30.0
LISTEN = """
import signal
from smartcard.scard import SCARD_SCOPE_SYSTEM, SCardEstablishContext
print('{"event": "listening", "code": %d}' % SCardEstablishContext(SCARD_SCOPE_SYSTEM)[0], flush=True)
signal.pause()
"""

SILENT_NAME_SERVER = """
import datetime, fcntl, json, pathlib, socket, struct, subprocess, sys
servers, config = sys.argv[1:]
subprocess.run(["mount", "--bind", servers, "/etc/resolv.conf"], check=True)
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(silent, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
silent.bind(("127.0.0.1", 53))
from gatewayctl.doctor import centre, evidence, way
way.STEP_S = 0.3
found = centre.centre(evidence.Evidence(pathlib.Path(config), datetime.datetime.now(datetime.UTC)))
print(json.dumps(found.facts))
"""
RESOLVER_S = 10.0  # resolv.conf(5): two tries of 5 s

Look = Callable[[Callable[[Evidence], Finding]], Finding]


@pytest.fixture(scope="module")
def kiosk(shared_stack: Stack) -> Stack:
    """The stack, its sockets given to a group, as in a shop."""
    group = grp.getgrgid(os.getegid()).gr_name
    shared_stack.gatewayd.stop()
    text = shared_stack.gatewayd.config.read_text()
    for section in ("api", "operators"):
        text = text.replace(f"[{section}]", f'[{section}]\ngroup = "{group}"')
    shared_stack.gatewayd.config.write_text(text)
    shared_stack.gatewayd.start()
    return shared_stack


@pytest.fixture
def look(kiosk: Stack, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Let one check look at the stack."""
    for name, value in kiosk.environment.items():
        monkeypatch.setenv(name, value)
    return lambda check: check(seen(kiosk))


async def card_seen(kiosk: Stack) -> None:
    """Wait until pcscd has seen the card that was placed."""
    async with FrontEnd(kiosk.gatewayd.socket) as front:
        await front.until_status(lambda status: status.card_present)


def seen(kiosk: Stack) -> Evidence:
    """What there is to see now."""
    return Evidence(kiosk.gatewayd.config, datetime.datetime.now(datetime.UTC))


def doctor(kiosk: Stack, prefix: Sequence[str] = (), config: Path | None = None) -> tuple[Report, int]:
    """Run the command as it is typed."""
    command = [*prefix, str(BIN / "gatewayctl"), "doctor", "--json", "--config", str(config or kiosk.gatewayd.config)]
    env = {**os.environ, **kiosk.environment}
    done = subprocess.run(command, env=env, capture_output=True, timeout=SECONDS, check=False)
    return msgspec.json.decode(done.stdout, type=Report, strict=True), done.returncode


@contextlib.contextmanager
def configured(kiosk: Stack, **changes: str) -> Iterator[None]:
    """Have other texts in the configuration file while the daemon goes on."""
    config = kiosk.gatewayd.config
    before = config.read_text()
    text = before
    for key, value in changes.items():
        lines = [f"{key} = {json.dumps(value)}" if line.startswith(f"{key} = ") else line for line in text.splitlines()]
        text = "\n".join(lines)
    assert text != before
    config.write_text(text)
    try:
        yield
    finally:
        config.write_text(before)


# --- the whole of it --------------------------------------------------------------------------------------------------


def test_all_is_well_and_no_card_is_spoken_to(kiosk: Stack) -> None:
    kiosk.cardsim.insert("locked", "phone")
    begun = kiosk.cardsim.position()
    report, code = doctor(kiosk)
    assert [finding.check for finding in report.findings] == list(CHECKS)
    assert [finding for finding in report.findings if finding.verdict is not Verdict.OK] == []
    assert (report.worst, code) == (Verdict.OK, ExitCode.DONE)
    assert all(finding.remedy == "" for finding in report.findings)
    assert kiosk.cardsim.commands(begun) == []
    kiosk.cardsim.remove("phone")


def test_words_for_people(kiosk: Stack) -> None:
    done = subprocess.run(
        [BIN / "gatewayctl", "doctor", "--config", kiosk.gatewayd.config],
        env={**os.environ, **kiosk.environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert "ok       centre: The centre serves this kiosk." in lines
    assert lines[-1] == f"{len(CHECKS)} ok"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_what_he_could_not_see(kiosk: Stack, tmp_path: Path) -> None:
    as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
    if subprocess.run([*as_nobody, "test", "-x", BIN / "gatewayctl"], timeout=SECONDS, check=False).returncode:
        pytest.skip("this checkout is nobody else's; the booted package tries it, too")
    report, code = doctor(kiosk, as_nobody)
    assert {finding.check: finding.verdict for finding in report.findings}["configuration"] is Verdict.UNKNOWN
    assert code in (ExitCode.UNSEEN, ExitCode.FAILED)
    assert report.uid == int(NOBODY)


@pytest.mark.usefixtures("look")
def test_without_the_daemon(kiosk: Stack) -> None:
    """A card lies on its reader, which nobody holds now; nor does the doctor."""
    kiosk.gatewayd.stop()
    kiosk.cardsim.insert("locked", "kiosk")
    reader = kiosk.environment["KIOSK_READER"]
    wait_until(lambda: seen(kiosk).pcsc.readers[reader].card, SECONDS, "a card at the kiosk")
    begun = kiosk.cardsim.position()
    report, code = doctor(kiosk)
    assert kiosk.cardsim.commands(begun) == []
    kiosk.cardsim.remove("kiosk")
    kiosk.gatewayd.start()
    failed = [finding.check for finding in report.findings if finding.verdict is not Verdict.OK]
    assert (failed, code) == (["daemon", "sockets"], ExitCode.FAILED)


# --- the daemon and its sockets ---------------------------------------------------------------------------------------


def test_a_frozen_daemon(kiosk: Stack, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "STATUS_S", 0.3)
    kiosk.gatewayd.process.signal(signal.SIGSTOP)
    try:
        found = look(daemon.daemon)
    finally:
        kiosk.gatewayd.process.signal(signal.SIGCONT)
    assert (found.verdict, "runs and does not answer" in found.summary) == (Verdict.FAIL, True)


def test_a_daemon_that_is_not_ready(kiosk: Stack, look: Look) -> None:
    kiosk.cardsim.insert("locked", "kiosk")
    asyncio.run(card_seen(kiosk))
    kiosk.gatewayd.restart()

    def left_behind() -> bool:
        found = look(daemon.daemon)
        return (found.verdict, found.facts["problems"]) == (Verdict.WARN, ["READINESS_PROBLEM_CARD_LEFT_BEHIND"])

    wait_until(left_behind, SECONDS, "a card left behind")
    assert look(pcsc.service).verdict is Verdict.OK
    kiosk.cardsim.remove("kiosk")
    wait_until(lambda: look(daemon.daemon).verdict is Verdict.OK, SECONDS, "a daemon that is ready again")


def test_a_daemon_that_a_library_listens_to(kiosk: Stack, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    kiosk.gatewayd.stop()
    with monkeypatch.context() as spied:
        spied.setenv("LIBPCSCLITE_DELEGATE", "/nowhere/libpcscspy.so")
        kiosk.gatewayd.start()
    found = look(betrayal.debug_modes)
    kiosk.gatewayd.stop()
    kiosk.gatewayd.start()
    assert (found.verdict, "LIBPCSCLITE_DELEGATE" in found.summary) == (Verdict.FAIL, True)
    assert look(betrayal.debug_modes).verdict is Verdict.OK


@pytest.mark.parametrize(("mode", "said"), [(0o666, "Every user"), (0o600, "and not"), (0o600, "0660")])
def test_a_socket_of_another_mode(kiosk: Stack, look: Look, mode: int, said: str) -> None:
    kiosk.gatewayd.socket.chmod(mode)
    found = look(sockets.sockets)
    kiosk.gatewayd.socket.chmod(0o660)
    assert (found.verdict, said in found.summary) == (Verdict.FAIL, True)
    assert look(sockets.sockets).verdict is Verdict.OK


def test_a_folder_in_which_anybody_may_put_a_socket(kiosk: Stack, look: Look) -> None:
    folder = kiosk.gatewayd.socket.parent
    folder.chmod(0o777)
    found = look(sockets.sockets)
    folder.chmod(0o700)
    assert (found.verdict, "a socket of their own" in found.summary) == (Verdict.FAIL, True)


def test_groups_that_do_not_fit(kiosk: Stack, look: Look) -> None:
    with configured(kiosk, group="no-such-group"):
        assert "no group no-such-group" in look(sockets.sockets).summary
    with configured(kiosk, group=""):
        found = look(sockets.sockets)
    assert (found.verdict, "no configuration says" in found.summary) == (Verdict.FAIL, True)


def test_what_a_killed_daemon_leaves(kiosk: Stack, look: Look) -> None:
    kiosk.gatewayd.kill()
    found = look(sockets.sockets)
    kiosk.gatewayd.start()
    assert (found.verdict, "Nobody serves" in found.summary) == (Verdict.FAIL, True)


# --- PC/SC ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "said"), [("Elsewhere", "No reader is called"), ("Kiosk", "2 readers are called")])
def test_a_reader_that_is_not_the_one(kiosk: Stack, look: Look, name: str, said: str) -> None:
    with configured(kiosk, name=name):
        found = look(pcsc.service)
    assert (found.verdict, said in found.summary) == (Verdict.FAIL, True)
    assert "Phone 00 00" in found.summary


def test_another_program_has_the_reader(kiosk: Stack, look: Look, tmp_path: Path) -> None:
    kiosk.cardsim.insert("locked", "kiosk")
    reader = kiosk.environment["KIOSK_READER"]
    wait_until(lambda: seen(kiosk).pcsc.readers[reader].card, SECONDS, "a card that pcscd has seen")
    command = [sys.executable, holder.__file__, reader]
    with Process("holder", command, log=tmp_path / "holder.log", env=kiosk.pcscd.environment) as stranger:
        stranger.wait_for_event(holder.HOLDING)
        found = look(pcsc.holder)
        assert found.verdict is Verdict.FAIL
        assert f"({stranger.pid})" in found.summary
    kiosk.cardsim.remove("kiosk")


def test_another_program_speaks_to_pcscd(kiosk: Stack, look: Look, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LISTEN]
    env = kiosk.pcscd.environment
    with Process("listener", command, log=tmp_path / "log", env=env) as stranger:
        stranger.wait_for_event("listening")
        found = look(pcsc.holder)
        assert found.verdict is Verdict.WARN
        assert f"({stranger.pid})" in found.summary
        report, code = doctor(kiosk)
        amiss = [(finding.check, finding.verdict) for finding in report.findings if finding.verdict is not Verdict.OK]
        assert (amiss, report.worst, code) == ([(found.check, Verdict.WARN)], Verdict.WARN, ExitCode.WARNED)
    assert look(pcsc.holder).verdict is Verdict.OK


async def test_a_lock_that_is_held_too_long(citizen: Citizen, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = await citizen.agree()
    with citizen.stack.cardsim.held("SELECT"):
        citizen.place()
        wait_until(lambda: look(pcsc.holder).facts["lock_age_seconds"], SECONDS, "the daemon has the card")
        assert look(pcsc.holder).summary == "gatewayd has the reader."
        monkeypatch.setattr(pcsc, "STUCK_LOCK_S", 0.0)
        found = look(pcsc.holder)
        assert (found.verdict, "longer than any job lasts" in found.summary) == (Verdict.FAIL, True)
    await attempt.until(ENTER_USER_PIN)
    await attempt.cancel()
    await citizen.leave(attempt)


def test_pcscd_hangs_or_is_gone(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "PROBE_S", 0.7)
    with PrivatePcscd() as service:
        monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(service.csock))
        service.kill(signal.SIGSTOP)
        assert "does not answer" in look(pcsc.service).summary
        service.kill(signal.SIGCONT)
        (service.directory / "pcscd").unlink()
        found = look(pcsc.versions)
        assert (found.verdict, "still runs as it was" in found.summary) == (Verdict.WARN, True)
        service.stop()
        monkeypatch.setattr(evidence, "PROBE_S", 5.0)
        found = look(pcsc.service)
    assert (found.verdict, "no_service" in found.summary) == (Verdict.FAIL, True)


@pytest.mark.parametrize(
    ("argument", "verdict", "betrays"), [("--apdu", Verdict.FAIL, True), ("--debug", Verdict.WARN, False)]
)
def test_pcscd_in_a_debug_mode(
    look: Look,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argument: str,
    verdict: Verdict,
    betrays: bool,
) -> None:
    """And what the doctor is afraid of is true: the PIN of a VERIFY stands in pcscd's log."""
    with PrivatePcscd([KIOSK], arguments=[argument]) as service:
        monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(service.csock))
        found = look(betrayal.debug_modes)
        card = site.copy(tmp_path / "site").card("locked")
        control, ledger, log = service.directory / "cardsim.sock", tmp_path / "ledger.jsonl", tmp_path / "cardsim.log"
        with CardSimulator([card], service.readers, control=control, ledger=ledger, log=log) as simulator:
            simulator.insert("locked", "kiosk")
            opensc = OpenSC(tmp_path / "opensc", service.environment)
            opensc.tool("pkcs15-tool", "--verify-pin", "--auth-id", "01", "--pin", USER_PIN)
        assert (USER_PIN.encode().hex(" ") in service.log.read_text()) is betrays
    assert (found.verdict, argument in found.summary) == (verdict, True)


# --- the centre -------------------------------------------------------------------------------------------------------


def test_where_the_way_to_the_centre_ends(
    kiosk: Stack, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def word(**changes: str) -> object:
        with configured(kiosk, **changes):
            found = look(centre.centre)
        assert found.verdict is Verdict.FAIL
        assert "{" not in found.summary
        return found.facts["word"]

    stranger = make_pki(tmp_path)
    stranger.kiosk_key.chmod(0o600)
    assert word(address="no-such-host.invalid:443") == "dns"
    assert word(address="127.0.0.1:9") == "refused"
    assert word(authority=str(stranger.authority)) == "tls"
    assert word(certificate=str(stranger.kiosk), key=str(stranger.kiosk_key)) == "not_accepted"
    assert word(address=kiosk.centrald.phone_address) == "unavailable", "no such service on that listener"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(way, "STEP_S", 0.3)
        assert word(address=f"127.0.0.1:{silent.getsockname()[1]}") == "deadline"
    with configured(kiosk, authority=str(tmp_path / "nothing.pem")):
        assert look(centre.centre).verdict is Verdict.UNKNOWN


def test_a_name_server_that_is_silent_is_not_waited_for(tmp_path: Path) -> None:
    """In a network of its own, whose name server takes every question; the program ends in time, too."""
    pki = make_pki(tmp_path)
    central = {
        "address": "centre.example:443",
        "certificate": pki.kiosk,
        "key": pki.kiosk_key,
        "authority": pki.authority,
    }
    config, servers = tmp_path / "gatewayd.toml", tmp_path / "resolv.conf"
    config.write_text(toml({"reader": {"name": "Kiosk"}, "central": central}))
    servers.write_text("nameserver 127.0.0.1\n")
    command = [
        "unshare",
        "--map-root-user",
        "--mount",
        "--net",
        sys.executable,
        "-c",
        SILENT_NAME_SERVER,
        servers,
        config,
    ]
    begun = time.monotonic()
    said = run([str(word) for word in command])
    assert (json.loads(said)["word"], json.loads(said)["detail"]) == ("dns", "the name server does not answer")
    assert time.monotonic() - begun < RESOLVER_S, "the resolver itself would have waited longer"


def test_a_kiosk_that_is_not_enabled(kiosk: Stack, look: Look) -> None:
    def tell(*words: str) -> None:
        run([BIN / "centrald", *words, "--directory", kiosk.site.central])

    tell("store", "disable", f"{CHAIN}/{STORE}")
    found = look(centre.centre)
    tell("store", "enable", f"{CHAIN}/{STORE}")
    assert (found.verdict, found.facts["word"]) == (Verdict.FAIL, "not_enabled")
    assert look(centre.centre).verdict is Verdict.OK


class OtherTime(KioskServiceServicer):
    """A centre whose clock is another."""

    ahead_s = 0.0

    def GetServiceStatus(  # noqa: N802 - the contract's name
        self, request: GetServiceStatusRequest, context: grpc.ServicerContext
    ) -> GetServiceStatusResponse:
        answer = GetServiceStatusResponse()
        answer.now.FromDatetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.ahead_s))
        return answer


@contextlib.contextmanager
def centre_of(pki: Pki, servicer: OtherTime) -> Iterator[str]:
    """Serve over mutual TLS; yields the address."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_KioskServiceServicer_to_server(servicer, server)
    pair = (pki.server_key.read_bytes(), pki.server.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], pki.authority.read_bytes(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait(SECONDS)


def test_clocks(tmp_path: Path) -> None:
    pki = make_pki(tmp_path)
    servicer = OtherTime()  # type: ignore[abstract]  # it is asked one thing only
    config = tmp_path / "gatewayd.toml"
    with centre_of(pki, servicer) as address:
        central = {"address": address, "certificate": pki.kiosk, "key": pki.kiosk_key, "authority": pki.authority}
        config.write_text(toml({"reader": {"name": "Kiosk"}, "central": central}))

        def found() -> Finding:
            return centre.clock(Evidence(config, datetime.datetime.now(datetime.UTC)))

        assert found().verdict is Verdict.OK
        servicer.ahead_s = 30
        assert (found().verdict, "behind" in found().summary) == (Verdict.WARN, True)
        servicer.ahead_s = -600
        assert (found().verdict, "ahead of" in found().summary) == (Verdict.FAIL, True)
    assert found().verdict is Verdict.UNKNOWN


def test_the_clock_as_the_daemon_last_heard_it(kiosk: Stack, look: Look) -> None:
    with configured(kiosk, address="127.0.0.1:9"):
        found = look(centre.clock)
    assert (found.verdict, found.facts["source"]) == (Verdict.OK, "as the daemon last heard")


# --- the journal ------------------------------------------------------------------------------------------------------


def test_the_journal_in_use(kiosk: Stack, look: Look) -> None:
    assert look(storage.journal).verdict is Verdict.OK
    hidden = kiosk.gatewayd.journal.with_suffix(".hidden")
    kiosk.gatewayd.journal.rename(hidden)
    found = look(storage.journal)
    hidden.rename(kiosk.gatewayd.journal)
    assert (found.verdict, "under the daemon" in found.summary) == (Verdict.FAIL, True)


async def test_an_unresolved_attempt(citizen: Citizen, look: Look, new_password: str) -> None:
    await given_up(citizen, await torn_write(citizen, new_password))
    citizen.stack.gatewayd.restart()  # it counts when it asks the centre, now and then once a minute
    await citizen.front.until_status(lambda status: status.unresolved_attempts == 1)
    found = look(daemon.daemon)
    assert (found.verdict, "unresolved" in found.summary) == (Verdict.WARN, True)
    assert look(storage.journal).facts["unresolved"] == 1
