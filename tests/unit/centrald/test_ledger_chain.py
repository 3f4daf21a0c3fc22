"""The chain of the ledger: whatever is changed, removed or reordered is found, with its place."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from centrald.storage import migration, schema
from centrald.storage.chain import ORIGIN, Head, Record, Verifier, digest, pieces
from centrald.storage.database import Database
from centrald.storage.ledger import Entry, Event
from centrald.storage.migration import HEAD
from tests.unit.centrald.world import KIOSK, NOON, World, new_id

LONG = 8


def chain(count: int = LONG) -> list[Record]:
    made: list[Record] = []
    for seq in range(1, count + 1):
        previous = str(made[-1]["hash"]) if made else ORIGIN.hex()
        entry: Record = {"seq": seq, "at": f"2026-11-22T03:00:0{seq}.000000Z", "event": "begun", "previous": previous}
        made.append(entry | {"hash": digest(entry).hex()})
    return made


def rehashed(entry: Record) -> Record:
    return entry | {"hash": digest({name: value for name, value in entry.items() if name != "hash"}).hex()}


def problems(
    entries: list[Record], heads: Head | dict[int, Head] | None = None, known: dict[int, Head] | None = None
) -> list[str]:
    verifier = Verifier(known)
    faults = [fault for entry in entries for fault in verifier.take(entry)]
    ends = {0: heads} if isinstance(heads, Head) else heads
    return [fault.problem for fault in [*faults, *verifier.finish(ends)]]


def end_of(entries: list[Record]) -> Head:
    return Head(int(entries[-1]["seq"]), bytes.fromhex(str(entries[-1]["hash"])))


def test_a_whole_chain_has_no_faults() -> None:
    entries = chain()
    assert problems(entries, end_of(entries)) == []
    assert problems([], Head(0, ORIGIN)) == []


def test_the_hash_is_what_anyone_can_compute() -> None:
    entry: Record = {"seq": 1, "event": "begun", "kiosk": "店/s/k", "contradiction": True}
    text = '{"contradiction":true,"event":"begun","kiosk":"店/s/k","seq":1}'
    assert digest(entry) == hashlib.sha256(text.encode()).digest()


@given(st.text(), st.integers(1, 10**9), st.binary(min_size=32, max_size=32))
def test_a_record_can_be_put_together_by_who_knows_the_head(text: str, seq: int, previous: bytes) -> None:
    hostile = f'{text}"seq":0,"previous":"\\"seq\\":0'
    entry: Record = {"at": "2026", "detail": hostile, "event": "begun", "kiosk": text, "status_word": 0}
    before, between, after = pieces(entry)
    whole = f"{before}{previous.hex()}{between}{seq}{after}"
    assert hashlib.sha256(whole.encode()).digest() == digest(entry | {"seq": seq, "previous": previous.hex()})


async def test_whatever_an_entry_says_its_hash_is_the_same_from_every_database(world: World) -> None:
    for detail in ('"seq":0,"previous":""', "\\", "店\t\u2028\x7f", "' || $1"):
        async with world.database.transaction() as tx:
            tx.append(Entry(Event.CRL_IMPORTED, tx.now, kiosk=str(KIOSK), detail=detail))
    entries, heads = await all_of(world)
    assert (len(entries), problems(entries, heads)) == (4, [])


def test_what_is_done_to_a_chain_is_found_where_it_was_done() -> None:
    entries = chain()
    head = end_of(entries)
    changed = copy.deepcopy(entries)
    changed[3]["event"] = "released"
    assert problems(changed, head) == ["entry 0/4 was changed"]
    changed[3] = rehashed(changed[3])
    assert problems(changed, head) == ["entry 0/5 does not follow entry 0/4: one of the two is not what was appended"]
    assert problems(entries[:2] + entries[4:], head) == ["entries 0/3 to 0/4 are missing"]
    assert problems(entries[1:], head) == ["entry 0/1 is missing"]
    assert problems(entries[:-2], head) == ["entries 0/7 to 0/8 are missing at the end"]
    assert problems([], head) == ["entries 0/1 to 0/8 are missing at the end"]
    assert problems([*entries[:2], entries[3], entries[2], *entries[4:]], head)[0] == "entry 0/3 is missing"
    assert "entry 0/3 stands after entry 0/4: reordered, or there twice" in problems(
        [*entries[:2], entries[3], entries[2], *entries[4:]], head
    )
    last = rehashed(entries[-1] | {"event": "released"})
    assert problems([*entries[:-1], last], head) == ["entry 0/8 is not the one that was appended last"]


def test_a_chain_that_was_made_anew_shows_to_who_noted_an_entry() -> None:
    entries = chain()
    noted = {0: Head(5, bytes.fromhex(str(entries[4]["hash"])))}
    forged: list[Record] = []
    for entry in entries:
        previous = str(forged[-1]["hash"]) if forged else ORIGIN.hex()
        forged.append(rehashed(entry | {"previous": previous, "event": "released"}))
    assert problems(forged, end_of(forged)) == []
    assert problems(entries, end_of(entries), noted) == []
    anew = "entry 0/5 is not the one that was noted: the chain was made anew"
    assert problems(forged, end_of(forged), noted) == [anew]
    assert problems(forged[:3], end_of(forged[:3]), noted) == ["entry 0/5, which was noted, is missing"]


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(LONG)), st.integers(0, LONG), st.sets(st.integers(0, LONG - 1)))
def test_only_the_whole_chain_in_order_passes(order: list[int], upto: int, changed: set[int]) -> None:
    entries = chain()
    head = end_of(entries)
    kept = [entries[at] | ({"n": 1} if at in changed else {}) for at in order[:upto]]
    assert (problems(kept, head) == []) is (kept == entries)


async def all_of(world: World) -> tuple[list[Record], dict[int, Head]]:
    async with world.database.transaction() as tx:
        heads = await tx.ledger_heads()
        return [entry for lane in heads for entry in await tx.entries_after(lane, 0, 1000)], heads


async def test_what_a_whole_reset_appends_is_one_chain(world: World) -> None:
    card, _, attempt = await world.ready()
    await attempt.done(await attempt.write(card))
    await attempt.release()
    entries, heads = await all_of(world)
    mine = [entry for entry in entries if entry.get("attempt_id") == attempt.id]
    assert len({entry.get("lane", 0) for entry in mine}) == 1
    assert [entry["event"] for entry in mine] == ["begun", "checked", "authorized", "reported", "released"]
    assert len(entries) == len(mine) + 1  # the phone's
    assert problems(json.loads(json.dumps(entries)), heads) == []


async def test_those_who_append_at_once_make_whole_chains(world: World) -> None:
    await asyncio.gather(*(world.attempt() for _ in range(60)))
    entries, heads = await all_of(world)
    assert (len(entries), sum(head.seq for head in heads.values()), len(heads)) == (60, 60, schema.LANES)
    assert len({entry.get("lane", 0) for entry in entries}) > 1
    assert problems(entries, heads) == []


async def test_an_entry_belongs_to_its_lane(world: World) -> None:
    for _ in range(4):
        await world.attempt()
    entries, heads = await all_of(world)
    used = sorted(lane for lane, head in heads.items() if head.seq)
    for other in {0, *used, 99} - {entries[0].get("lane", 0)}:
        moved = entries[0] | {"lane": other}
        assert any("was changed" in one for one in problems([moved, *entries[1:]], heads))
    without = {lane: head for lane, head in heads.items() if lane != used[0]}
    assert problems(entries, without)[-1] == f"lane {used[0]} is none of the ledger's"


async def test_services_that_do_not_know_of_each_other_make_whole_chains(world: World) -> None:
    """Each finds the end where it left it, or looks for it."""
    other = Database.open(world.storage_url, world.directory, world.clock)

    async def append(database: Database) -> None:
        async with database.transaction() as tx:
            tx.append(Entry(Event.BEGUN, tx.now))
            tx.append(Entry(Event.RELEASED, tx.now))

    for database in (other, world.database, world.database, other, world.database):
        await append(database)
    await asyncio.gather(*(append(database) for database in (other, world.database) for _ in range(10)))
    await other.close()
    entries, heads = await all_of(world)
    assert (len(entries), problems(entries, heads)) == (50, [])


async def test_a_transaction_that_fails_leaves_no_gap(world: World) -> None:
    async def fail() -> None:
        async with world.database.transaction() as tx:
            tx.append(Entry(Event.BEGUN, tx.now))
            raise ZeroDivisionError

    await world.attempt()
    with pytest.raises(ZeroDivisionError):
        await fail()
    await world.attempt()
    entries, heads = await all_of(world)
    assert (len(entries), problems(entries, heads)) == (2, [])


async def test_the_revision_chains_what_was_there(world: World) -> None:
    """Entries of before, with the gaps that roll-backs left."""
    database: Database = world.database
    await world.attempt()
    before = await world.ledger()
    await database.migrate("0002")
    async with database._connections.transaction() as link:
        row = {"seq": 7, "at": NOON, "event": "begun", "kiosk": str(KIOSK), "attempt_id": new_id()}
        old = sa.table("ledger", *(sa.column(name, schema.ledger.c[name].type) for name in row))
        await link.execute(sa.insert(old).values(row))
    await database.migrate(HEAD)
    assert migration.revisions()[-1] == schema.REVISION
    entries, heads = await all_of(world)
    assert [(entry["seq"], entry["event"]) for entry in entries] == [(1, "begun"), (2, "begun")]
    assert entries[0]["attempt_id"] == before[0].attempt_id
    assert problems(entries, heads) == []
    await world.attempt()
    entries, heads = await all_of(world)
    assert (len(entries), problems(entries, heads)) == (3, [])
