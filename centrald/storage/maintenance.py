"""Announced maintenance windows: added and cancelled by people, never removed."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import sqlalchemy as sa

from centrald.errors import NotThere
from centrald.rules.hours import Window
from centrald.storage import schema
from centrald.storage.lean import Link

_LOOK_AHEAD = datetime.timedelta(days=31)  # what begins later says nothing about the opening hours of these days


@dataclass(frozen=True, slots=True)
class Announced:
    """A window that was announced."""

    id: int
    window: Window
    note: str | None
    added_at: datetime.datetime
    cancelled_at: datetime.datetime | None


class Maintenance:
    """The windows within one transaction."""

    def __init__(self, connection: Link, now: datetime.datetime) -> None:
        self._connection = connection
        self._now = now

    async def add(self, window: Window, note: str | None) -> Announced:
        """Announce a window; from its beginning on, no attempt begins."""
        table = schema.maintenance
        values = {"starts_at": window.start, "ends_at": window.end, "note": note, "added_at": self._now}
        added = (await self._connection.execute(sa.insert(table).values(values).returning(table.c.id))).scalar_one()
        return Announced(added, window, note, self._now, None)

    async def cancel(self, window_id: int) -> Announced:
        """Cancel a window, also while it runs; raises NotThere unless it is one that is ahead or running."""
        table = schema.maintenance
        found = [one for one in await self.announced(past=False) if one.id == window_id]
        if not found:
            raise NotThere(f"no maintenance window {window_id} is ahead or running")
        await self._connection.execute(sa.update(table).where(table.c.id == window_id).values(cancelled_at=self._now))
        return found[0]

    async def announced(self, *, past: bool) -> list[Announced]:
        """Return the windows in the order they begin; `past`: with those that are over or cancelled."""
        table = schema.maintenance
        query = sa.select(table).order_by(table.c.starts_at, table.c.id)
        if not past:
            query = query.where(table.c.ends_at > self._now, table.c.cancelled_at.is_(None))
        return [
            Announced(
                row["id"], Window(row["starts_at"], row["ends_at"]), row["note"], row["added_at"], row["cancelled_at"]
            )
            for row in (await self._connection.execute(query)).mappings()
        ]
