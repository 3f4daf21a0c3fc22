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
    """The address or the state directory cannot be used, or there is a fault; the message says which and why."""


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

    def tell(address: str) -> None:
        log.info("serving", extra={"address": address})
        announce(json.dumps({"event": "serving", "address": address}))

    try:
        with listener:
            asyncio.run(_until_signal(config, memory, listener, tell))
    except Exception as error:
        log.exception("fault")
        raise CannotServe("a fault of its own; the log says where") from error
    log.info("stopped")
    gc.collect()


async def _until_signal(
    config: Config, memory: Memory, listener: socket.socket, serving: Callable[[str], None]
) -> None:
    asyncio.get_running_loop().set_exception_handler(logs.tell_loop_fault)
    renderer = Renderer(panel=config.panel)
    with stop_signals() as stop:
        await serve(config, renderer, memory, SystemClock(), listener, serving=serving, stop=stop)


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set; afterwards both are ignored for the rest of the process's life.

    A loop's own handlers give a signal its default back when the loop is closed: one more signal would then kill a
    process that has done all its work.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if not asked:  # a flood of signals would leave the loop no time for the stop
            asked = True
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)


async def serve(
    config: Config,
    renderer: Renderer,
    memory: Memory,
    clock: Clock,
    listener: socket.socket,
    *,
    serving: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    """Serve on a listening socket until `stop` is set; `serving` is called with the address once it serves."""
    port = listener.getsockname()[1]
    pages = Pages(clock)
    async with open_gateway(config.gateway) as gateway:
        kiosk = Kiosk(gateway, memory, clock, renderer.languages)
        http = _Uvicorn(
            uvicorn.Config(
                Server(kiosk, pages, renderer).app(frozenset({f"{config.host}:{port}", f"localhost:{port}"})),
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
            started=lambda: serving(f"http://{config.host}:{port}"),
        )
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(kiosk.run()),
                group.create_task(_look_for_pages(kiosk, pages)),
                group.create_task(_stop(http, kiosk, stop)),
            ]
            await http.serve(sockets=[listener])
            for task in background:
                task.cancel()


async def _stop(http: uvicorn.Server, kiosk: Kiosk, stop: asyncio.Event) -> None:
    await stop.wait()
    http.should_exit = True
    kiosk.close()


async def _look_for_pages(kiosk: Kiosk, pages: Pages) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        if pages.lost:
            kiosk.lost_page()


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers of its own, which would end the process with the signal's code."""

    def __init__(self, config: uvicorn.Config, *, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve from now on."""
        await super().startup(sockets)
        self._tell_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def _family(config: Config) -> socket.AddressFamily:
    return socket.AF_INET6 if config.host.startswith("[") else socket.AF_INET
