"""The daemon as the screen sees it: its status, followed for as long as the server runs, and whether it lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from jpki_kiosk.gateway import BrokenCall, Gateway, NoSuchAttempt
from jpki_kiosk.values import Status

RECONNECT_S = 1.0
PROBE_S = 3.0  # a frozen daemon keeps its streams open, and says nothing
MOST_MISSED_PROBES = 2  # before it counts as gone for an attempt, too

log = logging.getLogger(__name__)


class Sight:
    """`changed` is called after every change of the status, `gone` when the daemon has been silent for too long."""

    def __init__(self, gateway: Gateway, *, changed: Callable[[], None], gone: Callable[[], None]) -> None:
        self._gateway = gateway
        self._changed = changed
        self._gone = gone
        self._missed = 0
        self._wake = asyncio.Event()
        self.status: Status | None = None  # None: the daemon does not answer

    def look_now(self) -> None:
        """Try to connect without waiting for the next turn."""
        self._wake.set()

    async def follow(self) -> None:
        """Take every status, and connect again whenever the daemon is back."""
        while True:
            try:
                async for status in self._gateway.statuses():
                    self._see(status)
            except (BrokenCall, NoSuchAttempt) as error:
                if self.status is not None:
                    log.warning("daemon lost", extra={"code": str(error)})
            self._see(None)
            self._wake.clear()
            try:
                async with asyncio.timeout(RECONNECT_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def probe(self) -> None:
        """Ask from time to time, because a stream alone does not tell a frozen daemon from a quiet one."""
        while True:
            await asyncio.sleep(PROBE_S)
            try:
                status = await self._gateway.status()
            except (BrokenCall, NoSuchAttempt):
                self._missed += 1
                self._see(None)
                if self._missed == MOST_MISSED_PROBES:
                    self._gone()
            else:
                self._missed = 0
                self._see(self.status or status)

    def _see(self, status: Status | None) -> None:
        self.status = status
        self._changed()
