"""Chores that services on one database share: each is done by one of them, and then by none for a while."""

from __future__ import annotations

import datetime

import sqlalchemy as sa

from centrald.storage.lean import Link
from centrald.storage.schema import chore

_KNOW = sa.text("INSERT INTO chore (name, claimed_until) VALUES (:name, :never) ON CONFLICT DO NOTHING").bindparams(
    sa.bindparam("never", type_=chore.c.claimed_until.type)
)


class Chores:
    """The chores within one transaction; the time is the database's."""

    def __init__(self, connection: Link, now: datetime.datetime) -> None:
        self._connection = connection
        self._now = now

    async def claim(self, name: str, every: datetime.timedelta, hold: datetime.timedelta) -> bool:
        """Take a chore that was not done for so long, unless another service has it; tells whether it is ours now.

        A service that ends before it says `done` has it until `hold` has passed.
        """
        await self._connection.execute(_KNOW, {"name": name, "never": self._now - hold})
        mine = (
            sa.update(chore)
            .where(
                chore.c.name == name,
                chore.c.claimed_until <= self._now,
                chore.c.done_at.is_(None) | (chore.c.done_at <= self._now - every),
            )
            .values(claimed_until=self._now + hold)
            .returning(chore.c.name)
        )
        return (await self._connection.execute(mine)).first() is not None

    async def done(self, name: str) -> None:
        """Say that a chore is done, for everyone."""
        values = {"claimed_until": self._now, "done_at": self._now}
        await self._connection.execute(sa.update(chore).where(chore.c.name == name).values(values))

    async def last_done(self, name: str) -> datetime.datetime | None:
        """Return when it was done last."""
        found = await self._connection.execute(sa.select(chore.c.done_at).where(chore.c.name == name))
        moment: datetime.datetime | None = found.scalar_one_or_none()
        return moment
