"""The way out: nothing new, the running attempt to its end, its reports to the centre; a write is never cut.

At most 25 s for the attempt and 3 s for what is left to send. With the closing of sockets, reader and channel that is
less than 35 s, and a service manager must leave more (TimeoutStopSec).
"""

from __future__ import annotations

import asyncio
import logging

from gatewayd.session.manager import Manager
from gatewayd.session.outbox import Outbox

ATTEMPT_LIMIT_S = 25.0  # a write that is being made has 20 s, its report 3 s
REPORTS_LIMIT_S = 3.0  # one call to the centre; the next start sends the rest

log = logging.getLogger(__name__)


async def end_attempt(manager: Manager) -> None:
    """Refuse new attempts and wait for the running one, which is told."""
    manager.drain()
    try:
        async with asyncio.timeout(ATTEMPT_LIMIT_S):
            while manager.session is not None:
                manager.changed.clear()
                await manager.changed.wait()
    except TimeoutError:
        log.warning("an attempt did not end in time; the next start closes it from the journal")


async def send_reports(outbox: Outbox) -> None:
    """Try once more to send what the centre has not acknowledged."""
    try:
        async with asyncio.timeout(REPORTS_LIMIT_S):
            await outbox.flush()
    except TimeoutError:
        log.warning("reports are left for the next start")
