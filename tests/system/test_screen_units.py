"""The kiosk's screen in a booted Debian 12: both its units, byte for byte, with a real Chromium in their confinement.

One machine for all tests, which run in this order. The daemon of the package runs beside them. Of the panel's unit only
what names the panel is changed, by a drop-in: there is no graphics card in a throw-away system.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.installed import OPERATORS_SOCKET, SOCKET, InstalledKiosk, package_in
from tests.rig.nspawn import Machine
from tests.rig.pcscd import DRIVER
from tests.rig.process import RigError, wait_until
from tests.rig.screen_installed import (
    FOLDER,
    PROFILE,
    RUNTIME,
    SCREEN,
    SCREEN_USER,
    SEAT,
    SERVER,
    SERVER_USER,
    InstalledScreen,
    machine_with_a_panel,
    typed_commands,
)
from tests.rig.site import Site

pytestmark = pytest.mark.timeout(600)  # the first one may make the system and the package

SECONDS = 30.0
BROWSER, RENDERER = "/usr/lib/chromium/chromium ", "--type=renderer "
# Machines that share a network see each other's connections to a socket of the same name, and so does the doctor of the
# package's tests, which may run at the same time: so pcscd is not where the daemon looks, which has no reader then.
PCSCD_SOCKET = "/run/pcscd/elsewhere.comm"
PCSCD_ELSEWHERE = f"[Socket]\nListenStream=\nListenStream={PCSCD_SOCKET}\n"
NO_CAPABILITY = "0" * 16
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
# The kernel says EPERM of a datagram that a unit's filter of addresses drops, before it leaves.
SEND = "import socket, sys; socket.socket(type=socket.SOCK_DGRAM).sendto(b'-', (sys.argv[1], 9))"
NEAR, FAR = "127.0.0.1", "192.0.2.1"  # RFC 5737: documentation
FORBIDDEN_CALLS = {"ptrace", "init_module", "perf_event_open", "settimeofday", "swapon", "reboot", "iopl"}


@pytest.fixture(scope="module")
def screen(package_folder: Path, site: Site) -> Iterator[InstalledScreen]:
    """The machine with the package's daemon running, and all but the screen."""
    package = package_in(package_folder)
    with tempfile.TemporaryDirectory(prefix="k") as folder:
        directory = Path(folder)
        machine = machine_with_a_panel(directory, {"/mnt/package": package.parent, "/mnt/driver": DRIVER.parent})
        kiosk = InstalledKiosk(machine, site.copy(directory / "site"), directory)
        with machine:
            try:
                kiosk.start()
                machine.run("dpkg", "--install", f"/mnt/package/{package.name}")
                kiosk.configure()
                machine.run("mkdir", "/run/systemd/system/pcscd.socket.d")
                machine.write("/run/systemd/system/pcscd.socket.d/elsewhere.conf", PCSCD_ELSEWHERE)
                machine.run("systemctl", "daemon-reload")
                machine.run("systemctl", "restart", "pcscd.socket")
                machine.run("systemctl", "start", "gatewayd.service")
                yield InstalledScreen(machine)
            finally:
                kiosk.close()


@pytest.fixture
def machine(screen: InstalledScreen) -> Machine:
    return screen.machine


@pytest.fixture
def browser(screen: InstalledScreen) -> int:
    """The process of the browser that is running; what it forks looks the same for a moment."""
    processes = screen.processes(SCREEN).items()
    return min(process for process, words in processes if f"{BROWSER}--" in words and "--type=" not in words)


def test_what_the_page_says_installs_and_starts_it(screen: InstalledScreen, machine: Machine) -> None:
    named = " ".join(typed_commands())
    assert [file.name for file in FOLDER.iterdir() if f"kiosk/{file.name} " not in named] == []
    screen.give_a_panel()
    said = screen.install()
    assert [line for line in said.splitlines() if not line.startswith(("Creating ", "Created symlink "))] == []
    for unit in (SERVER, SCREEN):
        assert machine.run("cat", machine.shown(unit, "FragmentPath")) == (FOLDER / unit).read_text()
        assert machine.call("systemd-analyze", "verify", unit).stderr == ""
    assert machine.shown(SERVER, "DropInPaths") == ""
    assert machine.run("id", "--name", "--groups", SERVER_USER).split() == [SERVER_USER, "gatewayd-clients"]
    groups = machine.run("id", "--name", "--groups", SCREEN_USER).split()
    assert set(groups) == {SCREEN_USER, "video", "render", "audio"}


