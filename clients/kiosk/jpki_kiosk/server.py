"""HTTP: one document, its events, and what is pressed on it. It can do no more than the daemon's socket offers."""

from __future__ import annotations

import contextlib
import json
import logging
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jpki_kiosk.kiosk import Kiosk, Shown
from jpki_kiosk.page import Page, Pages
from jpki_kiosk.preferences import Preferences
from jpki_kiosk.render import Renderer
from jpki_kiosk.screens import page_in_use

STATIC = Path(__file__).with_name("static")
LONGEST_SECRET_BYTES = 64  # 16 characters, each of 3 bytes when full-width, and no more than a little

HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "font", "connect")),
            *(f"{what} 'none'" for what in ("frame-ancestors", "base-uri", "form-action")),
            "require-trusted-types-for 'script'",
            "trusted-types kiosk",
        )
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(
        f"{feature}=()"
        for feature in ("camera", "microphone", "geolocation", "usb", "serial", "hid", "payment", "clipboard-read")
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

# A document that cannot be drawn has no program of ours that would ask again.
FAULT = """<!doctype html><html lang="ja"><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<title>調整中</title><h1>調整中です</h1><p>しばらくお待ちください。</p>
<p lang="en">Out of order. Please wait.</p></html>"""

log = logging.getLogger(__name__)


class Guard:
    """Refuses what no page of ours sends, and gives every answer the same headers.

    Host is compared as it stands, against names that resolve to another address than ours and are led here (DNS
    rebinding). What changes something must say that it comes from our own document.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                added = ((name.lower().encode(), value.encode()) for name, value in HEADERS.items())
                message["headers"] = [*message["headers"], *(item for item in added if item[0] not in given)]
            await send(message)

        problem = self._problem(Request(scope))
        if problem:
            log.warning("request refused", extra={"problem": problem})
            refusal = JSONResponse({"accepted": False}, status_code=403)
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _problem(self, request: Request) -> str:
        headers = request.headers
        if headers.getlist("host") not in [[host] for host in self._hosts]:
            return "host"
        if "sec-purpose" in headers:  # fetched in advance: it would take the screen from the page that is there
            return "sec-purpose"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "sec-fetch-site"
        if request.method not in ("GET", "HEAD") and headers.get("origin") != f"http://{headers['host']}":
            return "origin"
        return ""


class Server:
    """The routes. A request that has to be a page's names its token in X-Page-Token, and the screen it was made for
    (the event's `view`) in X-View.
    """  # noqa: D205 - one sentence

    def __init__(self, kiosk: Kiosk, pages: Pages, renderer: Renderer) -> None:
        self._kiosk = kiosk
        self._pages = pages
        self._renderer = renderer

    def app(self, hosts: frozenset[str]) -> ASGIApp:
        """Return the application."""
        mimetypes.add_type("text/javascript", ".js")  # whatever the machine's own table says: nosniff takes it as it is
        mimetypes.add_type("font/woff2", ".woff2")
        routes = [
            Route("/", self._document),
            Route("/events", self._events),
            Route("/beat", self._beat, methods=["POST"]),
            Route("/press/{name}", self._press, methods=["POST"]),
            Route("/user-pin", self._secret(self._kiosk.enter_user_pin), methods=["POST"]),
            Route("/new-password", self._secret(self._kiosk.enter_new_password), methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        return Guard(Starlette(routes=routes, exception_handlers={Exception: _fault}), hosts=hosts)

    async def _document(self, request: Request) -> Response:
        page = await self._pages.admit()
        if page is None:
            return HTMLResponse(self._renderer.document(page_in_use(), Preferences(), token=""), status_code=409)
        shown = self._kiosk.shown
        return HTMLResponse(self._renderer.document(shown.screen, shown.preferences, token=page.token))

    async def _events(self, request: Request) -> Response:
        page = self._page(request)
        if page is None:
            return _answer(accepted=False, status=403)
        return StreamingResponse(self._stream(page), media_type="text/event-stream")

    async def _stream(self, page: Page) -> AsyncIterator[bytes]:
        page.open_stream()
        try:
            visit = self._kiosk.shown.visit
            async for shown in self._kiosk.watch():
                if page.over.is_set():
                    return
                if shown.visit != visit:
                    yield b"event: wipe\ndata: {}\n\n"
                    return
                yield b"event: screen\ndata: " + self._event(shown) + b"\n\n"
        finally:
            page.close_stream()

    def _event(self, shown: Shown) -> bytes:
        screen, wanted = shown.screen, shown.preferences
        content = {
            "name": screen.name,
            "view": shown.serial,
            "html": self._renderer.fragment(screen, wanted),
            "warning": self._renderer.warning(screen, wanted),
            "seconds_left": screen.seconds_left,
            "can_extend": screen.can_extend,
            "stage": screen.stage,
            "sound": screen.sound,
            "sound_every_s": screen.sound_every_s,
            "lang": wanted.lang,
            "size": wanted.size,
            "theme": wanted.theme,
        }
        return json.dumps(content, ensure_ascii=False).encode()  # one line: JSON escapes every line break

    async def _beat(self, request: Request) -> Response:
        page = self._page(request)
        if page is None:
            return _answer(accepted=False, status=403)
        self._pages.beat(page)
        return _answer(accepted=True)

    async def _press(self, request: Request) -> Response:
        if self._page(request) is None:
            return _answer(accepted=False, status=403)
        return _answer(accepted=await self._kiosk.press(request.path_params["name"], _serial(request)))

    def _secret(self, enter: Callable[[bytearray, int], Awaitable[bool]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            if self._page(request) is None:
                return _answer(accepted=False, status=403)
            value = bytearray()
            try:
                with contextlib.suppress(ClientDisconnect):
                    async for chunk in request.stream():
                        if len(value) + len(chunk) > LONGEST_SECRET_BYTES:
                            return _answer(accepted=False, status=413)
                        value += chunk
                    return _answer(accepted=bool(value) and await enter(value, _serial(request)))
                return _answer(accepted=False, status=400)
            finally:
                value[:] = bytes(len(value))

        return endpoint

    def _page(self, request: Request) -> Page | None:
        return self._pages.find(request.headers.get("x-page-token", ""))


def _serial(request: Request) -> int:
    text = request.headers.get("x-view", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


async def _fault(_request: Request, _error: Exception) -> Response:
    return HTMLResponse(FAULT, status_code=500)


def _answer(*, accepted: bool, status: int = 200) -> Response:
    return JSONResponse({"accepted": accepted}, status_code=status)
