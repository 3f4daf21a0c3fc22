"""Forgets what is over, a batch at a time; the ledger, which names no citizen, stays."""

from __future__ import annotations

import datetime

import sqlalchemy as sa

from centrald.rules.retention import OVER
from centrald.storage.lean import Link
from centrald.storage.schema import attempt, report, reservation, write


class Retention:
    """Deletes within one transaction."""

    def __init__(self, connection: Link, now: datetime.datetime) -> None:
        self._connection = connection
        self._now = now

    async def forget(self, keep: datetime.timedelta, limit: int) -> int:
        """Delete up to so many reservations and all under them, and as many attempts without any; returns how many.

        See `centrald.rules.retention.forgettable`. What another transaction holds is left for the next time.
        """
        before = self._now - keep
        over = reservation.c.expires_at <= before, reservation.c.state.in_(OVER)
        done = await self._ids(sa.select(reservation.c.id).where(*over).order_by(reservation.c.expires_at), limit)
        loose = attempt.c.reservation_id.is_(None), attempt.c.begun_at <= before
        lone = await self._ids(sa.select(attempt.c.id).where(*loose).order_by(attempt.c.begun_at), limit)
        mine = sa.select(write.c.attempt_id).where(write.c.reservation_id.in_(done))
        for statement in (
            sa.delete(report).where(report.c.attempt_id.in_(mine)),
            sa.delete(write).where(write.c.reservation_id.in_(done)),
            sa.delete(attempt).where(attempt.c.reservation_id.in_(done)),
            sa.delete(attempt).where(attempt.c.id.in_(lone)),
            sa.delete(reservation).where(reservation.c.id.in_(done)),
        ):
            await self._connection.execute(statement)
        return len(done) + len(lone)

    async def _ids(self, query: sa.Select[str], limit: int) -> list[str]:
        found = await self._connection.execute(query.limit(limit).with_for_update(skip_locked=True))
        return list(found.scalars())
