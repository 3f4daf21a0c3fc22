"""One transaction: loads and saves whole values; what it locks is the reservation or the certificate in question."""

from __future__ import annotations

import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from centrald.rules.model import (
    CHALLENGE_LIFE,
    Attempt,
    CardEntry,
    CertificateId,
    Procedure,
    Reservation,
    State,
    Write,
)
from centrald.rules.reservation import state_of
from centrald.storage import rows, schema
from centrald.storage.fleet import Fleet
from centrald.storage.ledger import Entry, Event


class Transaction:
    """Reads and writes of one transaction; `now` is the time that counts in it."""

    def __init__(self, connection: AsyncConnection, now: datetime.datetime) -> None:
        self._connection = connection
        self._recorded: dict[str, State] = {}  # as of the last change, by reservation
        self.now = now
        self.fleet = Fleet(connection, now)

    async def _one(self, query: sa.Select[*tuple[object, ...]]) -> sa.RowMapping | None:
        return (await self._connection.execute(query)).mappings().one_or_none()

    async def _all(self, query: sa.Select[*tuple[object, ...]]) -> list[sa.RowMapping]:
        return list((await self._connection.execute(query)).mappings())

    # cards

    async def card(self, certificate: CertificateId) -> CardEntry | None:
        """Return the registry's entry, and hold it: everything about one certificate happens one after the other."""
        query = sa.select(schema.card).where(*_named(schema.card, certificate)).with_for_update()
        row = await self._one(query)
        return rows.card_of(row) if row else None

    async def cards(self, serial: str | None = None, limit: int = 100) -> list[CardEntry]:
        """Return registry entries, all or those of one serial number (of whichever authority)."""
        query = sa.select(schema.card).order_by(schema.card.c.serial).limit(limit)
        if serial is not None:
            query = query.where(schema.card.c.serial == serial)
        return [rows.card_of(row) for row in await self._all(query)]

    async def save_card(self, card: CardEntry, *, new: bool) -> None:
        """Insert or replace a registry entry."""
        values = rows.card_values(card)
        if new:
            await self._connection.execute(sa.insert(schema.card).values(values))
        else:
            await self._connection.execute(
                sa.update(schema.card).where(*_named(schema.card, card.certificate)).values(values)
            )

    # phones' challenges

    async def add_challenge(self, challenge: bytes, procedure: Procedure) -> None:
        """Keep a challenge for five minutes; older ones go."""
        table = schema.phone_challenge
        await self._connection.execute(sa.delete(table).where(table.c.issued_at <= self.now - CHALLENGE_LIFE))
        values = {"challenge": challenge, "procedure": int(procedure), "issued_at": self.now}
        await self._connection.execute(sa.insert(table).values(values))

    async def open_challenges(self) -> int:
        """Count the challenges that still live."""
        table = schema.phone_challenge
        query = sa.select(sa.func.count()).select_from(table).where(table.c.issued_at > self.now - CHALLENGE_LIFE)
        return int((await self._connection.execute(query)).scalar_one())

    async def challenge_lives(self, challenge: bytes, procedure: Procedure) -> bool:
        """Tell whether this challenge was given for this procedure within five minutes, and is not used; hold it."""
        table = schema.phone_challenge
        query = sa.select(table.c.challenge).where(
            table.c.challenge == challenge,
            table.c.procedure == int(procedure),
            table.c.issued_at > self.now - CHALLENGE_LIFE,
        )
        query = query.with_for_update()
        return await self._one(query) is not None

    async def use_challenge(self, challenge: bytes) -> None:
        """Forget a challenge."""
        table = schema.phone_challenge
        await self._connection.execute(sa.delete(table).where(table.c.challenge == challenge))

    # reservations

    async def newest_reservation(self, certificate: CertificateId, procedure: Procedure) -> Reservation | None:
        """Return the certificate's newest reservation for the procedure, whatever became of it."""
        table = schema.reservation
        return await self._reservation(
            *_named(table, certificate), table.c.procedure == int(procedure), table.c.newest.is_(True)
        )

    async def reservation(self, reservation_id: str) -> Reservation | None:
        """Return a reservation by id."""
        return await self._reservation(schema.reservation.c.id == reservation_id)

    async def reservation_of_challenge(self, challenge: bytes) -> Reservation | None:
        """Return the reservation that used up this challenge."""
        return await self._reservation(schema.reservation.c.challenge == challenge)

    async def reservations(self, limit: int) -> list[Reservation]:
        """Return the newest reservations first."""
        table = schema.reservation
        ids = await self._all(sa.select(table.c.id).order_by(table.c.seq.desc()).limit(limit))
        found = [await self.reservation(row["id"]) for row in ids]
        return [one for one in found if one is not None]

    async def _reservation(self, *where: sa.ColumnElement[bool]) -> Reservation | None:
        row = await self._one(sa.select(schema.reservation).where(*where).with_for_update())
        if row is None:
            return None
        self._recorded[row["id"]] = row["state"]
        write, report = schema.write, schema.report
        writes = await self._all(sa.select(write).where(write.c.reservation_id == row["id"]).order_by(write.c.seq))
        if not writes:
            return rows.reservation_of(row, (), ())
        joined = report.join(write, (write.c.attempt_id == report.c.attempt_id) & (write.c.n == report.c.n))
        query = sa.select(report).select_from(joined).where(write.c.reservation_id == row["id"])
        reports = await self._all(query.order_by(report.c.order))
        return rows.reservation_of(row, writes, reports)

    async def add_reservation(self, reservation: Reservation) -> None:
        """Insert a reservation as the newest of its certificate; the one before no longer is."""
        table = schema.reservation
        mine = (*_named(table, reservation.certificate), table.c.procedure == int(reservation.procedure))
        await self._connection.execute(sa.update(table).where(*mine, table.c.newest.is_(True)).values(newest=False))
        await self._connection.execute(
            sa.insert(table).values(
                rows.reservation_values(reservation) | {"newest": True, "state": state_of(reservation, self.now)}
            )
        )

    async def settle(self, reservation: Reservation) -> None:
        """Record a change that time alone made (20 minutes of silence); called before the reservation is changed."""
        before, after = self._recorded[reservation.id], state_of(reservation, self.now)
        if before is after:
            return
        await self.save_reservation(reservation, reservation)
        silent = Entry(Event.SILENT, self.now, reservation_id=reservation.id, state_before=before, state_after=after)
        await self.append(silent)

    async def save_reservation(self, before: Reservation, after: Reservation) -> None:
        """Write what changed: closed, current attempt, writes and their reports."""
        table = schema.reservation
        state = state_of(after, self.now)
        values = {"closed": after.closed, "current_attempt": after.current_attempt, "state": state}
        if values != {
            "closed": before.closed,
            "current_attempt": before.current_attempt,
            "state": self._recorded[after.id],
        }:
            await self._connection.execute(sa.update(table).where(table.c.id == after.id).values(values))
            self._recorded[after.id] = state
        known = {(write.attempt_id, write.n): write for write in before.writes}
        for write in after.writes:
            await self._save_write(known.get((write.attempt_id, write.n)), write, after.id)

    async def _save_write(self, before: Write | None, after: Write, reservation_id: str) -> None:
        if before == after:
            return
        write, report = schema.write, schema.report
        mine = (write.c.attempt_id == after.attempt_id, write.c.n == after.n)
        if before is None:
            await self._connection.execute(sa.insert(write).values(rows.write_values(after, reservation_id)))
        elif before.status is not after.status:
            await self._connection.execute(sa.update(write).where(*mine).values(status=after.status))
        earlier = before.reports if before else ()
        for order, one in enumerate(after.reports):
            if one in earlier:
                continue
            same = (report.c.attempt_id == after.attempt_id, report.c.n == after.n, report.c.outcome == one.outcome)
            await self._connection.execute(sa.delete(report).where(*same))
            await self._connection.execute(sa.insert(report).values(rows.report_values(after, one, order)))

    # attempts

    async def attempt(self, attempt_id: str) -> Attempt | None:
        """Return an attempt, and hold it."""
        table = schema.attempt
        row = await self._one(sa.select(table).where(table.c.id == attempt_id).with_for_update())
        return rows.attempt_of(row) if row else None

    async def add_attempt(self, attempt: Attempt) -> None:
        """Insert an attempt."""
        await self._connection.execute(sa.insert(schema.attempt).values(rows.attempt_values(attempt)))

    async def save_attempt(self, attempt: Attempt) -> None:
        """Replace an attempt."""
        table = schema.attempt
        await self._connection.execute(
            sa.update(table).where(table.c.id == attempt.id).values(rows.attempt_values(attempt))
        )

    # ledger

    async def append(self, entry: Entry) -> None:
        """Append one entry to the ledger: the only statement that touches it."""
        await self._connection.execute(sa.insert(schema.ledger).values(rows.ledger_values(entry)))

    async def entries(
        self,
        limit: int,
        attempt_id: str | None = None,
        reservation_id: str | None = None,
        *,
        contradictions: bool = False,
    ) -> list[Entry]:
        """Return the last entries, oldest first."""
        table = schema.ledger
        query = sa.select(table).order_by(table.c.seq.desc()).limit(limit)
        if attempt_id:
            query = query.where(table.c.attempt_id == attempt_id)
        if reservation_id:
            query = query.where(table.c.reservation_id == reservation_id)
        if contradictions:
            query = query.where(table.c.contradiction.is_(True))
        return [rows.entry_of(row) for row in reversed(await self._all(query))]


def _named(table: sa.Table, certificate: CertificateId) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return table.c.authority_key_id == certificate.authority_key_id, table.c.serial == certificate.serial
