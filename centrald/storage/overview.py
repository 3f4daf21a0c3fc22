"""What people and metrics look at, without holding anything: the rows of a moment."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from centrald.rules.model import SILENCE, KioskId, Reservation, State, WriteStatus
from centrald.rules.reservation import state_of
from centrald.storage import rows, schema, statements
from centrald.storage.lean import Link

# Written as in the partial index, or SQLite does not use it.
_OPEN: sa.ColumnElement[bool] = sa.literal_column("reservation.state IN ('authorized', 'in_doubt')")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many there are of what."""

    unexpired: dict[State, int]  # reservations of the last 24 hours, by state
    doubts: int  # reservations in doubt, of whatever age
    oldest_doubt: datetime.datetime | None  # since when the oldest of them has been authorised


class Overview:
    """Reads within one transaction."""

    def __init__(self, connection: Link, now: datetime.datetime) -> None:
        self._connection = connection
        self._now = now

    async def reservations(
        self, limit: int, state: State | None = None, serial: str | None = None
    ) -> list[Reservation]:
        """Return the newest reservations first, all or those in a state or of a certificate's serial number."""
        table = schema.reservation
        query = sa.select(table).order_by(table.c.seq.desc()).limit(limit)
        if state is not None:
            query = query.where(*self._standing(state))
        if serial is not None:
            query = query.where(table.c.serial == serial)
        return [one for one in await self._made(query) if state is None or state_of(one, self._now) is state]

    async def doubts(self, limit: int) -> list[Reservation]:
        """Return the reservations in doubt, the oldest first."""
        table = schema.reservation
        query = sa.select(table).where(*self._standing(State.IN_DOUBT)).order_by(table.c.seq).limit(limit)
        return [one for one in await self._made(query) if state_of(one, self._now) is State.IN_DOUBT]

    def _standing(self, state: State) -> tuple[sa.ColumnElement[bool], ...]:
        """Return what holds of rows in a state: time moves AUTHORIZED on to IN_DOUBT, which the column does not say."""
        table, write = schema.reservation, schema.write
        heard_of = sa.exists().where(
            write.c.reservation_id == table.c.id,
            write.c.status == WriteStatus.OPEN,
            write.c.at > self._now - SILENCE,
        )
        match state:
            case State.AUTHORIZED:
                return table.c.state == state, heard_of
            case State.IN_DOUBT:
                return _OPEN, (table.c.state == state) | ~heard_of
            case _:
                return (table.c.state == state,)

    async def _made(self, query: sa.Select[*tuple[object, ...]]) -> list[Reservation]:
        """Return the reservations of a query's rows, with all under them."""
        ids = sa.select(query.subquery().c.id)
        mine = schema.write.c.reservation_id.in_(ids)
        writes = await self._by_reservation(statements.writes_and_reports(mine))
        found: Iterable[rows.Row] = (await self._connection.execute(query)).mappings()
        return [rows.reservation_of(row, writes.get(row["id"], ())) for row in found]

    async def _by_reservation(self, query: sa.Select[*tuple[object, ...]]) -> dict[str, list[rows.Row]]:
        grouped: dict[str, list[rows.Row]] = {}
        for row in (await self._connection.execute(query)).mappings():
            grouped.setdefault(row["reservation_id"], []).append(row)
        return grouped

    async def kiosks_of(self, attempt_ids: Iterable[str]) -> dict[str, KioskId]:
        """Return who began these attempts."""
        table = schema.attempt
        query = sa.select(table.c.id, table.c.chain, table.c.store, table.c.kiosk)
        found = await self._connection.execute(query.where(table.c.id.in_(set(attempt_ids))))
        return {row.id: KioskId(row.chain, row.store, row.kiosk) for row in found}

    async def counts(self, limit: int) -> Counts:
        """Count what the metrics tell; doubts up to a limit."""
        table = schema.reservation
        query = sa.select(table.c.state, sa.func.count()).where(table.c.expires_at > self._now).group_by(table.c.state)
        recorded = {state: int(count) for state, count in await self._connection.execute(query)}
        doubts = await self.doubts(limit)
        moved_on = sum(one.expires_at > self._now for one in doubts) - recorded.get(State.IN_DOUBT, 0)
        unexpired = {state: recorded.get(state, 0) for state in State}
        unexpired[State.AUTHORIZED] -= moved_on
        unexpired[State.IN_DOUBT] += moved_on
        oldest = min((write.at for one in doubts for write in one.writes), default=None)
        return Counts(unexpired, len(doubts), oldest)
