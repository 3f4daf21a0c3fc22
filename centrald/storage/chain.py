"""The chain of the ledger: each entry carries the hash of the one before, so that nothing can be changed unseen.

An entry's hash is SHA-256 of its record (every field it has, without the hash) as canonical JSON: keys in order, no
space, UTF-8 (RFC 8785; there are no numbers but integers). The first entry follows 32 zero bytes. Whoever can write to
the database can make the whole chain anew: that shows only to who has kept an earlier head elsewhere.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from centrald.errors import StorageFailed
from centrald.storage import rows, schema
from centrald.storage.ledger import Entry

HASH_BYTES = hashlib.sha256().digest_size
ORIGIN = bytes(HASH_BYTES)  # what the first entry follows
_HASH = "hash"

_table = schema.ledger_head
_HEAD = sa.select(_table.c.seq, _table.c.hash)
_HELD_HEAD = _HEAD.with_for_update()
_MOVE_HEAD = (
    sa.update(_table)
    .where(_table.c.seq == sa.bindparam("from_seq"), _table.c.hash == sa.bindparam("from_hash"))
    .values(seq=sa.bindparam("to_seq"), hash=sa.bindparam("to_hash"))
)
_APPEND = sa.insert(schema.ledger)
_moved = _MOVE_HEAD.returning(_table.c.id).cte("moved")  # PostgreSQL's
_MOVE_AND_APPEND = (
    _APPEND.from_select(
        schema.ledger.c.keys(),
        sa.select(*(sa.bindparam(f"new_{one.name}", type_=one.type) for one in schema.ledger.c)).select_from(_moved),
    )
    .add_cte(_moved)
    .returning(schema.ledger.c.seq)
)
# Just as they are stored, also what somebody wrote there who had no right to.
_plain_ledger = sa.table(
    "ledger",
    *(sa.column(one.name, sa.String() if isinstance(one.type, sa.Enum) else one.type) for one in schema.ledger.c),
)
_AFTER = (
    sa.select(_plain_ledger)
    .where(_plain_ledger.c.seq > sa.bindparam("after"))
    .order_by(_plain_ledger.c.seq)
    .limit(sa.bindparam("most"))
)
_BLANK: dict[str, Any] = dict.fromkeys(schema.ledger.c.keys())  # one statement for every kind of entry

Record = dict[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry: its number, from 1 and without gaps, and its hash (32 bytes)."""

    seq: int
    hash: bytes


def record(values: Mapping[str, Any]) -> Record:
    """Return an entry's columns as canonical JSON knows them: without hash, and without what is not there."""
    return {name: _plain(value) for name, value in values.items() if value is not None and name != _HASH}


def digest(entry: Record) -> bytes:
    """Return the hash of a record, 32 bytes."""
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()


def _values(entry: Entry) -> dict[str, Any]:
    return {**rows.ledger_values(entry), "seq": entry.seq, "previous": entry.previous, _HASH: entry.hash}


def _plain(value: Any) -> str | int | bool:
    match value:
        case Enum():
            return str(value.value)
        case datetime.datetime():
            moment = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)  # SQLite's
            return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case bytes():
            return value.hex()
        case str() | int():
            return value
        case _:
            raise TypeError(type(value).__name__)


async def head(connection: AsyncConnection, *, hold: bool = False) -> Head:
    """Return the end of the chain; `hold`: nobody else appends before this transaction ends."""
    row = (await connection.execute(_HELD_HEAD if hold else _HEAD)).one()
    return Head(row.seq, row.hash)


async def append(connection: AsyncConnection, entries: Sequence[Entry], known: Head | None) -> list[Entry]:
    """Append entries at the end of the chain, as the last thing of a transaction; returns them as they are now.

    `known` is where the chain ended when last heard of: most often it still does, and one statement does all. All that
    append wait here for each other, so nothing else may be waited for afterwards.
    """
    if known is not None:
        chained = _linked(known, entries)
        if await _advanced(connection, known, chained):
            return chained
    end = await head(connection, hold=True)
    chained = _linked(end, entries)
    if not await _advanced(connection, end, chained):
        raise StorageFailed("the ledger has no head")
    return chained


