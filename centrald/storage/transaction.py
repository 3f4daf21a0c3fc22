"""One transaction: loads and saves whole values; what it locks is the reservation or the certificate in question."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property

import sqlalchemy as sa

from centrald.rules.hours import Window
from centrald.rules.model import (
    CHALLENGE_LIFE,
    Attempt,
    CardEntry,
    CertificateId,
    KioskId,
    Procedure,
    Reservation,
    State,
    Write,
)
from centrald.rules.reservation import state_of
from centrald.storage import chain, rows, schema, statements
from centrald.storage.chores import Chores
from centrald.storage.fleet import Fleet
from centrald.storage.lean import Link, Row, Statement, Values
from centrald.storage.ledger import Entry, Event
from centrald.storage.maintenance import Maintenance
from centrald.storage.overview import Overview
from centrald.storage.retention import Retention

_LOOK_AHEAD = datetime.timedelta(days=31)  # what begins later says nothing about the opening hours of these days


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides whether a kiosk may begin an attempt."""

    enabled: bool
    windows: tuple[Window, ...]  # maintenance of the days ahead
    attempt: Attempt | None  # of this id, if it was begun before


@dataclass(frozen=True, slots=True)
class Visit:
    """A kiosk that asks for more in an attempt."""

    enabled: bool
    attempt: Attempt | None
    card: CardEntry | None  # the one that passed the attempt's check


