"""The package installed in a booted Debian 12, under the real service manager and PC/SC's own service.

One machine for all tests, which run in this order: a kiosk's life from its installation to its purge. What is installed
is what the sources say, byte for byte, without a drop-in. Only cards and centre are outside.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.installed import (
    CONFIG,
    FRONT_END,
    OPERATOR,
    OPERATORS_SOCKET,
    REFERENCE,
    SOCKET,
    STRANGER,
    InstalledKiosk,
    Spans,
    newer,
    package_in,
)
from tests.rig.nspawn import Machine, make_tree
from tests.rig.pcscd import DRIVER
from tests.rig.phone import reserve_from_file
from tests.rig.process import ROOT, wait_until
from tests.rig.secrecy import PASSWORD_LENGTH
from tests.rig.site import LOCKED, Site

pytestmark = pytest.mark.timeout(600)  # the first one makes the system and the package

UNITS = ROOT / "systemd"
UNIT, PATH_UNIT, RESTART_UNIT = "gatewayd.service", "gatewayd-pcscd-restart.path", "gatewayd-pcscd-restart.service"
INSTALLED = {
    "gatewayd.service": f"/usr/lib/systemd/system/{UNIT}",
    "gatewayd-pcscd-restart.path": f"/usr/lib/systemd/system/{PATH_UNIT}",
    "gatewayd-pcscd-restart.service": f"/usr/lib/systemd/system/{RESTART_UNIT}",
    "gatewayd.sysusers": "/usr/lib/sysusers.d/gatewayd.conf",
    "gatewayd.rules": "/usr/share/polkit-1/rules.d/50-gatewayd.rules",
    "gatewayd.toml": REFERENCE,
    "alerts/gatewayd.yml": "/usr/share/gatewayd/alerts/gatewayd.yml",
}
USER_PIN, PASSWORD = "1357", "PACKAGED7".ljust(PASSWORD_LENGTH, "X")
RESTART_AFTER_S = 1.0  # of a reader that is unusable, instead of a minute
WATCHDOG_S = 10.0  # of the unit
APDU_LIMIT_S = 10.0  # of the daemon
KEY, CREDENTIAL = "/etc/gatewayd/tls/kiosk.key", f"/run/credentials/{UNIT}/kiosk.key"
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
FORBIDDEN_CALLS = {"bpf", "chown", "init_module", "mount", "ptrace", "reboot", "setuid", "swapon"}
SCREEN = r"^## \d+\. The screen$.*?(?=^## )"  # which is not in this package
ACTIONS = ("org.debian.pcsc-lite.access_pcsc", "org.debian.pcsc-lite.access_card")
POLICY = """<?xml version="1.0"?>
<!DOCTYPE policyconfig PUBLIC "-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/PolicyKit/1/policyconfig.dtd">
<policyconfig>{}</policyconfig>"""
ACTION = """<action id="{}"><description>-</description><message>-</message><defaults><allow_any>no</allow_any>
<allow_inactive>no</allow_inactive><allow_active>yes</allow_active></defaults></action>"""


@pytest.fixture(scope="module")
def spans() -> Iterator[Spans]:
    measured = Spans([])
    yield measured
    print(f"\nwhere the time of the package's tests went:\n{measured.told()}")


@pytest.fixture(autouse=True)
def _measured(request: pytest.FixtureRequest, spans: Spans) -> Iterator[None]:
    with spans.span(request.node.name):
        yield


@pytest.fixture(scope="module")
def package(spans: Spans, package_folder: Path) -> Path:
    """The package."""
    with spans.span("make the tree and build the package twice, or wait for it"):
        return package_in(package_folder)


@pytest.fixture(scope="module")
def kiosk(package: Path, site: Site, spans: Spans) -> Iterator[InstalledKiosk]:
    """The machine, with all but the package."""
    with tempfile.TemporaryDirectory(prefix="k") as folder:
        directory = Path(folder)
        copy = site.copy(directory / "site")
        shown = {"/mnt/package": package.parent, "/mnt/driver": DRIVER.parent}
        machine = Machine(make_tree(), log=directory / "console.log", shown=shown)
        with spans.span("boot"):
            machine.start()
        prepared = InstalledKiosk(machine, copy, directory)
        try:
            with spans.span("centre, card, reader, users"):
                prepared.start()
            yield prepared
        finally:
            with spans.span("switch off"):
                prepared.close()
                machine.close()


@pytest.fixture
def machine(kiosk: InstalledKiosk) -> Machine:
    return kiosk.machine


def test_install(kiosk: InstalledKiosk, machine: Machine, package: Path) -> None:
    """Nothing is asked, nothing runs, nothing is missing; it waits for its configuration."""
    said = machine.run("dpkg", "--install", f"/mnt/package/{package.name}")
    assert REFERENCE in said
    assert machine.run("systemctl", "is-enabled", UNIT, PATH_UNIT).split() == ["enabled", "enabled"]
    assert machine.run("systemctl", "is-system-running").strip() == "running"
    assert kiosk.daemon == 0
    assert machine.run("find", "/etc/gatewayd", "!", "-type", "d") == ""
    for group in ("gatewayd-clients", "gatewayd-operators"):
        assert machine.run("getent", "group", group).strip().endswith(":")  # nobody is in it
    assert machine.run("getent", "passwd", "gatewayd").strip().endswith(":/usr/sbin/nologin")


def test_what_is_installed_is_what_the_sources_say(machine: Machine) -> None:
    for source, target in INSTALLED.items():
        assert machine.run("cat", target) == (UNITS / source).read_text(), target
    for unit in (UNIT, PATH_UNIT, RESTART_UNIT):
        assert machine.shown(unit, "FragmentPath").endswith(f"/{unit}")
        assert machine.shown(unit, "DropInPaths") == ""
        assert (machine.call("systemd-analyze", "verify", unit).stderr) == ""
    said = machine.run("systemd-analyze", "security", UNIT, "--no-pager")
    print(said.splitlines()[-1])
    assert machine.shown(UNIT, "StartLimitIntervalUSec") == "0"  # it is started again, however often it ended
    level = re.search(r"exposure level for .*: ([\d.]+)", said)
    assert level
    assert float(level[1]) <= 1.2
    amiss = machine.run("dpkg", "--verify", "gatewayd").splitlines()
    assert [line for line in amiss if "/usr/share/doc/" not in line] == []  # which this system does without


def test_it_holds_neither_simulator_nor_centre(machine: Machine) -> None:
    files = machine.run("dpkg", "--listfiles", "gatewayd")
    assert "/usr/lib/gatewayd/gatewayd/app.py" in files
    assert not re.search("cardsim|centrald/|jpki_phone|pytest|/tests", files)


def test_configured_it_starts(kiosk: InstalledKiosk, machine: Machine) -> None:
    kiosk.configure(pcscd_restart_after_s=RESTART_AFTER_S)
    machine.run("gatewayd", "--check")
    began = time.monotonic()
    machine.run("systemctl", "start", UNIT)
    print(f"systemctl start returns after {time.monotonic() - began:.2f} s")
    kiosk.wait_ready()
    assert machine.shown(UNIT, "StatusText") == "ready"
    (serving,) = (line for line in machine.journal(UNIT).splitlines() if '"serving"' in line)
    assert json.loads(serving)["socket"] == SOCKET


def test_what_the_page_says_can_be_typed(kiosk: InstalledKiosk, machine: Machine) -> None:
    """The commands of docs/INSTALL.md and docs/OPERATIONS.md for root; after them the doctor finds nothing wrong."""
    configured = machine.run("cat", CONFIG)
    for name in ("kiosk.pem", "server-ca.pem", "kiosk.key"):
        machine.write(f"/root/{name}", (kiosk.site.kiosk / name).read_text(), 0o600)
    page = (ROOT / "docs/INSTALL.md").read_text().replace("FRONT_END", FRONT_END).replace("OPERATOR", OPERATOR)
    page = re.sub(SCREEN, "", page, flags=re.MULTILINE | re.DOTALL)
    typed = re.findall(r"^(?:install|cp|usermod) .+$", page, flags=re.MULTILINE)
    assert len(typed) == 5
    for command in typed:
        machine.run("sh", "-c", f"cd /root && {command}")
    assert machine.run("cat", CONFIG) == machine.run("cat", REFERENCE)
    machine.write(CONFIG, configured)
    pages = page + (ROOT / "docs/OPERATIONS.md").read_text()
    daily = re.findall(r"^(?:systemctl|journalctl|gatewayd) .+$", pages, flags=re.MULTILINE)
    assert {"systemctl stop gatewayd", "systemctl restart gatewayd", "gatewayd --check"} <= set(daily)
    for command in daily:
        machine.run("sh", "-c", command)
    kiosk.wait_ready()
    done = machine.call("gatewayctl", "doctor", "--json")
    findings = json.loads(done.stdout)["findings"]
    assert [finding for finding in findings if finding["verdict"] != "ok"] == []
    assert done.returncode == 0
    for user, let in ((FRONT_END, True), (OPERATOR, True), (STRANGER, False)):
        assert (machine.call("gatewayctl", "status", user=user).returncode == 0) == let
    unseen = json.loads(machine.call("gatewayctl", "doctor", "--json", user=STRANGER).stdout)["findings"]
    assert {"unknown", "ok"} >= {finding["verdict"] for finding in unseen}, unseen


def test_the_doctor_finds_that_it_is_stopped(kiosk: InstalledKiosk, machine: Machine) -> None:
    """And nothing else: the key, which is a credential then, is found where that is made of it."""
    machine.run("systemctl", "stop", UNIT)
    said = machine.call("gatewayctl", "doctor", "--json").stdout
    machine.run("systemctl", "start", UNIT)
    amiss = {finding["check"] for finding in json.loads(said)["findings"] if finding["verdict"] != "ok"}
    assert amiss == {"daemon", "sockets"}, said
    kiosk.wait_ready()


def test_the_sandbox_holds(kiosk: InstalledKiosk, machine: Machine) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in machine.run("cat", f"/proc/{kiosk.daemon}/status").splitlines()
        if ":\t" in line
    )
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    user = machine.run("id", "--user", "gatewayd").strip()
    clients = machine.run("getent", "group", "gatewayd-clients").split(":")[2]
    assert set(status["Uid"].split()) == {user}
    assert set(status["Gid"].split()) | set(status["Groups"].split()) == {clients}
    assert machine.shown(UNIT, "MemorySwapMax") == "0"
    calls = set(machine.shown(UNIT, "SystemCallFilter").split())
    assert {"read", "futex"} <= calls
    assert not calls & FORBIDDEN_CALLS
    limits = machine.run("cat", f"/proc/{kiosk.daemon}/limits")
    assert re.search(r"^Max core file size\s+0\s+0\s", limits, flags=re.MULTILINE)
    stats = machine.run("stat", "--format=%a %U %G %n", SOCKET, OPERATORS_SOCKET, "/run/gatewayd", "/var/lib/gatewayd")
    assert stats.splitlines() == [
        f"660 gatewayd gatewayd-clients {SOCKET}",
        f"660 gatewayd gatewayd-operators {OPERATORS_SOCKET}",
        "711 gatewayd gatewayd-clients /run/gatewayd",
        "700 gatewayd gatewayd-clients /var/lib/gatewayd",
    ]
    written = machine.run("find", "/", "-xdev", "-user", "gatewayd", "!", "-path", "/proc/*", "!", "-path", "/run/*")
    assert {path.rpartition("/")[0] for path in written.split()} <= {"/var/lib", "/var/lib/gatewayd"}


@pytest.mark.parametrize(
    ("user", "socket", "let"),
    [
        (FRONT_END, SOCKET, True),
        (FRONT_END, OPERATORS_SOCKET, False),
        (OPERATOR, OPERATORS_SOCKET, True),
        (OPERATOR, SOCKET, False),
        (STRANGER, SOCKET, False),
        (STRANGER, OPERATORS_SOCKET, False),
    ],
)
def test_each_socket_is_for_its_group(machine: Machine, user: str, socket: str, *, let: bool) -> None:
    done = machine.call("python3", "-c", CONNECT, socket, user=user)
    assert (done.returncode == 0) == let, done.stderr
    assert let or "PermissionError" in done.stderr


@pytest.mark.parametrize("user", [FRONT_END, OPERATOR, STRANGER])
def test_key_and_journal_are_unreadable_to_others(machine: Machine, user: str) -> None:
    for path in (KEY, CREDENTIAL, "/var/lib/gatewayd/journal.db"):
        assert machine.exists(path)
        assert "Permission denied" in machine.call("cat", path, user=user).stderr


def test_the_daemon_itself_reads_the_credential_and_not_the_file(machine: Machine) -> None:
    assert "Permission denied" in machine.call("cat", KEY, user="gatewayd").stderr
    assert machine.run("stat", "--format=%a", CREDENTIAL).strip() in ("400", "440")
    assert machine.run("cat", CREDENTIAL) == machine.run("cat", KEY)


def test_a_whole_reset_by_the_front_end(kiosk: InstalledKiosk) -> None:
    card, cardsim = LOCKED, kiosk.cardsim
    reserve_from_file(kiosk.site.card(card), kiosk.centrald.phone_address, kiosk.centrald.authority)
    before = cardsim.show(card)["references"]
    cardsim.insert(card)
    with kiosk.attempt(USER_PIN, PASSWORD, PASSWORD) as attempt:
        wait_until(lambda: "STATE_REMOVE_CARD" in attempt.output() or not attempt.running, 30, "the card to be taken")
        cardsim.remove()
        assert attempt.wait() == 0, attempt.output()
    after = cardsim.show(card)["references"]
    assert after["signing_password"]["value"] == PASSWORD
    assert after["signing_password"]["tries"] == after["signing_password"]["limit"]
    assert {name for name in before if before[name] != after[name]} == {"signing_password"}
    assert PASSWORD not in kiosk.machine.run("journalctl", "--no-pager", "--output", "export")


def test_an_operator_sees_the_attempt(kiosk: InstalledKiosk, machine: Machine) -> None:
    assert outcomes(kiosk) == ["OUTCOME_DONE"]
    assert machine.call("gatewayctl", "attempts", user=FRONT_END).returncode != 0


def test_reload_takes_the_level_and_the_certificate(kiosk: InstalledKiosk, machine: Machine) -> None:
    daemon, before = kiosk.daemon, kiosk.log_length()
    text = machine.run("cat", CONFIG)
    kiosk.set_keys(text, level="debug", pcscd_restart_request="")
    chain = (kiosk.site.kiosk / "kiosk.pem").read_text() + (kiosk.site.central / "tls/kiosk-ca.pem").read_text()
    machine.write("/etc/gatewayd/tls/kiosk.pem", chain)
    machine.run("systemctl", "reload", UNIT)
    told = json.loads(kiosk.wait_log("configuration reloaded", after=before))
    assert told["log_level"] == "debug"
    assert told["waiting_for_restart"] == ["reader.pcscd_restart_request"]
    kiosk.wait_log("certificates renewed", after=before)
    machine.write(CONFIG, text)
    machine.run("systemctl", "reload", UNIT)
    assert kiosk.daemon == daemon


def test_a_bad_configuration_fails_the_reload_and_not_the_daemon(kiosk: InstalledKiosk, machine: Machine) -> None:
    daemon, text = kiosk.daemon, machine.run("cat", CONFIG)
    machine.write(CONFIG, text + "\n[nonsense]\n")
    assert machine.call("systemctl", "reload", UNIT).returncode != 0
    machine.write(CONFIG, text)
    assert kiosk.daemon == daemon
    machine.run("systemctl", "reload", UNIT)
    kiosk.wait_ready()


def test_a_frozen_daemon_is_started_anew(kiosk: InstalledKiosk, machine: Machine) -> None:
    daemon = kiosk.daemon
    machine.run("sh", "-c", f"kill -STOP {daemon}")
    began = time.monotonic()
    wait_until(lambda: kiosk.daemon not in (0, daemon), 2 * WATCHDOG_S, "a new daemon")
    kiosk.wait_ready()
    print(f"ready {time.monotonic() - began:.1f} s after it froze")
    assert int(machine.shown(UNIT, "NRestarts")) == 1
    assert "Watchdog timeout" in machine.run("journalctl", "--unit", UNIT, "--no-pager")
    assert outcomes(kiosk) == ["OUTCOME_DONE"]  # the journal has outlived it


def test_a_mute_card_gets_pcscd_restarted_and_the_daemon_lives_on(kiosk: InstalledKiosk, machine: Machine) -> None:
    daemon, pcscd, before = kiosk.daemon, machine.shown("pcscd.service", "MainPID"), kiosk.log_length()
    assert pcscd != "0"
    with kiosk.cardsim.held("select"):
        kiosk.cardsim.insert(LOCKED)
        with kiosk.attempt() as attempt:
            kiosk.wait_log("asked for a restart of pcscd", after=before)
            wait_until(lambda: machine.shown("pcscd.service", "MainPID") not in ("0", pcscd), 20, "another pcscd")
            wait_until(lambda: "REASON_CARD_UNREADABLE" in attempt.output(), APDU_LIMIT_S, "the attempt's reason")
            assert kiosk.daemon == daemon
            kiosk.cardsim.remove()
            attempt.wait()
    kiosk.wait_ready()
    assert kiosk.daemon == daemon
    assert not machine.exists("/run/gatewayd/restart-pcscd")
    assert machine.shown(RESTART_UNIT, "ActiveState") == "activating"  # for a minute it answers no other request


def test_polkit_lets_the_daemon_use_pcscd_and_nobody_else(kiosk: InstalledKiosk, machine: Machine) -> None:
    """As with a pcscd that asks polkit; Debian 12's does not, and has no such actions."""
    machine.write(
        "/usr/share/polkit-1/actions/pcsc.policy", POLICY.format("".join(ACTION.format(name) for name in ACTIONS))
    )
    machine.run("systemctl", "start", "polkit.service")
    machine.run("systemd-run", "--unit=other", f"--uid={STRANGER}", "sleep", "60")
    for action in ACTIONS:
        for process, let in ((kiosk.daemon, True), (int(machine.shown("other.service", "MainPID")), False)):
            done = machine.call("pkcheck", "--action-id", action, "--process", str(process))
            assert (done.returncode == 0) == let, (action, let, done.stderr)
    machine.run("systemctl", "stop", "other.service")


