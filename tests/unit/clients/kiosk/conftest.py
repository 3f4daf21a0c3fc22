"""The server of the screen, whole and over real connections, with a daemon that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jpki_kiosk.config import Config
from jpki_kiosk.memory import Memory
from jpki_kiosk.render import Renderer
from jpki_kiosk.run import serve
from tests.rig.played_page import Page
from tests.unit.clients.kiosk.daemon import PlayedDaemon

SECONDS = 10.0


class StandingClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime.datetime:
        return datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.UTC) + datetime.timedelta(seconds=self.seconds)


class Machine:
    """The kiosk: the server can be stopped and started, time passes when told."""

    def __init__(self, directory: Path, renderer: Renderer) -> None:
        self._renderer = renderer
        self.clock = StandingClock()
        self.memory = Memory(directory / "state")
        self.memory.prepare()
        self.daemon = PlayedDaemon(directory / "api.sock")
        self.address = ""
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the server, on the same port as before."""
        self._stop = asyncio.Event()
        port = int(self.address.rpartition(":")[2] or 0)
        listener = socket.create_server(("127.0.0.1", port))
        serving: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        config = Config(gateway=f"unix:{self.daemon.socket}", listen="127.0.0.1:0", state_directory="unused")

        async def run() -> None:
            with listener:
                await serve(
                    config,
                    self._renderer,
                    self.memory,
                    self.clock,
                    listener,
                    serving=serving.set_result,
                    stop=self._stop,
                )

        self._serving = asyncio.create_task(run())
        async with asyncio.timeout(SECONDS):
            self.address = await serving

    async def stop(self) -> None:
        """Stop it, in order."""
        self._stop.set()
        if self._serving:
            async with asyncio.timeout(SECONDS):
                await self._serving
            self._serving = None

    def page(self) -> Page:
        """A page that is not loaded yet."""
        return Page(self.address)

    @contextlib.asynccontextmanager
    async def page_again(self, page: Page) -> AsyncIterator[Page]:
        """Load the page anew: the old one's stream ends, the new one takes over."""
        await page.close()
        async with self.page().open() as again:
            yield again

    async def pass_time(self, page: Page, seconds: float) -> None:
        """Let time pass with a page that goes on beating."""
        while seconds > 0:
            self.clock.seconds += min(seconds, 5.0)
            seconds -= 5.0
            await page.beat()


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    """Templates and catalogues, read once."""
    return Renderer(panel="1024x768")


@pytest.fixture
async def machine(renderer: Renderer) -> AsyncIterator[Machine]:
    """A kiosk with its daemon, both running."""
    with tempfile.TemporaryDirectory(prefix="jk") as directory:
        running = Machine(Path(directory), renderer)
        await running.daemon.start()
        try:
            await running.start()
            yield running
        finally:
            await running.stop()
            await running.daemon.stop()


@pytest.fixture
async def page(machine: Machine) -> AsyncIterator[Page]:
    """The machine's page, on the idle screen."""
    async with machine.page().open() as opened:
        await opened.at("idle")
        yield opened
