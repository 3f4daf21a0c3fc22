"""The service manager's watchdog is fed while the loop and the reader's thread move, and no longer."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.gateway_service_pb2 import READINESS_PROBLEM_READER_STUCK

from tests.rig.citizen import Citizen
from tests.rig.front_end import FINISHED, REMOVE_CARD
from tests.rig.process import BIN, ROOT, wait_until

LIMIT_S = 0.4  # the manager's
STUCK_LIMIT_S = 1.0  # ours
PATIENCE_S = 10.0
IMPATIENT = (BIN / "python", "-P", ROOT / "tests/rig/impatient.py")  # 0.8 s for a command of a card


class Manager:
    """The receiving end of sd_notify(3): counts the times the dog was fed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._fed: list[float] = []

    def hungry_for(self) -> float:
        """For how long it has not been fed, in seconds."""
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except BlockingIOError:
                break
            if "WATCHDOG=1" in text.splitlines():
                self._fed.append(time.monotonic())
        return time.monotonic() - self._fed[-1] if self._fed else 0.0

    @property
    def times(self) -> int:
        self.hungry_for()
        return len(self._fed)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(citizen: Citizen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """The daemon runs under this manager, and is soon tired of a stuck reader."""
    daemon = citizen.stack.gatewayd
    watching = Manager(tmp_path / "notify")
    config = daemon.config.read_text()
    daemon.config.write_text(config.replace("[reader]", f"[reader]\nstuck_limit_s = {STUCK_LIMIT_S}"))
    told = (f"NOTIFY_SOCKET={watching.path}", f"WATCHDOG_USEC={LIMIT_S * 1_000_000:.0f}")
    monkeypatch.setattr(daemon, "command", lambda: ["env", *told, *IMPATIENT, "--config", daemon.config])
    daemon.restart()
    yield watching
    citizen.stack.cardsim.clear_faults()
    daemon.config.write_text(config)
    monkeypatch.undo()
    daemon.restart()
    watching.close()


async def test_a_mute_card_is_asked_to_be_lifted_and_a_stuck_reader_is_not_hidden(
    citizen: Citizen, manager: Manager
) -> None:
    cardsim, front = citizen.stack.cardsim, citizen.front
    await front.ready()
    wait_until(lambda: manager.times >= 3, PATIENCE_S, "feeding")
    attempt = await citizen.agree()
    with cardsim.held("select"):
        citizen.place()
        view = await attempt.until(REMOVE_CARD)
        assert view.reason == reasons.REASON_CARD_UNREADABLE
        assert READINESS_PROBLEM_READER_STUCK in (await front.status()).problems
        fed = manager.times
        wait_until(lambda: manager.times > fed, STUCK_LIMIT_S, "feeding while the reader is given time")
        wait_until(lambda: manager.hungry_for() > 2 * LIMIT_S, PATIENCE_S, "the end of feeding")
        print("not fed any more: the manager would kill the daemon and start it anew")
        citizen.lift()  # somebody came in time
        assert (await attempt.until(FINISHED)).reason == reasons.REASON_CARD_UNREADABLE
    wait_until(lambda: manager.hungry_for() < LIMIT_S, PATIENCE_S, "feeding again")
    await front.ready()


async def test_a_daemon_whose_loop_stands_still_does_not_feed(citizen: Citizen, manager: Manager) -> None:
    daemon = citizen.stack.gatewayd
    wait_until(lambda: manager.times >= 1, PATIENCE_S, "feeding")
    daemon.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: manager.hungry_for() > 2 * LIMIT_S, PATIENCE_S, "the end of feeding")
    finally:
        daemon.signal(signal.SIGCONT)
    wait_until(lambda: manager.hungry_for() < LIMIT_S, PATIENCE_S, "feeding again")
