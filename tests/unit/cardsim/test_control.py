"""The control socket's protocol, as other programs may speak it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cardsim import control
from cardsim.ledger import Ledger
from cardsim.slot import Slots
from tests.unit.cardsim.making import NOW

SECONDS = 5.0


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Path]:
    """A simulator without cards; its socket."""
    ledger = Ledger(tmp_path / "ledger.jsonl", lambda: NOW)
    path = tmp_path / "control.sock"
    async with (
        asyncio.TaskGroup() as tasks,
        control.serving(path, Slots({"kiosk": 1}, {}, ledger, tasks), ledger.path),
    ):
        yield path
    ledger.close()
    assert not path.exists()


async def ask(path: Path, *requests: bytes) -> list[dict[str, object]]:
    """Send lines on one connection and return the answers."""
    reader, writer = await asyncio.open_unix_connection(path)
    answers = []
    for request in requests:
        writer.write(request + b"\n")
        answers.append(json.loads(await asyncio.wait_for(reader.readline(), SECONDS)))
    writer.close()
    await writer.wait_closed()
    return answers


async def test_one_connection_takes_many_requests(simulator: Path) -> None:
    show, ledger = await ask(simulator, b'{"command":"show"}', b'{"command":"ledger"}')
    assert show == {"ok": True, "cards": []}
    assert ledger == {"ok": True, "path": str(simulator.with_name("ledger.jsonl"))}


@pytest.mark.parametrize(
    ("request_line", "complaint"),
    [
        (b"not json", "JSON is malformed"),
        (b'{"command":"destroy"}', "Invalid value 'destroy'"),
        (b'{"command":"insert","card":"card"}', "missing required field `slot`"),
        (b'{"command":"remove","slot":"kiosk","now":true}', "unknown field `now`"),
        (b'{"command":"remove","slot":"kiosk"}', "slot kiosk is empty"),
        (b'{"command":"insert","card":"card","slot":"kiosk"}', "no card card"),
    ],
)
async def test_what_cannot_be_done_is_answered(simulator: Path, request_line: bytes, complaint: str) -> None:
    refusal, after = await ask(simulator, request_line, b'{"command":"show"}')
    assert refusal["ok"] is False
    assert complaint in str(refusal["error"])
    assert after["ok"] is True


async def test_a_line_without_end_ends_its_connection_alone(simulator: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_unix_connection(simulator)
    writer.write(b"x" * (2 * control.REQUEST_LIMIT))
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), SECONDS) == b""
    writer.close()
    assert (await ask(simulator, b'{"command":"show"}'))[0]["ok"] is True
    assert not caplog.records


async def test_the_client_raises_what_was_refused(simulator: Path) -> None:
    with pytest.raises(control.ControlError, match="slot kiosk is empty"):
        await asyncio.to_thread(control.call, simulator, control.Remove("kiosk"))


async def test_a_second_simulator_does_not_take_the_socket(simulator: Path) -> None:
    with pytest.raises(control.ControlError, match="another simulator"):
        async with control.serving(simulator, Slots({}, {}, None, None), simulator):  # type: ignore[arg-type]
            pass
    assert simulator.exists()
