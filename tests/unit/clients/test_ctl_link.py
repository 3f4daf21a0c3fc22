"""The question what became of an attempt, asked of a daemon that dies or is coming back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from jpkireset.gateway.v1.gateway_service_pb2 import Attempt
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE

from gatewayctl.link import BrokenCall, NoSuchAttempt, open_link
from tests.unit.clients.scripted_daemon import Daemon, serve

ATTEMPT = "0f0e0d0c-0000-4000-8000-000000000001"
RETURN_S = 10.0
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def remembering(*failures: grpc.StatusCode) -> Daemon:
    """A daemon that knows of a reset, and fails at first."""
    return Daemon(attempts=[Attempt(outcome=OUTCOME_DONE)], failures=list(failures))


async def test_a_call_that_met_a_dying_connection_is_made_once_more() -> None:
    daemon = remembering(UNAVAILABLE)
    async with serve(daemon) as socket, open_link(socket) as link:
        assert (await link.attempt(ATTEMPT, wait_s=RETURN_S)).outcome == OUTCOME_DONE
    assert daemon.asked == 2


@pytest.mark.parametrize(
    ("failures", "wait_s", "asked"),
    [
        ((UNAVAILABLE,), 0.0, 1),
        ((UNAVAILABLE, UNAVAILABLE), RETURN_S, 2),
        ((grpc.StatusCode.INTERNAL,), RETURN_S, 1),
    ],
    ids=["nobody waits", "not a third time", "not after an answer"],
)
async def test_what_failed_is_told(failures: tuple[grpc.StatusCode, ...], wait_s: float, asked: int) -> None:
    daemon = remembering(*failures)
    async with serve(daemon) as socket, open_link(socket) as link:
        with pytest.raises(BrokenCall) as caught:
            await link.attempt(ATTEMPT, wait_s=wait_s)
    assert (caught.value.code, daemon.asked) == (failures[-1].name, asked)


async def test_an_unknown_attempt_is_not_asked_for_again() -> None:
    daemon = Daemon()
    async with serve(daemon) as socket, open_link(socket) as link:
        with pytest.raises(NoSuchAttempt):
            await link.attempt(ATTEMPT, wait_s=RETURN_S)
    assert daemon.asked == 1


async def test_a_daemon_that_dies_under_the_call_is_asked_once_it_is_back(tmp_path: Path) -> None:
    """The connection is open and ends without an answer, as that of a killed daemon does."""
    path = str(tmp_path / "api.sock")
    reached = asyncio.Event()

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reached.set()
        writer.transport.abort()

    async with await asyncio.start_unix_server(die, path) as dying, open_link(path) as link:
        asking = asyncio.create_task(link.attempt(ATTEMPT, wait_s=RETURN_S))
        await asyncio.wait_for(reached.wait(), RETURN_S)
        assert not asking.done()
        dying.close()
        daemon = remembering()
        async with serve(daemon, path):
            assert (await asking).outcome == OUTCOME_DONE
    assert daemon.asked == 1
