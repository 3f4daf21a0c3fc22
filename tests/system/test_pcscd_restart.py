"""A pcscd that hangs is asked to be restarted, by a file; what the packaged unit does then, the test does here."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from jpkireset.gateway.v1.gateway_service_pb2 import READINESS_PROBLEM_READER_STUCK

from tests.rig import metrics
from tests.rig.citizen import Citizen
from tests.rig.process import wait_until

AFTER_S = 0.5
PATIENCE_S = 15.0  # pcscd's silence is noticed after 4 s


@pytest.fixture
def request_file(citizen: Citizen, tmp_path: Path) -> Iterator[Path]:
    """The daemon leaves its request here, soon."""
    daemon = citizen.stack.gatewayd
    config, path = daemon.config.read_text(), tmp_path / "restart-pcscd"
    wanted = f"pcscd_restart_request = {json.dumps(str(path))}\npcscd_restart_after_s = {AFTER_S}"
    daemon.config.write_text(config.replace("[reader]", f"[reader]\n{wanted}"))
    daemon.restart()
    yield path
    daemon.config.write_text(config)
    daemon.restart()


async def test_a_hung_pcscd(citizen: Citizen, request_file: Path) -> None:
    stack, front = citizen.stack, citizen.front
    await front.ready()
    daemon = stack.gatewayd.process.pid
    assert not request_file.exists()
    stack.pcscd.kill(signal.SIGSTOP)
    try:
        wait_until(request_file.exists, PATIENCE_S, "the request")
        assert READINESS_PROBLEM_READER_STUCK in (await front.status()).problems
    finally:
        stack.pcscd.kill(signal.SIGKILL)
        request_file.unlink(missing_ok=True)
        stack.pcscd.resume()
    await front.ready()
    assert stack.gatewayd.process.pid == daemon
    families = metrics.scrape(stack.gatewayd.metrics_url)
    assert metrics.value(families, "gatewayd_pcscd_restarts_asked_total") >= 1
    citizen.reserve()
    attempt = await citizen.to_password()  # through the new pcscd
    await attempt.cancel()
    await citizen.leave(attempt)
