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
from centrald.storage import chain, rows, schema, statements
from centrald.storage.fleet import Fleet
from centrald.storage.ledger import Entry, Event
from centrald.storage.maintenance import Maintenance
from centrald.storage.overview import Overview
from centrald.storage.retention import Retention


class Transaction:
    """Reads and writes of one transaction; `now` is the time that counts in it."""

    def __init__(self, connection: AsyncConnection, now: datetime.datetime) -> None:
        self._connection = connection
        self._recorded: dict[str, State] = {}  # as of the last change, by reservation
        self._appended: list[Entry] = []
        self.now = now
        self.fleet = Fleet(connection, now)
        self.maintenance = Maintenance(connection, now)
        self.overview = Overview(connection, now)
        self.retention = Retention(connection, now)

    async def _one(
        self, query: sa.Select[*tuple[object, ...]], values: rows.Values | None = None
    ) -> sa.RowMapping | None:
        return (await self._connection.execute(query, values)).mappings().one_or_none()

    async def _all(
        self, query: sa.Select[*tuple[object, ...]], values: rows.Values | None = None
    ) -> list[sa.RowMapping]:
        return list((await self._connection.execute(query, values)).mappings())

    # cards

    async def card(self, certificate: CertificateId) -> CardEntry | None:
        """Return the registry's entry, and hold it: everything about one certificate happens one after the other."""
        row = await self._one(statements.CARD, _of(certificate))
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

    async def add_challenge(self, challenge: bytes, procedure: Procedure, limit: int) -> bool:
        """Keep a challenge for five minutes, unless so many live already; returns whether it did."""
        values = {
            "given_challenge": challenge,
            "given_procedure": int(procedure),
            "given_at": self.now,
            "lives_after": self.now - CHALLENGE_LIFE,
            "most": limit,
        }
        return (await self._connection.execute(statements.ADD_CHALLENGE, values)).rowcount == 1

    async def challenge_lives(self, challenge: bytes, procedure: Procedure) -> bool:
        """Tell whether this challenge was given for this procedure within five minutes, and is not used; hold it."""
        values = {"challenge": challenge, "procedure": int(procedure), "lives_after": self.now - CHALLENGE_LIFE}
        return await self._one(statements.CHALLENGE, values) is not None

    async def use_challenge(self, challenge: bytes) -> None:
        """Forget a challenge, and those that live no longer."""
        values = {"used": challenge, "lives_after": self.now - CHALLENGE_LIFE}
        await self._connection.execute(statements.USE_CHALLENGE, values)

    # reservations

    async def newest_reservation(self, certificate: CertificateId, procedure: Procedure) -> Reservation | None:
        """Return the certificate's newest reservation for the procedure, whatever became of it."""
        values = {**_of(certificate), "of_procedure": int(procedure)}
        return await self._reservation(statements.NEWEST_RESERVATION, values)

    async def reservation(self, reservation_id: str) -> Reservation | None:
        """Return a reservation by id."""
        return await self._reservation(statements.RESERVATION, {"id": reservation_id})

    async def reservation_of_challenge(self, challenge: bytes) -> Reservation | None:
        """Return the reservation that used up this challenge."""
        return await self._reservation(statements.RESERVATION_OF_CHALLENGE, {"challenge": challenge})

    async def _reservation(self, query: sa.Select[*tuple[object, ...]], values: rows.Values) -> Reservation | None:
        row = await self._one(query, values)
        if row is None:
            return None
        self._recorded[row["id"]] = row["state"]
        if row["current_attempt"] is None:  # no card ever passed a check here, so nothing was written under it
            return rows.reservation_of(row, ())
        found = await self._all(statements.WRITES_AND_REPORTS, {"reservation_id": row["id"]})
        return rows.reservation_of(row, found)

    async def add_reservation(self, reservation: Reservation) -> None:
        """Insert a reservation as the newest of its certificate; the one before no longer is."""
        mine = {**_of(reservation.certificate), "of_procedure": int(reservation.procedure)}
        await self._connection.execute(statements.NO_LONGER_NEWEST, mine)
        values = rows.reservation_values(reservation) | {"newest": True, "state": state_of(reservation, self.now)}
        await self._connection.execute(statements.ADD_RESERVATION, values)

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
        state = state_of(after, self.now)
        values = {"closed": after.closed, "current_attempt": after.current_attempt, "state": state}
        if values != {
            "closed": before.closed,
            "current_attempt": before.current_attempt,
            "state": self._recorded[after.id],
        }:
            await self._connection.execute(statements.SAVE_RESERVATION, values | {"of": after.id})
            self._recorded[after.id] = state
        known = {(write.attempt_id, write.n): write for write in before.writes}
        for write in after.writes:
            await self._save_write(known.get((write.attempt_id, write.n)), write, after.id)

    async def _save_write(self, before: Write | None, after: Write, reservation_id: str) -> None:
        if before == after:
            return
        mine = {"of_attempt": after.attempt_id, "of_n": after.n}
        if before is None:
            await self._connection.execute(statements.ADD_WRITE, rows.write_values(after, reservation_id))
        elif before.status is not after.status:
            await self._connection.execute(statements.SAVE_WRITE, {**mine, "status": after.status})
        earlier = before.reports if before else ()
        for order, one in enumerate(after.reports):
            if one in earlier:
                continue
            if any(one.outcome is other.outcome for other in earlier):
                await self._connection.execute(statements.FORGET_REPORT, {**mine, "of_outcome": one.outcome})
            await self._connection.execute(statements.ADD_REPORT, rows.report_values(after, one, order))

    # attempts

    async def attempt(self, attempt_id: str) -> Attempt | None:
        """Return an attempt, and hold it."""
        row = await self._one(statements.ATTEMPT, {"id": attempt_id})
        return rows.attempt_of(row) if row else None

    async def add_attempt(self, attempt: Attempt) -> None:
        """Insert an attempt."""
        await self._connection.execute(statements.ADD_ATTEMPT, rows.attempt_values(attempt))

    async def save_attempt(self, attempt: Attempt) -> None:
        """Replace an attempt."""
        await self._connection.execute(statements.SAVE_ATTEMPT, {**rows.attempt_values(attempt), "of": attempt.id})

    # ledger

    async def append(self, entry: Entry) -> None:
        """Append one entry to the ledger, when the transaction ends."""
        self._appended.append(entry)

    @property
    def appends(self) -> bool:
        """Whether something is to be appended."""
        return bool(self._appended)

    async def finish(self, known: chain.Head | None) -> list[Entry]:
        """Carry out what comes last: append to the ledger. Returns what was appended; `known`: see `chain.append`."""
        return await chain.append(self._connection, self._appended, known)

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
            query = query.where(sa.literal_column("ledger.contradiction"))  # as the partial index has it
        return [rows.entry_of(row) for row in reversed(await self._all(query))]

    async def entries_after(self, seq: int, limit: int) -> list[chain.Record]:
        """Return the entries that follow a number, in order, as they are exported."""
        return await chain.after(self._connection, seq, limit)

    async def ledger_head(self) -> chain.Head:
        """Return the end of the ledger's chain, and hold it: nobody appends before this transaction ends."""
        return await chain.head(self._connection, hold=True)


def _named(table: sa.Table, certificate: CertificateId) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return table.c.authority_key_id == certificate.authority_key_id, table.c.serial == certificate.serial


def _of(certificate: CertificateId) -> rows.Values:
    return {"of_authority": certificate.authority_key_id, "of_serial": certificate.serial}