class Transaction:
    """Reads and writes of one transaction.

    Its first read tells the time that counts in it: `standing`, `visit`, `attempt`, `challenge_lives`, or
    `look_at_clock` alone.
    """

    def __init__(self, connection: Link, clock: datetime.datetime | None) -> None:
        """Take the time, or None where it is the database's."""
        self._connection = connection
        self._clock = clock
        self._now: datetime.datetime | None = None
        self._recorded: dict[str, State] = {}  # as of the last change, by reservation
        self.appended: list[Entry] = []  # to the ledger, when the transaction ends

    @property
    def now(self) -> datetime.datetime:
        """The time that counts."""
        assert self._now is not None, "nothing was read yet"
        return self._now

    @cached_property
    def fleet(self) -> Fleet:
        """Chains, stores and kiosks."""
        return Fleet(self._connection, self.now)

    @cached_property
    def maintenance(self) -> Maintenance:
        """The announced windows."""
        return Maintenance(self._connection, self.now)

    @cached_property
    def overview(self) -> Overview:
        """What people and metrics look at."""
        return Overview(self._connection, self.now)

    @cached_property
    def retention(self) -> Retention:
        """What may be forgotten."""
        return Retention(self._connection, self.now)

    @cached_property
    def chores(self) -> Chores:
        """What is done by one of several services."""
        return Chores(self._connection, self.now)

    async def _one(self, query: Statement, values: Values) -> Row | None:
        found = await self._connection.fetch(query, values)
        return found[0] if found else None

    # what a transaction begins with

    async def _first(self, query: Statement, **values: object) -> list[Row]:
        found = await self._connection.fetch(query, {"clock": self._clock, **values})
        self._now = found[0]["now"]
        return found

    async def look_at_clock(self) -> None:
        """Read the time alone."""
        await self._first(statements.NOW)

    async def standing(self, kiosk: KioskId, attempt_id: str | None = None) -> Standing:
        """Return whether the kiosk may begin an attempt; nothing is held."""
        found = await self._first(statements.STANDING, **_at(kiosk), attempt=attempt_id)
        windows = (Window(row["starts_at"], row["ends_at"]) for row in found if row["starts_at"] is not None)
        near = tuple(window for window in windows if window.start < self.now + _LOOK_AHEAD)
        return Standing(bool(found[0]["enabled"]), near, rows.attempt_beside(found[0]))

    async def visit(self, kiosk: KioskId, attempt_id: str) -> Visit:
        """Return the attempt and then its card, and hold both; and whether the kiosk is enabled."""
        (row,) = await self._first(statements.VISIT, **_at(kiosk), attempt=attempt_id)
        return Visit(bool(row["enabled"]), rows.attempt_beside(row), rows.card_beside(row))

    async def attempt(self, attempt_id: str) -> Attempt | None:
        """Return an attempt, and hold it and then its card."""
        (row,) = await self._first(statements.ATTEMPT, attempt=attempt_id)
        return rows.attempt_beside(row)

    # cards

    async def card(self, certificate: CertificateId) -> CardEntry | None:
        """Return the registry's entry, and hold it: everything about one certificate happens one after the other."""
        row = await self._one(statements.CARD, _of(certificate))
        return rows.card_of(row) if row else None

    async def cards(self, limit: int = 100) -> list[CardEntry]:
        """Return registry entries, in the order of their serial numbers."""
        query = sa.select(schema.card).order_by(schema.card.c.serial).limit(limit)
        return [rows.card_of(row) for row in (await self._connection.execute(query)).mappings()]

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

    def add_challenge(self, challenge: bytes, procedure: Procedure) -> None:
        """Keep a challenge for five minutes."""
        values = {"challenge": challenge, "procedure": int(procedure), "issued_at": self.now}
        self._connection.later(statements.ADD_CHALLENGE, values)

    async def open_challenges(self) -> int:
        """Forget the challenges that live no longer, and return how many do."""
        lives = {"lives_after": self.now - CHALLENGE_LIFE}
        self._connection.later(statements.FORGET_CHALLENGES, lives)
        return int((await self._connection.fetch(statements.OPEN_CHALLENGES, lives))[0]["count"])

    async def challenge_lives(self, challenge: bytes, procedure: Procedure) -> bool:
        """Tell whether this challenge was given for this procedure within five minutes, and is not used; hold it."""
        (row,) = await self._first(statements.CHALLENGE, challenge=challenge, procedure=int(procedure))
        return row["issued_at"] is not None and row["issued_at"] > self.now - CHALLENGE_LIFE

    def use_challenge(self, challenge: bytes) -> None:
        """Forget a challenge."""
        self._connection.later(statements.USE_CHALLENGE, {"used": challenge})

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

    async def _reservation(self, query: Statement, values: Values) -> Reservation | None:
        found = await self._connection.fetch(query, values)
        if not found:
            return None
        row = rows.part(found[0], "reservation")
        self._recorded[row["id"]] = row["state"]
        return rows.reservation_of(row, found)

    def add_reservation(self, reservation: Reservation, before: Reservation | None = None) -> None:
        """Insert a reservation as the newest of its certificate; the one before no longer is."""
        if before is not None:
            self._connection.later(statements.SAVE_RESERVATION, {"newest": False, "of": before.id})
        values = rows.reservation_values(reservation) | {"newest": True, "state": state_of(reservation, self.now)}
        self._connection.later(statements.ADD_RESERVATION, values)

    def settle(self, reservation: Reservation) -> None:
        """Record a change that time alone made (20 minutes of silence); called before the reservation is changed."""
        before, after = self._recorded[reservation.id], state_of(reservation, self.now)
        if before is after:
            return
        self.save_reservation(reservation, reservation)
        silent = Entry(Event.SILENT, self.now, reservation_id=reservation.id, state_before=before, state_after=after)
        self.append(silent)

    def save_reservation(self, before: Reservation, after: Reservation) -> None:
        """Write what changed: closed, current attempt, writes and their reports."""
        state = state_of(after, self.now)
        values = {"closed": after.closed, "current_attempt": after.current_attempt, "state": state}
        if values != {
            "closed": before.closed,
            "current_attempt": before.current_attempt,
            "state": self._recorded[after.id],
        }:
            self._connection.later(statements.SAVE_RESERVATION, values | {"of": after.id})
            self._recorded[after.id] = state
        known = {(write.attempt_id, write.n): write for write in before.writes}
        for write in after.writes:
            self._save_write(known.get((write.attempt_id, write.n)), write, after.id)

    def _save_write(self, before: Write | None, after: Write, reservation_id: str) -> None:
        if before == after:
            return
        mine = {"of_attempt": after.attempt_id, "of_n": after.n}
        if before is None:
            self._connection.later(statements.ADD_WRITE, rows.write_values(after, reservation_id))
        elif before.status is not after.status:
            self._connection.later(statements.SAVE_WRITE, {**mine, "status": after.status})
        earlier = before.reports if before else ()
        for order, one in enumerate(after.reports):
            if one in earlier:
                continue
            if any(one.outcome is other.outcome for other in earlier):
                self._connection.later(statements.FORGET_REPORT, {**mine, "of_outcome": one.outcome})
            self._connection.later(statements.ADD_REPORT, rows.report_values(after, one, order))

    # attempts

    def add_attempt(self, attempt: Attempt) -> None:
        """Insert an attempt."""
        self._connection.later(statements.ADD_ATTEMPT, rows.attempt_values(attempt))

    def save_attempt(self, attempt: Attempt) -> None:
        """Replace an attempt."""
        self._connection.later(statements.SAVE_ATTEMPT, {**rows.attempt_values(attempt), "of": attempt.id})

    # ledger

    def append(self, entry: Entry) -> None:
        """Append one entry to the ledger, when the transaction ends."""
        self.appended.append(entry)

    async def finish(self) -> list[Entry]:
        """Carry out what comes last: append to the ledger. Returns what was appended."""
        return await chain.append(self._connection, self.appended) if self.appended else []

    async def entries(
        self,
        limit: int,
        attempt_id: str | None = None,
        reservation_id: str | None = None,
        *,
        contradictions: bool = False,
    ) -> list[Entry]:
        """Return the last entries, oldest first, of all lanes."""
        table, head = schema.ledger, schema.ledger_head
        query = sa.select(table).order_by(table.c.at.desc(), table.c.lane.desc(), table.c.seq.desc()).limit(limit)
        if attempt_id:
            query = query.where(table.c.attempt_id == attempt_id)
        if reservation_id:
            query = query.where(table.c.reservation_id == reservation_id)
        if contradictions:
            query = query.where(sa.literal_column("ledger.contradiction"))  # as the partial index has it
        if not (attempt_id or reservation_id or contradictions):  # no lane has more of them than its last ones
            query = query.join(head, (head.c.lane == table.c.lane) & (table.c.seq > head.c.seq - limit))
        found = (await self._connection.execute(query)).mappings().all()
        return [rows.entry_of(row) for row in reversed(found)]

    async def entries_after(self, lane: int, seq: int, limit: int) -> list[chain.Record]:
        """Return the entries of a lane that follow a number, in order, as they are exported."""
        return await chain.after(self._connection, lane, seq, limit)

    async def ledger_lanes(self) -> set[int]:
        """Return every lane of the ledger there is an entry or a head of."""
        return await chain.lanes(self._connection)

    async def ledger_heads(self) -> dict[int, chain.Head]:
        """Return the end of every lane of the ledger, and hold them: nobody appends before this transaction ends."""
        return await chain.heads(self._connection)


def _named(table: sa.Table, certificate: CertificateId) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return table.c.authority_key_id == certificate.authority_key_id, table.c.serial == certificate.serial


def _at(kiosk: KioskId) -> dict[str, str]:
    return {"chain": kiosk.chain, "store": kiosk.store, "kiosk": kiosk.kiosk}


def _of(certificate: CertificateId) -> rows.Values:
    return {"of_authority": certificate.authority_key_id, "of_serial": certificate.serial}
