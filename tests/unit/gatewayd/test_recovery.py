from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gatewayd.recovery import LONGEST_PAUSE_S, LOOK_S, PcscdRestart
from tests.fakes.clock import FakeClock

AFTER_S = 60.0


class Kiosk:
    """A reader with or without a problem, and the unit that answers requests."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.request = directory / "restart-pcscd"
        self.problem = False
        self.asked: list[float] = []
        self._ladder = PcscdRestart(self.clock, self.request, AFTER_S, self._note)

    def _note(self) -> None:
        self.asked.append(self.clock.monotonic())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self._ladder.run(lambda: self.problem))
        yield
        assert not task.done()
        task.cancel()

    async def pass_s(self, seconds: float, *, answered: bool = True) -> None:
        """Let time pass; the unit takes each request away as soon as it is there."""
        for _ in range(round(seconds / LOOK_S)):
            await self.clock.advance(LOOK_S)
            if answered:
                self.request.unlink(missing_ok=True)


@pytest.fixture
def kiosk(tmp_path: Path) -> Kiosk:
    return Kiosk(tmp_path)


async def test_a_short_absence_asks_for_nothing(kiosk: Kiosk) -> None:
    async with kiosk.running():
        for _ in range(5):
            kiosk.problem = True
            await kiosk.pass_s(AFTER_S - 2 * LOOK_S)
            kiosk.problem = False
            await kiosk.pass_s(2 * LOOK_S)
    assert kiosk.asked == []


async def test_what_lasts_is_asked_for_at_ever_longer_intervals(kiosk: Kiosk) -> None:
    kiosk.problem = True
    async with kiosk.running():
        await kiosk.pass_s(AFTER_S - LOOK_S)
        assert not kiosk.request.exists()
        await kiosk.pass_s(100 * AFTER_S)
    pauses = [later - earlier for earlier, later in zip([0.0, *kiosk.asked], kiosk.asked, strict=False)]
    assert pauses[:5] == [60, 120, 240, 480, 960]
    assert set(pauses[5:]) == {LONGEST_PAUSE_S}


async def test_a_reader_that_came_back_begins_anew(kiosk: Kiosk) -> None:
    async with kiosk.running():
        for _ in range(2):
            kiosk.problem = True
            await kiosk.pass_s(AFTER_S + LOOK_S)
            kiosk.problem = False
            await kiosk.pass_s(LOOK_S)
    assert len(kiosk.asked) == 2


async def test_a_request_is_taken_back_when_the_reader_came_back_first(kiosk: Kiosk) -> None:
    kiosk.problem = True
    async with kiosk.running():
        await kiosk.pass_s(AFTER_S + LOOK_S, answered=False)
        assert kiosk.request.exists()
        kiosk.problem = False
        await kiosk.pass_s(LOOK_S, answered=False)
        assert not kiosk.request.exists()


async def test_the_request_is_an_empty_file_of_our_own(kiosk: Kiosk) -> None:
    kiosk.problem = True
    async with kiosk.running():
        await kiosk.pass_s(AFTER_S + LOOK_S, answered=False)
    assert kiosk.request.read_bytes() == b""
    assert stat.S_IMODE(kiosk.request.stat().st_mode) == 0o600


async def test_a_request_nobody_answers_is_told_and_not_counted(kiosk: Kiosk, caplog: pytest.LogCaptureFixture) -> None:
    kiosk.problem = True
    async with kiosk.running():
        await kiosk.pass_s(AFTER_S + LOOK_S, answered=False)
        caplog.clear()
        await kiosk.pass_s(2 * AFTER_S, answered=False)
    assert len(kiosk.asked) == 1
    assert [record.message for record in caplog.records] == ["nobody answers the request to restart pcscd"]


@pytest.mark.parametrize("obstacle", ["link", "no directory"])
def test_what_stands_in_the_way_is_told_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, obstacle: str
) -> None:
    request, elsewhere = tmp_path / "run/restart-pcscd", tmp_path / "elsewhere"
    if obstacle == "link":
        request.parent.mkdir()
        request.symlink_to(elsewhere)
    asked: list[None] = []
    PcscdRestart(FakeClock(), request, AFTER_S, lambda: asked.append(None)).ask()
    assert not asked
    assert not elsewhere.exists()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
