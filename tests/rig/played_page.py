"""A page without a browser: what the page's own code sends, and what it is sent, over a real connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

SECONDS = 20.0


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def accepted(self) -> bool:
        """What a press is answered with."""
        return bool(self.status == 200 and json.loads(self.body)["accepted"])


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), {name.lower(): value for name, value in headers.items()}


class Page:
    """One loaded document. Its stream of events is read in the background; `events` holds all that came."""

    def __init__(self, address: str) -> None:
        self.host = address.removeprefix("http://")
        self.token = ""
        self.events: list[dict[str, Any]] = []
        self.wiped = False
        self.told: list[bytes] = []  # every answer's body, to be searched
        self._news = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None

    @property
    def event(self) -> dict[str, Any]:
        """The newest screen."""
        return self.events[-1]

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request as our own page would, but for the headers that are given."""
        sent = {"Host": self.host, "Sec-Fetch-Site": "same-origin", "X-Page-Token": self.token}
        if method == "POST":
            sent["Origin"] = f"http://{self.host}"
        sent |= {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items() if value), "", ""]
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(*self.host.rsplit(":", 1))
            try:
                writer.write("\r\n".join(lines).encode() + body)
                status, got = await _head(reader)
                answer = Answer(status, got, await reader.read())
            finally:
                writer.close()
        self.told.append(answer.body)
        return answer

    async def load(self) -> Answer:
        """Ask for the document, and know its token."""
        answer = await self.request("GET", "/")
        found = re.search(rb'name="page-token" content="([0-9a-f]*)"', answer.body)
        self.token = found[1].decode() if found else ""
        return answer

    async def follow(self) -> None:
        """Load the document and follow its events, until `close`."""
        assert (await self.load()).status == 200
        self._reading = asyncio.create_task(self._follow())
        await self.until(lambda event: True)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Page]:
        """Load the document and follow its events, until the block ends."""
        try:
            await self.follow()
            yield self
        finally:
            await self.close()

    async def close(self) -> None:
        """Let the stream go, as a page does that is unloaded or killed."""
        if self._reading:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def press(self, name: str, view: int | None = None) -> Answer:
        """Press a plain button of the newest screen, or of an older one."""
        return await self.request("POST", f"/press/{name}", headers=self._view(view))

    async def enter(self, path: str, value: bytes, view: int | None = None) -> Answer:
        """Confirm a secret."""
        return await self.request("POST", path, value, self._view(view))

    async def beat(self) -> Answer:
        """Say that the page lives."""
        return await self.request("POST", "/beat")

    async def go(self, *presses: str) -> None:
        """Press one button after the other; each must be taken and bring another screen."""
        for name in presses:
            view = self.event["view"]
            assert (await self.press(name)).accepted, name
            await self.until(lambda event, view=view: event["view"] > view)

    async def at(self, name: str, **fields: Any) -> dict[str, Any]:
        """Wait for a screen of this name, with these fields."""
        return await self.until(
            lambda event: event["name"] == name and all(event[key] == value for key, value in fields.items())
        )

    async def until(self, wanted: Any) -> dict[str, Any]:
        """Wait until the newest screen is wanted."""
        try:
            async with asyncio.timeout(SECONDS), self._news:
                await self._news.wait_for(lambda: bool(self.events) and wanted(self.event))
        except TimeoutError:
            raise AssertionError(f"not shown; the newest of {[event['name'] for event in self.events]}") from None
        return self.event

    async def until_wiped(self) -> None:
        """Wait for the end of the visit."""
        async with asyncio.timeout(SECONDS), self._news:
            await self._news.wait_for(lambda: self.wiped)

    async def until_closed(self) -> None:
        """Wait until the server has ended the stream."""
        assert self._reading
        async with asyncio.timeout(SECONDS):
            await self._reading

    def _view(self, view: int | None) -> dict[str, str]:
        return {"X-View": str(self.event["view"] if view is None else view)}

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_connection(*self.host.rsplit(":", 1))
        try:
            head = f"GET /events HTTP/1.1\r\nHost: {self.host}\r\nX-Page-Token: {self.token}\r\n\r\n"
            writer.write(head.encode())
            status, _ = await _head(reader)
            assert status == 200
            data = b""
            while line := await reader.readline():  # chunked transfer coding, RFC 9112, section 7.1
                if not (size := int(line, 16)):
                    return
                data += await reader.readexactly(size)
                await reader.readline()
                *complete, data = data.split(b"\n\n")
                for event in complete:
                    await self._take(event)
        finally:
            writer.close()

    async def _take(self, event: bytes) -> None:
        self.told.append(event)
        name, data = event.decode().removeprefix("event: ").split("\ndata: ")
        async with self._news:
            if name == "wipe":
                self.wiped = True
            else:
                self.events.append(json.loads(data))
            self._news.notify_all()
