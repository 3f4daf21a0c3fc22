"""What others say is printed to an operator's terminal, and neither moves its cursor nor looks like a line of ours."""

from __future__ import annotations

import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.gateway.v1.gateway_service_pb2 import Attempt, Status
from jpkireset.gateway.v1.operator_service_pb2 import TimelineEntry
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_UNKNOWN

from gatewayctl import run
from gatewayctl.attempts import show_attempt
from gatewayctl.doctor.finding import Finding, Verdict
from gatewayctl.doctor.telling import lines as told
from gatewayctl.link import open_link
from gatewayctl.status import show_status
from tests.unit.clients.scripted_daemon import Daemon, serve

ATTEMPT = "0f0e0d0c-0000-4000-8000-000000000001"
FOREIGN = "\x1b[2J\x9b1A\x08\r\nReady  yes\u202e"
CONTROLS = set(FOREIGN) - set("[2J1A Ready yes\n")


@pytest.mark.parametrize("as_lines", [False, True])
async def test_a_status(capsys: pytest.CaptureFixture[str], as_lines: bool) -> None:
    status = Status(central_detail=FOREIGN, reader=FOREIGN, kiosk_id=FOREIGN, version=FOREIGN)
    async with serve(Daemon(statuses=[status])) as socket, open_link(socket) as link:
        await show_status(link, as_lines=as_lines)
    shown = capsys.readouterr().out
    assert not CONTROLS & set(shown)
    if as_lines:
        assert json.loads(shown)["status"]["ready"] is False
    else:
        assert [line.split() for line in shown.splitlines() if line.startswith("Ready")] == [["Ready", "no"]]


async def test_a_timeline(capsys: pytest.CaptureFixture[str]) -> None:
    entries = [TimelineEntry(time=Timestamp(seconds=1), event="accepted", detail=FOREIGN)]
    daemon = Daemon(attempts=[Attempt(attempt_id=ATTEMPT, outcome=OUTCOME_UNKNOWN)], timeline=entries)
    async with serve(daemon) as socket, open_link(socket) as link:
        await show_attempt(link, link, ATTEMPT, run._say, as_lines=False)
    shown = capsys.readouterr().out
    assert not CONTROLS & set(shown)
    assert not any(line.startswith("Ready") for line in shown.splitlines())


def test_a_finding_of_the_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    run._say("\n".join(told(Finding("centre", Verdict.FAIL, FOREIGN, FOREIGN))))
    shown = capsys.readouterr().out
    assert not CONTROLS & set(shown)
    assert not any(line.startswith("Ready") for line in shown.splitlines())