def test_upgrade_keeps_the_journal(kiosk: InstalledKiosk, machine: Machine, package: Path) -> None:
    daemon = kiosk.daemon
    attempts = outcomes(kiosk)
    upgrade = newer(package, "0.1.0+later", package.parent / "newer")
    said = machine.run("dpkg", "--install", f"/mnt/package/newer/{upgrade.name}")
    assert "Unpacking gatewayd (0.1.0+later) over" in said
    assert kiosk.daemon not in (0, daemon)
    kiosk.wait_ready()
    assert outcomes(kiosk) == attempts


def test_remove_keeps_the_journal_and_what_the_operator_made(kiosk: InstalledKiosk, machine: Machine) -> None:
    machine.run("dpkg", "--remove", "gatewayd")
    assert not machine.exists("/usr/lib/gatewayd")
    assert not machine.exists("/run/gatewayd")
    assert machine.exists("/var/lib/gatewayd/journal.db")
    assert machine.exists(CONFIG)
    assert machine.exists(KEY)
    assert machine.call("systemctl", "start", UNIT).returncode != 0


def test_installed_again_it_goes_on(kiosk: InstalledKiosk, machine: Machine, package: Path) -> None:
    machine.run("dpkg", "--install", f"/mnt/package/{package.name}")
    kiosk.wait_ready()
    assert outcomes(kiosk)[-1] == "OUTCOME_DONE"


def test_purge_leaves_nothing(machine: Machine) -> None:
    machine.run("dpkg", "--purge", "gatewayd")
    left = machine.run("find", "/", "-xdev", "-name", "*gatewayd*", "!", "-path", "/proc/*")
    # the manager's own account of it, and the logs
    assert [path for path in left.split() if not path.startswith(("/sys/", "/run/log/", "/var/log/"))] == []
    assert machine.call("systemctl", "list-unit-files", "--no-legend", "gatewayd*").stdout == ""


def outcomes(kiosk: InstalledKiosk) -> list[str]:
    """Return the outcomes of the journal's attempts as an operator is told, newest first."""
    said = kiosk.machine.run("gatewayctl", "attempts", "--json", user=OPERATOR)
    return [str(json.loads(line)["attempt"]["outcome"]) for line in said.splitlines()]
