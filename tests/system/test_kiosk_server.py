"""The screen's server on the real stack: the page is played, everything behind it is real."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.rig.citizen import Citizen
from tests.rig.played_page import Page
from tests.rig.screen import KioskScreen
from tests.rig.stack import Stack

BEAT_S = 2.0
UNTIL_ASKED = ("touch", "reset", "signing-password", "ready", "agree")


@pytest.fixture
def screen(shared_stack: Stack, tmp_path: Path) -> Iterator[KioskScreen]:
    """The server as a process of its own; its files and its log are searched for secrets with all others."""
    directory = shared_stack.directory / f"screen-{tmp_path.name}"
    directory.mkdir()
    running = KioskScreen(
        shared_stack.gatewayd.socket, state=directory / "state", log=directory / "jpki-kiosk.log", log_level="debug"
    )
    running.start()
    yield running
    running.close()


class Visit:
    """A citizen in front of a page that beats."""

    def __init__(self, citizen: Citizen, screen: KioskScreen) -> None:
        self.citizen = citizen
        self.screen = screen
        self.page = Page(screen.address)
        self._beating: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Load the page."""
        self.page = Page(self.screen.address)
        await self.page.follow()
        self._beating = asyncio.create_task(self._beat(self.page))

    async def end(self) -> None:
        """Close it, as a browser does that is killed."""
        if self._beating:
            self._beating.cancel()
        await self.page.close()

    async def to_the_pin(self) -> None:
        """Go through to the PIN's page."""
        await self.page.at("idle")
        await self.page.go(*UNTIL_ASKED)
        await self.page.at("place_card")
        self.citizen.place()
        await self.page.at("user_pin")

    async def to_the_password(self) -> None:
        """Enter the right PIN."""
        await self.to_the_pin()
        assert (await self.page.enter("/user-pin", self.citizen.user_pin.encode())).accepted
        await self.page.at("new_password")

    async def enter(self, password: str) -> None:
        """Confirm the new password."""
        assert (await self.page.enter("/new-password", password.encode())).accepted

    async def _beat(self, page: Page) -> None:
        while True:
            await page.beat()
            await asyncio.sleep(BEAT_S)


@pytest.fixture
async def visit(citizen: Citizen, screen: KioskScreen) -> AsyncIterator[Visit]:
    """A citizen with a reservation, at the idle screen."""
    citizen.reserve()
    coming = Visit(citizen, screen)
    await coming.begin()
    yield coming
    await coming.end()


async def test_a_whole_reset_from_the_first_touch_to_the_next_citizen(visit: Visit, new_password: str) -> None:
    await visit.to_the_pin()
    assert (await visit.page.enter("/user-pin", b"0000")).accepted
    await visit.page.until(lambda event: event["name"] == "user_pin" and "alert" in event["html"])
    assert visit.citizen.tries_left() == 2
    assert (await visit.page.enter("/user-pin", visit.citizen.user_pin.encode())).accepted
    await visit.page.at("new_password")
    await visit.enter(new_password)
    await visit.page.at("outcome")
    assert visit.citizen.references["signing_password"]["value"] == new_password
    visit.citizen.lift()
    await visit.page.at("end")
    assert (await visit.page.press("finish")).accepted
    await visit.page.until_wiped()
    assert visit.citizen.verifications() == 2


async def test_a_server_killed_during_the_write_tells_the_outcome_when_it_is_back(
    visit: Visit, new_password: str
) -> None:
    await visit.to_the_password()
    with visit.citizen.stack.cardsim.held("RESET RETRY COUNTER"):
        await visit.enter(new_password)
        await visit.page.at("writing")
        visit.screen.kill()
        await visit.end()
        visit.screen.start()
        await visit.begin()
        await visit.page.at("asking_outcome")
    await visit.page.until(lambda event: event["name"] in ("outcome", "take_card"))
    assert visit.citizen.references["signing_password"]["value"] == new_password
    visit.citizen.lift()
    await visit.page.at("end")
    await visit.page.press("finish")
    await visit.page.until_wiped()


async def test_a_daemon_killed_at_the_pin_is_asked_what_became_of_the_attempt(visit: Visit) -> None:
    await visit.to_the_pin()
    visit.citizen.stack.gatewayd.kill()
    await visit.page.at("asking_outcome")
    visit.citizen.stack.gatewayd.start()
    await visit.page.until(lambda event: event["name"] in ("outcome", "take_card"))
    visit.citizen.lift()
    await visit.page.at("end")
    assert visit.citizen.verifications() == 0
    await visit.page.press("finish")
    await visit.page.until_wiped()


async def test_a_frozen_daemon_is_noticed(visit: Visit) -> None:
    gatewayd = visit.citizen.stack.gatewayd
    gatewayd.signal(signal.SIGSTOP)
    try:
        await visit.page.at("daemon_down")
    finally:
        gatewayd.signal(signal.SIGCONT)
    await visit.page.at("idle")


async def test_the_process_ends_in_order(screen: KioskScreen) -> None:
    """However often it is told to."""
    page = Page(screen.address)
    async with page.open():
        screen.process.insist(signal.SIGTERM, signal.SIGINT)
    assert screen.ended(BEAT_S) == 0
    text = screen.log.read_text()
    assert '"stopped"' in text
    assert "Traceback" not in text
    assert "Error" not in text
