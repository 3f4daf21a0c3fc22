"""`make stack`, `make kiosk` and `make demo`, as they are typed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.rig.process import BIN, ROOT, Process, run, wait_until

NAMES = {
    "PCSCLITE_CSOCK_NAME",
    "GATEWAYD_SOCKET",
    "GATEWAYD_METRICS_URL",
    "CENTRALD_KIOSK_ADDRESS",
    "CENTRALD_PHONE_ADDRESS",
    "CENTRALD_CA",
    "CARDSIM_CONTROL",
    "KIOSK_READER",
    "PHONE_READER",
}
START_SECONDS = 60.0


@contextmanager
def stack(directory: Path, log: Path, persona: str = "") -> Iterator[Process]:
    """A `make stack` that is up."""
    env = {"STACK_DIR": str(directory), "PERSONA": persona}
    with Process("stack", [sys.executable, "-m", "tests.rig.stack"], log=log, env=env) as process:
        wait_until(lambda: (directory / "ready").exists() or not process.running, START_SECONDS, f"the stack of {log}")
        assert process.running, process.output()
        yield process


def shell_environment(directory: Path) -> dict[str, str]:
    """What a shell makes of `env`."""
    lines = run(["env", "-i", "sh", "-c", f"set -a; . {shlex.quote(str(directory / 'env'))}; env"]).splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines) if name in NAMES}


def children(pid: int) -> set[int]:
    """The processes below one."""
    below = {int(word) for task in Path(f"/proc/{pid}/task").glob("*/children") for word in task.read_text().split()}
    return below.union(*(children(child) for child in below))


@pytest.mark.timeout(120)
def test_stacks_run_side_by_side_and_leave_nothing(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with stack(one, tmp_path / "one.log") as first, stack(two, tmp_path / "two.log", "forgotten") as second:
        environments = [shell_environment(directory) for directory in (one, two)]
        assert all(set(environment) == NAMES for environment in environments)
        own = NAMES - {"KIOSK_READER", "PHONE_READER"}
        assert all(environments[0][name] != environments[1][name] for name in own)
        for environment, persona in zip(environments, ("locked", "forgotten"), strict=True):
            assert f'"card":"{persona}"' in run([BIN / "cardsim", "show", "--json"], env=environment)
            assert '"ready"' in run([BIN / "gatewayctl", "status", "--json"], env=environment)
        below = children(first.pid) | children(second.pid)
        assert len(below) >= 8
        first.signal(signal.SIGINT)
        assert first.wait() == 0
        assert second.running
    assert second.stop() == 0
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]
    assert not one.exists()
    assert not two.exists()
    assert not [e for e in environments if Path(e["PCSCLITE_CSOCK_NAME"]).parent.exists()]


@pytest.mark.timeout(120)
def test_demo_holds_what_it_claims(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.rig.demo"],
        cwd=ROOT,
        env={**os.environ, "STACK_DIR": str(tmp_path / "demo")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All of it holds." in done.stdout
    assert not (tmp_path / "demo").exists()


@pytest.mark.timeout(120)
def test_kiosk_can_be_played(tmp_path: Path) -> None:
    """It says where screen and panel are, both are pages, and Ctrl-C leaves nothing."""
    directory = tmp_path / "kiosk"
    env = {"STACK_DIR": str(directory), "KIOSK_PORT": str(free_port()), "PANEL_PORT": str(free_port())}
    with Process("kiosk", [sys.executable, "-m", "tests.rig.kiosk"], log=tmp_path / "kiosk.log", env=env) as process:
        told = re.compile(r"^  The (?:citizen's screen|panel) +(http://\S+)$", re.MULTILINE)
        wait_until(lambda: len(told.findall(process.output())) == 2 or not process.running, START_SECONDS, "two pages")
        for address in told.findall(process.output()):
            with urllib.request.urlopen(address, timeout=START_SECONDS) as answer:
                assert answer.headers.get_content_type() == "text/html"
        process.signal(signal.SIGINT)
        assert process.wait() == 0, process.output()
    assert not directory.exists()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
