"""What the composition root itself does: the lock beside each socket, and what is told of the centre to whom."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gatewayd.app import make_central, only_instance
from gatewayd.central.circuit import CircuitState
from gatewayd.config import Central, Config, Reader
from gatewayd.errors import CentralUnavailable, ConfigError
from gatewayd.metrics import Metrics
from tests.fakes.clock import FakeClock
from tests.fakes.pki import make_pki

MANY = 20  # steps


@pytest.mark.parametrize("section", ["api", "operators"])
def test_a_socket_has_one_daemon_at_a_time(tmp_path: Path, section: str) -> None:
    socket = tmp_path / "the.sock"
    with only_instance(socket, section):
        assert stat.S_IMODE((tmp_path / "the.sock.lock").stat().st_mode) == 0o600
        with (
            pytest.raises(ConfigError, match=rf"another gatewayd.*`\$\.{section}\.socket`"),
            only_instance(socket, section),
        ):
            pass
        with only_instance(tmp_path / "another.sock", section):
            pass
    with only_instance(socket, section):
        pass


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"No such file.*`\$\.operators\.socket`"),
        only_instance(tmp_path / "missing" / "the.sock", "operators"),
    ):
        pass


async def test_a_trial_of_an_absent_centre_is_no_news_of_its_return(tmp_path: Path) -> None:
    """Or what waits for the centre would be sent with each of them, and its growing pauses be none."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        pki, clock = make_pki(tmp_path), FakeClock()
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        config = Config(Reader("Kiosk"), Central(address, str(pki.kiosk), str(pki.kiosk_key), str(pki.authority)))
        told: list[bool] = []
        metrics = Metrics(CollectorRegistry(), clock)
        central = make_central(config, clock, metrics, lambda *, back: told.append(back))
        async with asyncio.timeout(20):
            for _ in range(MANY):
                asking = asyncio.create_task(central.service_status())
                while not asking.done():
                    await clock.advance(1)
                    await asyncio.sleep(0.001)
                with pytest.raises(CentralUnavailable):
                    await asking
            assert central.circuit is CircuitState.OPEN
            assert len(told) > 2, "the status is to say so"
            assert not any(told)
        await central.close()
