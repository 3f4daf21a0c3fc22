"""The chains of the ledger: each entry carries the hash of the one before, so that nothing can be changed unseen.

An entry's hash is SHA-256 of its record (every field it has, without the hash) as canonical JSON: keys in order, no
space, UTF-8 (RFC 8785; there are no numbers but integers). The first entry follows 32 zero bytes. There are several
chains, the lanes, because those who append to one wait for each other's commits: all about one attempt is in one lane.
Whoever can write to the database can make whole chains anew: that shows only to who has kept earlier heads elsewhere.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import sqlalchemy as sa

from centrald.errors import StorageFailed
from centrald.storage import rows, schema
from centrald.storage.lean import Link
from centrald.storage.ledger import Entry

HASH_BYTES = hashlib.sha256().digest_size
ORIGIN = bytes(HASH_BYTES)  # what the first entry follows
_HASH = "hash"
_LANE = "lane"
_PREVIOUS, _SEQ = '"previous":"', '"seq":'  # as they are in canonical JSON
_FLAG = "contradiction"
_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_STORED_MOMENT = "%Y-%m-%d %H:%M:%S.%f"  # SQLAlchemy's, on SQLite

_table = schema.ledger_head
_HEADS = sa.select(_table.c.lane, _table.c.seq, _table.c.hash).order_by(_table.c.lane).with_for_update()
_HELD_HEAD = sa.select(_table.c.seq, _table.c.hash).where(_table.c.lane == sa.bindparam("of_lane")).with_for_update()
_MOVE_HEAD = (
    sa.update(_table)
    .where(_table.c.lane == sa.bindparam("of_lane"))
    .values(seq=sa.bindparam("to_seq"), hash=sa.bindparam("to_hash"))
)
_APPEND = sa.insert(schema.ledger).inline()
_LINKS = ("seq", "previous", _HASH)


def _append_one() -> sa.Insert:
    """Return PostgreSQL's statement that appends one entry whatever its lane ends with: it does the hashing itself.

    The record comes as text in three pieces, without the two things only the head knows.
    """
    piece = {name: sa.bindparam(f"new_{name}", type_=sa.Text) for name in ("before", "between", "after")}
    held = _HELD_HEAD.cte("held")
    seq = held.c.seq + sa.literal_column("1")
    text = (
        piece["before"]
        + sa.func.encode(held.c.hash, sa.literal_column("'hex'"), type_=sa.Text)
        + piece["between"]
        + sa.cast(seq, sa.Text)
        + piece["after"]
    )
    hashed = sa.func.sha256(sa.func.convert_to(text, sa.literal_column("'UTF8'")), type_=_table.c.hash.type)
    moved = (
        sa.update(_table)
        .where(_table.c.lane == sa.bindparam("of_lane"))
        .values(seq=seq, hash=hashed)
        .returning(_table.c.seq, held.c.hash.label("previous"), _table.c.hash)
        .cte("moved")
    )
    new = (
        moved.c[one.name] if one.name in _LINKS else sa.bindparam(f"new_{one.name}", type_=one.type)
        for one in schema.ledger.c
    )
    named = sa.insert(schema.ledger).inline().from_select(schema.ledger.c.keys(), sa.select(*new))
    return named.add_cte(held, moved).returning(*(schema.ledger.c[name] for name in _LINKS))


_APPEND_ONE = _append_one()


class _AsStored(sa.types.TypeDecorator[Any]):
    """A moment, or whatever somebody wrote there who had no right to: SQLite takes anything."""

    impl = sa.String
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return what is stored as a moment is, as one."""
        if not isinstance(value, str):
            return value
        try:
            return datetime.datetime.strptime(value, _STORED_MOMENT).replace(tzinfo=datetime.UTC)
        except ValueError:
            return value


# Just as they are stored: no value is taken for what it ought to be.
_plain_ledger = sa.table(
    "ledger",
    *(sa.column(one.name, _AsStored() if one.name == "at" else sa.types.NullType()) for one in schema.ledger.c),
)
_LANES = sa.select(_plain_ledger.c.lane).distinct()
_AFTER = (
    sa.select(_plain_ledger)
    .where(_plain_ledger.c.lane == sa.bindparam("of_lane"), _plain_ledger.c.seq > sa.bindparam("after"))
    .order_by(_plain_ledger.c.seq)
    .limit(sa.bindparam("most"))
)
_HEADLESS = "lane {} of the ledger has no head"
_BLANK: dict[str, Any] = dict.fromkeys(schema.ledger.c.keys())  # one statement for every kind of entry

