"""The developers' panel of `make kiosk`: one page beside the citizen's, on a port of its own."""

from __future__ import annotations

import json
import queue
import threading
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.rig.playground import DEEDS, Playground
from tests.rig.process import RigError, wait_until

PAGE = Path(__file__).with_name("panel.html")
HOST = "127.0.0.1"
PATIENCE_S = 10.0


class Panel:
    """Serves the page from a thread. Deeds wait for the main thread: a program dies with the thread that started it."""

    def __init__(self, playground: Playground, port: int = 0) -> None:
        self._playground = playground
        self._deeds: queue.Queue[tuple[str, str]] = queue.Queue()
        routes = [Route("/", self._page), Route("/seen", self._seen), Route("/do", self._do, methods=["POST"])]
        config = uvicorn.Config(Starlette(routes=routes), host=HOST, port=port, log_level="error", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="panel")

    def start(self) -> str:
        """Serve, and return the address. Raises RigError."""
        self._thread.start()
        wait_until(lambda: self._server.started or not self._thread.is_alive(), PATIENCE_S, "the panel")
        if not self._server.started:
            raise RigError("the panel's port is taken: choose another with PANEL_PORT")
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://{HOST}:{port}/"

    def perform(self, seconds: float) -> None:
        """Do what was asked for, on the thread that calls; wait so long for something to be asked for."""
        try:
            label, card = self._deeds.get(timeout=seconds)
        except queue.Empty:
            return
        self._playground.do(label, card)

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)

    def _page(self, _request: Request) -> Response:
        deeds = [{"group": deed.group, "label": deed.label, "hint": deed.hint} for deed in DEEDS]
        page = PAGE.read_text(encoding="utf-8").replace("[/* deeds */]", json.dumps(deeds))
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    def _seen(self, _request: Request) -> Response:
        return JSONResponse(self._playground.seen(), headers={"Cache-Control": "no-store"})

    async def _do(self, request: Request) -> Response:
        """Take a deed of this page only: another site's form cannot send JSON."""
        if request.headers.get("content-type") != "application/json":
            return Response(status_code=415)
        asked = await request.json()
        if asked["deed"] not in {deed.label for deed in DEEDS}:
            return Response(status_code=404)
        self._deeds.put((asked["deed"], asked["card"]))
        return Response(status_code=202)
