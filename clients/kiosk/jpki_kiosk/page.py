"""Which page may speak to us: one at a time, known by its token.

A page is there while its event stream is open and it beats. A page that is loaded anew takes over as soon as the old
one's stream is closed; while the old one is there, another is told so and can do nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

from jpki_kiosk.clock import Clock

TOKEN_BYTES = 16
BEAT_LIMIT_S = 10.0  # the page beats every 2 s
HAND_OVER_S = 1.0  # a page that is loaded anew leaves a moment before or after its successor asks

log = logging.getLogger(__name__)


class Page:
    """One loaded document."""

    def __init__(self, now: float) -> None:
        self.token = secrets.token_hex(TOKEN_BYTES)
        self.beat_at = now
        self.over = asyncio.Event()  # set when another page has taken its place
        self.closed = asyncio.Event()  # set while no event stream of it is open
        self.closed.set()
        self._streams = 0

    def open_stream(self) -> None:
        """Take note of an event stream that begins."""
        if not self._streams:
            log.info("page there")
        self._streams += 1
        self.closed.clear()

    def close_stream(self) -> None:
        """Take note of an event stream that ended."""
        self._streams -= 1
        if not self._streams:
            self.closed.set()


class Pages:
    """Lends the screen to one page."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._page: Page | None = None
        self._started = clock.monotonic()

    async def admit(self) -> Page | None:
        """Return a new page, which ends the one before; None while that one is there."""
        if self._page and self._is_there(self._page):
            try:
                async with asyncio.timeout(HAND_OVER_S):
                    await self._page.closed.wait()
            except TimeoutError:
                log.warning("second page refused")
                return None
        self.revoke()
        self._page = Page(self._clock.monotonic())
        return self._page

    def find(self, token: str) -> Page | None:
        """Return the page of this token, if it has the screen."""
        if self._page is None or not secrets.compare_digest(self._page.token.encode(), token.encode()):
            return None
        return self._page

    def beat(self, page: Page) -> None:
        """Take note that a page lives."""
        page.beat_at = self._clock.monotonic()

    def revoke(self) -> None:
        """Take the screen from the page that has it."""
        if self._page:
            self._page.over.set()
            self._page = None

    @property
    def lost(self) -> bool:
        """Whether no page has lived for too long."""
        last = self._page.beat_at if self._page else self._started
        return self._clock.monotonic() - last >= BEAT_LIMIT_S

    def _is_there(self, page: Page) -> bool:
        beats = self._clock.monotonic() - page.beat_at < BEAT_LIMIT_S
        return beats and not page.closed.is_set()
