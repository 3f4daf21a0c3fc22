"""The daemon as its service manager sees it. It starts and stays up without a PC/SC service and without the centre."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.manager import Manager
from tests.rig.parts import Gatewayd
from tests.rig.process import BIN, RigError
from tests.rig.site import Site

EX_CONFIG = 78  # sysexits(3)
SECONDS = 10.0
NOWHERE = "127.0.0.1:9"  # the discard service, which nobody offers


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    listening = Manager(tmp_path / "notify")
    yield listening
    listening.close()


@pytest.fixture
def lonely(tmp_path: Path, site: Site, manager: Manager) -> Iterator[Gatewayd]:
    """A daemon, not started, in a world without PC/SC service and centre."""
    daemon = Gatewayd(
        tmp_path / "kiosk",
        site=site,
        central_address=NOWHERE,
        socket=tmp_path / "api.sock",
        reader="Kiosk 00 00",
        pcsc={"PCSCLITE_CSOCK_NAME": str(tmp_path / "no-pcscd"), "NOTIFY_SOCKET": manager.address},
        log=tmp_path / "gatewayd.log",
    )
    yield daemon
    daemon.close()


def run(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a daemon that ends by itself."""
    return subprocess.run(
        [BIN / "gatewayd", "--config", config, *words], capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_manager_is_told_of_readiness_status_and_stop(lonely: Gatewayd, manager: Manager, tmp_path: Path) -> None:
    lonely.start()
    manager.until(lambda line: line == "READY=1")
    status = manager.until(lambda line: line.startswith("STATUS=") and "central_unavailable" in line)
    assert status.startswith("STATUS=not ready: ")
    assert "pcsc_unavailable" in status
    assert lonely.socket.exists()
    assert lonely.socket.stat().st_mode & 0o777 == 0o600

    lonely.stop()  # SIGTERM, and exit code 0
    manager.until(lambda line: line == "STOPPING=1")
    assert manager.told.count("READY=1") == 1
    assert not lonely.socket.exists()
    assert [path for path in tmp_path.iterdir() if path.is_socket()] == [Path(manager.address)]


def test_second_daemon_on_the_same_socket_is_refused(lonely: Gatewayd, tmp_path: Path) -> None:
    lonely.start()
    second = run(lonely.config)
    assert second.returncode == EX_CONFIG
    assert "another gatewayd serves this socket" in second.stderr
    assert lonely.running
    assert lonely.socket.exists(), "the refused one took the socket away"


def test_killed_daemon_leaves_nothing_that_keeps_the_next_from_starting(lonely: Gatewayd, manager: Manager) -> None:
    lonely.start()
    lonely.kill()
    lonely.start()
    lonely.stop()
    assert manager.until(lambda line: line == "STOPPING=1")
    assert manager.told.count("READY=1") == 2


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("[reader]", '[reader]\nnane = "Kiosk"', "$.reader"),
        ("[reader]", "[raeder]", "$"),
        ('address = "127.0.0.1:0"', "address = 9464", "$.metrics.address"),
        ('address = "127.0.0.1:0"', 'address = "0.0.0.0:9464"', "$.metrics.address"),
        ('level = "info"', 'level = "loud"', "$.log.level"),
    ],
)
def test_configuration_that_cannot_be_used_names_the_key(lonely: Gatewayd, old: str, new: str, path: str) -> None:
    text = lonely.config.read_text()
    assert old in text
    lonely.config.write_text(text.replace(old, new))
    for words in ((), ("--check",)):
        ended = run(lonely.config, *words)
        assert ended.returncode == EX_CONFIG
        assert str(lonely.config) in ended.stderr
        assert (f"`{path}`" in ended.stderr) or (path == "$" and "raeder" in ended.stderr), ended.stderr
        assert not lonely.socket.exists()


def test_good_configuration_is_told_without_a_start(lonely: Gatewayd) -> None:
    ended = run(lonely.config, "--check")
    assert ended.returncode == 0
    assert "good" in ended.stdout
    assert not lonely.socket.exists()


def test_journal_that_cannot_be_used_is_for_the_operator_to_mend(lonely: Gatewayd) -> None:
    lonely.journal.write_bytes(b"no database, but what somebody copied here" * 100)
    with pytest.raises(RigError, match=f"ended with {EX_CONFIG}"):
        lonely.start()
