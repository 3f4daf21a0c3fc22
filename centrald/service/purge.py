"""Forgets what is over: by command, or from time to time by one of the services on a database."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable

from centrald.errors import StorageFailed
from centrald.storage.database import Database
from centrald.storage.ledger import Entry, Event

_log = logging.getLogger(__name__)

CHORE = "purge"
_BATCH = 100  # reservations of one transaction: no call waits long behind it
_HOLD = datetime.timedelta(minutes=10)  # how long another service waits for one that died at it
LOOK_SECONDS = 60.0  # how often a service asks whether it is time again


async def purge(database: Database, keep: datetime.timedelta) -> int:
    """Forget reservations that have been over for so long, and all under them; returns how many.

    What is in doubt or closed as unknown stays, and so does the ledger, which notes it.
    """
    total = 0
    while True:
        async with database.transaction() as tx:
            gone = await tx.retention.forget(keep, _BATCH)
            total += gone
            if not gone:
                await tx.chores.done(CHORE)
                if total:
                    tx.append(Entry(Event.PURGED, tx.now, detail=f"{total} reservations or attempts"))
                return total


class Purge:
    """Does it every so often, once for all services on the database."""

    def __init__(
        self, database: Database, keep: datetime.timedelta, every: datetime.timedelta, forgotten: Callable[[int], None]
    ) -> None:
        self._database = database
        self._keep = keep
        self._every = every
        self._forgotten = forgotten

    async def turn(self) -> bool:
        """Forget, if it is time and no other service is at it; tells whether it was."""
        async with self._database.transaction() as tx:
            if not await tx.chores.claim(CHORE, self._every, _HOLD):
                return False
        total = await purge(self._database, self._keep)
        self._forgotten(total)
        if total:
            _log.info("what is over is forgotten", extra={"forgotten": total, "kept_days": self._keep.days})
        return True

    async def run(self) -> None:
        """Go on until cancelled; what fails is tried again."""
        while True:
            try:
                await self.turn()
            except StorageFailed as error:
                _log.error("nothing could be forgotten", extra={"error": str(error)})
            except Exception:  # noqa: BLE001 - whatever it is, the next turn comes
                _log.exception("unhandled")
            await asyncio.sleep(min(LOOK_SECONDS, self._every.total_seconds()))


def look_at_purge(
    database: Database, done: Callable[[datetime.datetime | None], None]
) -> Callable[[], Awaitable[None]]:
    """Return a look at when it was done last, by whichever service or command."""

    async def look() -> None:
        async with database.transaction() as tx:
            done(await tx.chores.last_done(CHORE))

    return look