def _linked(end: Head, entries: Sequence[Entry]) -> list[Entry]:
    chained = []
    for entry in entries:
        linked = replace(entry, seq=end.seq + 1, previous=end.hash)
        linked = replace(linked, hash=digest(record(_values(linked))))
        chained.append(linked)
        end = head_of(linked)
    return chained


def head_of(entry: Entry) -> Head:
    """Return the head of a chain that ends with this entry."""
    return Head(entry.seq, entry.hash)


async def _advanced(connection: AsyncConnection, end: Head, chained: Sequence[Entry]) -> bool:
    """Move the head from where it is thought to be, and insert; does nothing when it is elsewhere."""
    new = head_of(chained[-1])
    values = [_BLANK | _values(one) for one in chained]
    move = {"from_seq": end.seq, "from_hash": end.hash, "to_seq": new.seq, "to_hash": new.hash}
    if connection.dialect.name == "postgresql" and len(values) == 1:
        named = {f"new_{name}": value for name, value in values[0].items()}
        return (await connection.execute(_MOVE_AND_APPEND, named | move)).scalar_one_or_none() is not None
    if (await connection.execute(_MOVE_HEAD, move)).rowcount != 1:
        return False
    await connection.execute(_APPEND, values)
    return True


async def after(connection: AsyncConnection, seq: int, limit: int) -> list[Record]:
    """Return the entries that follow a number, in order, as they are exported: record and hash."""
    found = await connection.execute(_AFTER, {"after": seq, "most": limit})
    return [record({**row}) | {_HASH: _hex(row[_HASH])} for row in found.mappings()]


def _hex(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a chain is broken."""

    seq: int
    problem: str


class Verifier:
    """Takes exported entries in the order they stand and says where they are not what was appended."""

    def __init__(self, known: Mapping[int, bytes] | None = None) -> None:
        """Know some entries' hashes from elsewhere."""
        self._known = dict(known or {})
        self.end = Head(0, ORIGIN)
        self.checked = 0

    def take(self, entry: Record) -> list[Fault]:
        """Check the next entry; returns what is wrong with it or before it."""
        faults = []
        seq, claimed = _number(entry), bytes.fromhex(str(entry.get(_HASH, "")))
        expected = self.end.seq + 1
        if seq > expected:
            faults.append(Fault(expected, f"{_span(expected, seq - 1)} missing"))
        elif seq < expected:
            faults.append(Fault(seq, f"entry {seq} stands after entry {self.end.seq}: reordered, or there twice"))
        elif entry.get("previous") != self.end.hash.hex():
            before = f"entry {expected - 1}" if expected > 1 else "the beginning"
            faults.append(Fault(seq, f"entry {seq} does not follow {before}: one of the two is not what was appended"))
        if digest({name: value for name, value in entry.items() if name != _HASH}) != claimed:
            faults.append(Fault(seq, f"entry {seq} was changed"))
        known = self._known.pop(seq, None)
        if known is not None and known != claimed:
            faults.append(Fault(seq, f"entry {seq} is not the one that was noted: the chain was made anew"))
        self.end = Head(max(seq, self.end.seq), claimed)
        self.checked += 1
        return faults

    def read(self, lines: Iterable[str]) -> list[Fault]:
        """Check the lines of an export, which may begin with any entry."""
        faults: list[Fault] = []
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                if number == 1 and _number(entry) > 1:
                    self.end = Head(_number(entry) - 1, bytes.fromhex(entry["previous"]))
                faults += self.take(entry)
            except (ValueError, KeyError, TypeError, AttributeError):
                faults.append(Fault(self.end.seq + 1, f"line {number} is not an entry"))
        return faults

    def finish(self, end: Head | None) -> list[Fault]:
        """Check what ends the chain, against the head where that is known."""
        faults = []
        if end is not None and end.seq > self.end.seq:
            faults.append(Fault(self.end.seq + 1, f"{_span(self.end.seq + 1, end.seq)} missing at the end"))
        elif end is not None and end != self.end:
            faults.append(Fault(self.end.seq, f"entry {self.end.seq} is not the one that was appended last"))
        faults += [Fault(seq, f"entry {seq}, which was noted, is missing") for seq in self._known]
        return faults


def _number(entry: Record) -> int:
    seq = entry.get("seq")
    return seq if isinstance(seq, int) else 0


def _span(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
