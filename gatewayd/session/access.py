"""The way from an attempt to the card: each job on a connection, each command observed, never its content."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from gatewayd.card.link import observed
from gatewayd.reader.port import Connection, Job, Link
from gatewayd.session.ports import Ports

T = TypeVar("T")

JOB_BUDGET_S = 20.0  # one uninterrupted piece of work on the card
CLOSE_LIMIT_S = 2.0  # a mute card is not waited for

log = logging.getLogger(__name__)


class CardAccess:
    """At most one connection at a time, a generation: `run` begins one, `end` or a last job ends it."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._connection: Connection | None = None

    async def run(self, job: Job[T]) -> T:
        """Run one job on a connection of its own. Raises LinkError, or what the job raises."""
        try:
            return await self.begin(job, last=True)
        finally:
            self._connection = None

    async def begin(self, job: Job[T], *, last: bool = False) -> T:
        """Run the first job of a new connection, which is kept for `go_on` unless the job is the last."""
        self._connection = self._ports.reader.connection()
        return await self._connection.run(self._observed(job), budget_s=JOB_BUDGET_S, last=last)

    async def go_on(self, job: Job[T], late: Callable[[T], None]) -> T:
        """Run the last job on the connection that was kept; `late` is given what it returns after its budget."""
        assert self._connection is not None
        return await self._connection.run(self._observed(job), budget_s=JOB_BUDGET_S, last=True, late=late)

    async def end(self) -> None:
        """End the connection, if there is one: card reset, disconnect; what still comes on it is dropped."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await connection.close()
        except TimeoutError:
            log.warning("the card does not let go of the reader")

    def _observed(self, job: Job[T]) -> Job[T]:
        def run(link: Link) -> T:
            return job(observed(link, self._observe, self._ports.clock.monotonic))

        return run

    def _observe(
        self, command: str, seconds: float, header: str, sent: int, received: int, status_word: int | None
    ) -> None:
        """Runs on the reader's thread."""
        self._ports.metrics.apdu(command, seconds)
        shown = "none" if status_word is None else f"{status_word:04X}"
        log.debug("apdu", extra={"header": header, "sent": sent, "received": received, "status": shown})