Record = dict[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a lane: its number, from 1 and without gaps, and its hash (32 bytes)."""

    seq: int
    hash: bytes


def lane_of(entry: Entry) -> int:
    """Return the lane of an entry, and of all that is appended with it."""
    return zlib.crc32((entry.attempt_id or entry.reservation_id or "").encode()) % schema.LANES


def record(values: Mapping[str, Any]) -> Record:
    """Return an entry's columns as canonical JSON knows them: without hash, and without what is not there.

    Lane 0, which once was the only one, is not said.
    """
    kept = {
        name: _plain(value)
        for name, value in values.items()
        if value is not None and name != _HASH and (value or name != _LANE)
    }
    if kept.get(_FLAG) in (0, 1):
        kept[_FLAG] = bool(kept[_FLAG])  # SQLite has no other
    return kept


def digest(entry: Record) -> bytes:
    """Return the hash of a record, 32 bytes."""
    return hashlib.sha256(_canonical(entry).encode()).digest()


def _canonical(entry: Record) -> str:
    return _encoder.encode(entry)


def pieces(entry: Record) -> tuple[str, str, str]:
    """Return the text of a record around its values of `previous` and `seq`, whatever they are.

    In canonical JSON no text has a quotation mark without a backslash before it, so a key is found nowhere else.
    """
    before, _, rest = _canonical(entry | {"previous": "", "seq": 0}).partition(_PREVIOUS + '"')
    between, _, after = rest.partition(_SEQ + "0")
    return before + _PREVIOUS, '"' + between + _SEQ, after


def _values(entry: Entry) -> dict[str, Any]:
    links = {_LANE: entry.lane, "seq": entry.seq, "previous": entry.previous, _HASH: entry.hash}
    return rows.ledger_values(entry) | links


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
            return repr(value)  # nothing of ours: its hash will tell


async def heads(link: Link) -> dict[int, Head]:
    """Return the end of every lane; nobody else appends before this transaction ends."""
    return {row[_LANE]: Head(row["seq"], row[_HASH]) for row in await link.fetch(_HEADS, {})}


async def lanes(link: Link) -> set[int]:
    """Return every lane there is an entry or a head of; there may be more than there should be."""
    found = {row[_LANE] for row in await link.fetch(_HEADS, {})}
    return found | set((await link.execute(_LANES)).scalars())


async def append(link: Link, entries: Sequence[Entry]) -> list[Entry]:
    """Append entries at the end of their lane, as the last thing of a transaction; returns them as they are now.

    All that append to a lane wait here for each other, so nothing else may be waited for afterwards.
    """
    lane = lane_of(entries[0])
    if link.dialect.name == "postgresql" and len(entries) == 1:
        return [await _append_at_once(link, replace(entries[0], lane=lane))]
    found = await link.fetch(_HELD_HEAD, {"of_lane": lane})
    if not found:
        raise StorageFailed(_HEADLESS.format(lane))
    chained = _linked(Head(found[0]["seq"], found[0][_HASH]), lane, entries)
    end = head_of(chained[-1])
    link.later(_MOVE_HEAD, {"of_lane": lane, "to_seq": end.seq, "to_hash": end.hash})
    for one in chained:
        link.later(_APPEND, _BLANK | _values(one))
    return chained


async def _append_at_once(link: Link, entry: Entry) -> Entry:
    values = _BLANK | _values(entry)
    before, between, after = pieces(record(values))
    named = {f"new_{name}": value for name, value in values.items() if name not in _LINKS}
    texts = {"new_before": before, "new_between": between, "new_after": after}
    link.later(_APPEND_ONE, named | texts | {"of_lane": entry.lane})
    found = await link.flush(last=True)
    if not found:
        raise StorageFailed(_HEADLESS.format(entry.lane))
    return replace(entry, **dict(zip(_LINKS, found[0], strict=True)))


def _linked(end: Head, lane: int, entries: Sequence[Entry]) -> list[Entry]:
    chained = []
    for entry in entries:
        linked = replace(entry, lane=lane, seq=end.seq + 1, previous=end.hash)
        linked = replace(linked, hash=digest(record(_values(linked))))
        chained.append(linked)
        end = head_of(linked)
    return chained


def head_of(entry: Entry) -> Head:
    """Return the head of a chain that ends with this entry."""
    return Head(entry.seq, entry.hash)


async def after(link: Link, lane: int, seq: int, limit: int) -> list[Record]:
    """Return the entries of a lane that follow a number, in order, as they are exported: record and hash."""
    found = await link.execute(_AFTER, {"of_lane": lane, "after": seq, "most": limit})
    return [record({**row}) | {_HASH: _hex(row[_HASH])} for row in found.mappings()]


def _hex(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a lane is broken."""

    lane: int
    seq: int
    problem: str


Known = Mapping[int, Head]  # of each lane an entry that was noted elsewhere


class Verifier:
    """Takes exported entries, of each lane in the order they stand, and says where they are not what was appended."""

    def __init__(self, known: Known | None = None) -> None:
        """Know some entries' hashes from elsewhere."""
        self._known = dict(known or {})
        self.ends: dict[int, Head] = {}
        self.checked = 0

    def take(self, entry: Record) -> list[Fault]:
        """Check the next entry; returns what is wrong with it or before it."""
        lane, seq, claimed = _number(entry, _LANE), _number(entry, "seq"), _bytes(entry.get(_HASH))
        end = self.ends.get(lane, Head(0, ORIGIN))
        expected, name = end.seq + 1, f"entry {lane}/{seq}"
        problems = []
        if seq > expected:
            problems.append(f"{_span(lane, expected, seq - 1)} missing")
        elif seq < expected:
            problems.append(f"{name} stands after entry {lane}/{end.seq}: reordered, or there twice")
        elif entry.get("previous") != end.hash.hex():
            before = f"entry {lane}/{end.seq}" if end.seq else "the beginning"
            problems.append(f"{name} does not follow {before}: one of the two is not what was appended")
        if digest({key: value for key, value in entry.items() if key != _HASH}) != claimed:
            problems.append(f"{name} was changed")
        known = self._known.get(lane)
        if known is not None and known.seq == seq:
            del self._known[lane]
            if known.hash != claimed:
                problems.append(f"{name} is not the one that was noted: the chain was made anew")
        self.ends[lane] = Head(max(seq, end.seq), claimed)
        self.checked += 1
        return [Fault(lane, expected if seq > expected and not at else seq, one) for at, one in enumerate(problems)]

    def read(self, lines: Iterable[str]) -> list[Fault]:
        """Check the lines of an export, which may begin with any entry of each lane."""
        faults: list[Fault] = []
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                lane, seq = _number(entry, _LANE), _number(entry, "seq")
                if lane not in self.ends and seq > 1:
                    self.ends[lane] = Head(seq - 1, bytes.fromhex(entry["previous"]))
                faults += self.take(entry)
            except (ValueError, KeyError, TypeError, AttributeError):
                faults.append(Fault(0, 0, f"line {number} is not an entry"))
        return faults

    def finish(self, heads: Mapping[int, Head] | None) -> list[Fault]:
        """Check what ends the lanes, against their heads where those are known."""
        faults = []
        for lane in sorted({*self.ends, *heads}, key=str) if heads is not None else ():
            end, head = self.ends.get(lane, Head(0, ORIGIN)), heads.get(lane) if heads else None
            if head is None:
                faults.append(Fault(lane, 1, f"lane {lane} is none of the ledger's"))
            elif head.seq > end.seq:
                faults.append(Fault(lane, end.seq + 1, f"{_span(lane, end.seq + 1, head.seq)} missing at the end"))
            elif head != end:
                faults.append(Fault(lane, end.seq, f"entry {lane}/{end.seq} is not the one that was appended last"))
        for lane, noted in self._known.items():
            if noted.seq:
                faults.append(Fault(lane, noted.seq, f"entry {lane}/{noted.seq}, which was noted, is missing"))
        return faults


def _number(entry: Record, name: str) -> int:
    value = entry.get(name, 0)
    return value if isinstance(value, int) else 0


def _bytes(value: object) -> bytes:
    try:
        return bytes.fromhex(str(value))
    except ValueError:
        return b""


def _span(lane: int, first: int, last: int) -> str:
    return f"entry {lane}/{first} is" if first == last else f"entries {lane}/{first} to {lane}/{last} are"
