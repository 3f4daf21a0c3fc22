"""The daemon's sockets: one daemon each, nothing left in the way, never wider rights than configured."""

from __future__ import annotations

import grp
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.front_end import FrontEnd
from tests.rig.parts import Gatewayd
from tests.rig.process import BIN
from tests.rig.site import Site

EX_CONFIG = 78  # sysexits(3)
SECONDS = 10.0
NOBODY = "65534"

# Looks at paths as fast as it can until the standard input ends; then tells every mode and group it saw.
WATCH = """
import json, os, select, sys
seen = set()
while not select.select([sys.stdin], [], [], 0)[0]:
    for path in sys.argv[1:]:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            continue
        seen.add((path, oct(found.st_mode & 0o777), found.st_gid))
print(json.dumps(sorted(seen)))
"""
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A folder that everybody may pass through, as /run/gatewayd."""
    with tempfile.TemporaryDirectory(prefix="gw") as made:
        path = Path(made)
        path.chmod(0o711)
        yield path


@pytest.fixture
def daemon(directory: Path, tmp_path: Path, site: Site) -> Iterator[Gatewayd]:
    """A daemon, not started, in a world without PC/SC service and centre."""
    with_sockets = make_daemon(tmp_path / "kiosk", directory, site)
    yield with_sockets
    with_sockets.close()


def make_daemon(own: Path, directory: Path, site: Site) -> Gatewayd:
    return Gatewayd(
        own,
        site=site,
        central_address="127.0.0.1:9",
        socket=directory / "api.sock",
        reader="Kiosk 00 00",
        pcsc={"PCSCLITE_CSOCK_NAME": str(directory / "no-pcscd")},
        log=own.with_suffix(".log"),
    )


def give_away(daemon: Gatewayd) -> tuple[int, int]:
    """Configure a group for each socket; return both ids."""
    if os.geteuid() != 0:
        pytest.skip("only root may give a socket to any group")
    front_ends, operators, *_ = [group for group in grp.getgrall() if group.gr_gid not in (0, int(NOBODY))]
    text = daemon.config.read_text()
    for section, group in (("api", front_ends), ("operators", operators)):
        text = text.replace(f"[{section}]", f'[{section}]\ngroup = "{group.gr_name}"')
    daemon.config.write_text(text)
    return front_ends.gr_gid, operators.gr_gid


def refused(daemon: Gatewayd) -> str:
    """Start a daemon that must not start; return what it says."""
    ended = subprocess.run(
        [BIN / "gatewayd", "--config", daemon.config], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == EX_CONFIG
    return ended.stderr


def test_each_socket_has_one_daemon(daemon: Gatewayd, tmp_path: Path, directory: Path, site: Site) -> None:
    daemon.start()
    other = directory / "other"
    other.mkdir()
    second = make_daemon(tmp_path / "second", other, site)
    text = second.config.read_text()
    for section, ours, theirs in (
        ("api", second.socket, daemon.socket),
        ("operators", second.operators_socket, daemon.operators_socket),
    ):
        second.config.write_text(text.replace(str(ours), str(theirs)))
        assert f"another gatewayd serves this socket - at `$.{section}.socket`" in refused(second)
        assert theirs.is_socket()


async def test_sockets_of_a_killed_daemon_are_replaced(daemon: Gatewayd) -> None:
    daemon.start()
    daemon.kill()
    assert daemon.socket.is_socket()
    assert daemon.operators_socket.is_socket()
    daemon.start()
    for socket in (daemon.socket, daemon.operators_socket):
        async with FrontEnd(socket) as front:
            assert (await front.status()).version


@pytest.mark.parametrize("section", ["api", "operators"])
def test_what_is_no_socket_is_left_alone(daemon: Gatewayd, section: str) -> None:
    path = daemon.socket if section == "api" else daemon.operators_socket
    path.write_text("somebody's notes")
    assert "exists and is not a socket" in refused(daemon)
    assert path.read_text() == "somebody's notes"


def test_nobody_ever_has_wider_rights(daemon: Gatewayd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process looks all the time while the daemon starts and ends, under the widest umask there is."""
    front_ends, operators = give_away(daemon)
    monkeypatch.setattr(
        daemon, "command", lambda: ["sh", "-c", 'umask 0; exec "$@"', "sh", BIN / "gatewayd", "--config", daemon.config]
    )
    watch = subprocess.Popen(
        [sys.executable, "-c", WATCH, daemon.socket, daemon.operators_socket],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(3):
        daemon.start()
        daemon.kill()
        daemon.start()
        daemon.stop()
    said, _ = watch.communicate(input="", timeout=SECONDS)
    seen = {tuple(one) for one in json.loads(said)}
    allowed = {
        (str(path), mode, gid)
        for path, group in ((daemon.socket, front_ends), (daemon.operators_socket, operators))
        for mode, gid in (("0o600", os.getegid()), ("0o600", group), ("0o660", group))
    }
    assert {(str(daemon.socket), "0o660", front_ends)} <= seen
    assert seen <= allowed


def test_each_group_reaches_its_own_socket(daemon: Gatewayd) -> None:
    front_ends, operators = give_away(daemon)
    daemon.start()

    def may(socket: Path, *gids: int) -> bool:
        who = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY]
        who += ["--groups", ",".join(map(str, gids))] if gids else ["--clear-groups"]
        done = subprocess.run(
            [*who, "/usr/bin/python3", "-c", CONNECT, str(socket)], capture_output=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0 or b"PermissionError" in done.stderr, done.stderr
        return done.returncode == 0

    sockets = (daemon.socket, daemon.operators_socket)
    assert [may(socket) for socket in sockets] == [False, False]
    assert [may(socket, front_ends) for socket in sockets] == [True, False]
    assert [may(socket, operators) for socket in sockets] == [False, True]