def test_the_browser_draws_the_page(screen: InstalledScreen, machine: Machine) -> None:
    screen.wait_page(0)
    code, document = screen.asked()
    assert (code, 'data-name="page_in_use"' in document) == (409, True)  # the browser has it, and beats
    assert machine.shown(SCREEN, "NRestarts") == machine.shown(SERVER, "NRestarts") == "0"
    assert "daemon lost" not in machine.journal(SERVER)


def test_the_seat_is_opened_for_the_compositor(machine: Machine) -> None:
    wait_until(lambda: re.search(r"Opened client \d on seat0", machine.journal(SEAT)), SECONDS, "the seat")


def test_the_servers_confinement_holds(screen: InstalledScreen, machine: Machine) -> None:
    (server,) = screen.processes(SERVER)
    confined(screen, machine, server, SERVER_USER)
    assert machine.run("stat", "--format=%a %U", "/var/lib/jpki-kiosk").split() == ["700", SERVER_USER]


def test_the_browsers_confinement_holds(screen: InstalledScreen, machine: Machine, browser: int) -> None:
    """None of its processes has left the unit, and none may do more than the unit says."""

    def none_has_left() -> bool:
        theirs = machine.run("pgrep", "--uid", SCREEN_USER).split()
        return {int(process) for process in theirs} == set(screen.processes(SCREEN))

    wait_until(none_has_left, SECONDS, "all of the browser's processes are in its unit")  # they come and go
    confined(screen, machine, browser, SCREEN_USER)
    calls = machine.shown(SCREEN, "SystemCallFilter")
    assert calls.startswith("~")  # all but these
    assert set(calls.removeprefix("~").split()) >= FORBIDDEN_CALLS
    assert machine.run("stat", "--format=%a", RUNTIME, PROFILE).split() == ["700", "700"]
    assert "tmpfs" in machine.run("df", "--output=fstype", PROFILE)
    assert machine.run("loginctl", "--no-legend", "list-sessions") == ""  # of which a service manager would be part


def confined(screen: InstalledScreen, machine: Machine, process: int, user: str) -> None:
    """Whether a process is its user's, can gain nothing, and leaves no core."""
    status = screen.status(process)
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {NO_CAPABILITY}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert set(status["Uid"].split()) == {machine.run("id", "--user", user).strip()}
    (core,) = (line for line in machine.run("cat", f"/proc/{process}/limits").splitlines() if "core file" in line)
    assert core.split()[4:6] == ["0", "0"]


def test_chromiums_own_sandbox_is_on(screen: InstalledScreen, browser: int) -> None:
    """What draws the page is in namespaces of its own, sees no file, and has one filter of calls more than the unit."""
    processes = screen.processes(SCREEN)
    assert not any("--no-sandbox" in words for words in processes.values())
    outside, unit = screen.namespaces(browser), screen.status(browser)
    found = 0
    for renderer in (process for process, words in processes.items() if RENDERER in words):
        try:
            inside, status = screen.namespaces(renderer), screen.status(renderer)
        except RigError:
            continue  # a spare one, which has ended
        found += 1
        assert [name for name in outside if inside[name] == outside[name]] == []
        assert int(status["Seccomp_filters"]) > int(unit["Seccomp_filters"])
        assert status["CapEff"] == NO_CAPABILITY
    assert found


@pytest.mark.parametrize("path", ["/etc/gatewayd/tls/kiosk.key", "/var/lib/gatewayd", "/var/lib/jpki-kiosk"])
def test_the_browser_reads_nothing_of_the_others(machine: Machine, path: str) -> None:
    assert machine.exists(path)
    done = machine.call("find", path, "-type", "f", "-exec", "cat", "{}", "+", user=SCREEN_USER)
    assert (done.stdout, "Permission denied" in done.stderr) == ("", True)


