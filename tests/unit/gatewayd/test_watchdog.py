from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewayd.watchdog import feed_watchdog, watchdog_limit_s
from tests.fakes.clock import FakeClock


@pytest.mark.parametrize(
    ("microseconds", "process", "limit"),
    [
        (None, None, None),
        ("", None, None),
        ("0", None, None),
        ("soon", None, None),
        ("30000000", None, 30.0),
        ("500000", "own", 0.5),
        ("30000000", "1", None),
    ],
)
def test_the_limit_is_the_managers(
    monkeypatch: pytest.MonkeyPatch, microseconds: str | None, process: str | None, limit: float | None
) -> None:
    own = str(os.getpid())
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", own if process == "own" else process)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_limit_s() == limit


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with tempfile.TemporaryDirectory(prefix="n") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(Path(folder) / "s"))
        bound.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", bound.getsockname())
        yield bound


def fed(manager: socket.socket) -> int:
    """How often since the last time."""
    times = 0
    with contextlib.suppress(BlockingIOError):
        while manager.recv(100) == b"WATCHDOG=1":
            times += 1
    return times


async def test_fed_twice_within_the_limit_while_it_moves(
    manager: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    clock, moving = FakeClock(), True
    feeding = asyncio.create_task(feed_watchdog(clock, 10.0, lambda: moving))
    await clock.advance(10.0)
    assert fed(manager) == 3  # at 0, 5 and 10 s
    moving = False
    with caplog.at_level(logging.INFO):
        await clock.advance(60.0)
        assert fed(manager) == 0
        moving = True
        await clock.advance(5.0)
    assert fed(manager) == 1
    assert [record.message for record in caplog.records] == ["watchdog not fed", "watchdog fed again"]
    feeding.cancel()
