"""Puts everything together and serves until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from jpki_kiosk import logs
from jpki_kiosk.clock import Clock, SystemClock
from jpki_kiosk.config import Config
from jpki_kiosk.gateway import open_gateway
from jpki_kiosk.kiosk import Kiosk
from jpki_kiosk.memory import Memory, MemoryUnusable
from jpki_kiosk.page import Pages
from jpki_kiosk.render import Renderer
from jpki_kiosk.server import Server

BACKLOG = 64  # connections; the browser opens six
STOP_S = 2  # for connections that do not end by themselves
LOOK_S = 0.5  # how often it is looked whether a page is there

log = logging.getLogger(__name__)


class CannotServe(Exception):
    """The address or the state directory cannot be used; the message says which and why."""


def run(config: Config, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotServe."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold what the citizen typed
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines are no JSON; what matters is told by ours
    logs.set_up(config.log_level, journald="JOURNAL_STREAM" in os.environ)
    memory = Memory(Path(config.state_directory))
    try:
        memory.prepare()
        listener = socket.create_server((config.host.strip("[]"), config.port), family=_family(config), backlog=BACKLOG)
    except MemoryUnusable as error:
        raise CannotServe(str(error)) from error
    except OSError as error:
        raise CannotServe(f"{config.listen}: {error.strerror}") from error
    with listener:
        asyncio.run(serve(config, memory, SystemClock(), listener, announce))
    gc.collect()


async def serve(
    config: Config, memory: Memory, clock: Clock, listener: socket.socket, announce: Callable[[str], None]
) -> None:
    """Serve on a listening socket until a signal comes."""
    port = listener.getsockname()[1]
    renderer = Renderer(panel=config.panel)
    pages = Pages(clock)
    async with open_gateway(config.gateway) as gateway:
        kiosk = Kiosk(gateway, memory, clock, renderer.languages)
        hosts = frozenset(f"{host}:{port}" for host in (config.host, "localhost"))

        def started() -> None:
            address = f"http://{config.host}:{port}"
            log.info("serving", extra={"address": address})
            announce(json.dumps({"event": "serving", "address": address}))

        http = _Uvicorn(
            uvicorn.Config(
                Server(kiosk, pages, renderer).app(hosts),
                http="h11",
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=STOP_S,
            ),
            started=started,
            stopping=kiosk.close,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, http.stop)
        async with asyncio.TaskGroup() as group:
            background = [group.create_task(kiosk.run()), group.create_task(_look_for_pages(kiosk, pages))]
            await http.serve(sockets=[listener])
            for task in background:
                task.cancel()
    log.info("stopped")


async def _look_for_pages(kiosk: Kiosk, pages: Pages) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        if pages.lost:
            kiosk.lost_page()


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers of its own, which would end the process with the signal's code."""

    def __init__(self, config: uvicorn.Config, *, started: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell_started = started
        self._tell_stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve from now on."""
        await super().startup(sockets)
        self._tell_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    def stop(self) -> None:
        """End in order."""
        self.should_exit = True
        self._tell_stopping()


def _family(config: Config) -> socket.AddressFamily:
    return socket.AF_INET6 if config.host.startswith("[") else socket.AF_INET