@pytest.mark.parametrize("socket", [SOCKET, OPERATORS_SOCKET])
def test_the_browser_does_not_reach_the_daemon_and_the_server_does(machine: Machine, socket: str) -> None:
    assert "PermissionError" in machine.call("python3", "-c", CONNECT, socket, user=SCREEN_USER).stderr
    done = machine.call("python3", "-c", CONNECT, socket, user=SERVER_USER)
    assert (done.returncode == 0) == (socket == SOCKET)


@pytest.mark.parametrize("socket", [PCSCD_SOCKET, "/run/dbus/system_bus_socket"])
def test_the_browser_does_not_see_what_is_open_to_every_user(machine: Machine, browser: int, socket: str) -> None:
    assert machine.call("python3", "-c", CONNECT, socket, user=SCREEN_USER).returncode == 0
    become = ("setpriv", f"--reuid={SCREEN_USER}", f"--regid={SCREEN_USER}", "--init-groups", "--")
    within = ("nsenter", f"--target={browser}", "--mount", "--", *become)
    assert "PermissionError" in machine.call(*within, "python3", "-c", CONNECT, socket).stderr


@pytest.mark.parametrize("unit", [SERVER, SCREEN])
def test_neither_unit_reaches_another_machine(screen: InstalledScreen, machine: Machine, unit: str) -> None:
    for address, let in ((NEAR, True), (FAR, False)):
        done = machine.call(*screen.within(unit, "python3", "-c", SEND, address))
        assert (done.returncode == 0) == let, done.stderr
        assert let or "PermissionError" in done.stderr
    assert machine.call("python3", "-c", SEND, FAR).returncode == 0  # it is the unit that keeps it back


def test_a_killed_server_is_there_again_and_the_browser_finds_it(screen: InstalledScreen, machine: Machine) -> None:
    (server,), screens, pages = screen.processes(SERVER), screen.processes(SCREEN), screen.pages()
    machine.run("kill", "-KILL", str(server))
    screen.wait_page(pages)
    assert server not in screen.processes(SERVER)
    assert machine.shown(SERVER, "NRestarts") == "1"
    assert machine.shown(SCREEN, "NRestarts") == "0"
    assert set(screens) & set(screen.processes(SCREEN))


@pytest.mark.parametrize("killed", ["page", "browser", "compositor", "seat"])
def test_whatever_is_killed_a_browser_with_an_empty_profile_follows(
    screen: InstalledScreen, machine: Machine, browser: int, killed: str
) -> None:
    """And nothing of the one before stays: no process, no file."""
    before, pages = screen.processes(SCREEN), screen.pages()
    for left in (f"{PROFILE}/left", f"{RUNTIME}/left"):
        machine.run("touch", left, user=SCREEN_USER)
    victims = {
        "page": [process for process, words in before.items() if RENDERER in words],
        "browser": [browser],
        "compositor": [int(machine.shown(SCREEN, "MainPID"))],
        "seat": [int(machine.shown(SEAT, "MainPID"))],
    }[killed]
    assert victims
    machine.call("kill", "-KILL", *map(str, victims))  # a spare page may have ended meanwhile
    screen.wait_page(pages)
    assert not set(before) & set(screen.processes(SCREEN))
    assert not machine.exists(f"{PROFILE}/left")
    assert not machine.exists(f"{RUNTIME}/left")


def test_stopped_it_leaves_nothing(screen: InstalledScreen, machine: Machine) -> None:
    for unit, user in ((SCREEN, SCREEN_USER), (SERVER, SERVER_USER)):
        machine.run("systemctl", "stop", unit)
        assert machine.shown(unit, "Result") == "success"
        assert machine.call("pgrep", "--uid", user).stdout == ""
    assert not machine.exists(RUNTIME)
    left = machine.run("find", "/", "-xdev", "-user", SCREEN_USER, "!", "-path", "/proc/*")
    assert left == ""
    assert machine.run("ls", "-A", "/var/lib/jpki-kiosk") == ""
    assert "timed out" not in machine.journal(SCREEN) + machine.journal(SERVER)


def test_the_boot_brings_it_back(screen: InstalledScreen, machine: Machine) -> None:
    pages = screen.pages()
    machine.run("systemctl", "start", machine.run("systemctl", "get-default").strip())
    screen.wait_page(pages)
