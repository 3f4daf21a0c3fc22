"""The database: append-only where it must be, one after the other, and what was committed stays."""

from __future__ import annotations

import asyncio
import collections
import datetime
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from centrald.errors import AlreadyThere, ConfigError, NotThere, StorageFailed
from centrald.rules.hours import Window
from centrald.rules.model import SILENCE, Refusal, State, WriteStatus
from centrald.service.channels import Authorized
from centrald.storage import schema
from centrald.storage.database import Database
from tests.rig.postgres import Postgres
from tests.unit.centrald.world import KIOSK, NOON, OTHER_KIOSK, PROCEDURE, ManualClock, World, new_id

ON_SQLITE = pytest.mark.parametrize("storage_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("storage_url", ["postgresql"], indirect=True)


async def refused(world: World, statement: sa.Executable, error: str, rows: list[dict[str, Any]] | None = None) -> None:
    with pytest.raises(StorageFailed, match=error):
        async with world.database.transaction() as tx:
            await tx._connection.execute(statement, rows)


@pytest.mark.parametrize("statement", ["UPDATE ledger SET verdict = 'valid'", "DELETE FROM ledger"])
async def test_the_ledger_is_append_only(world: World, statement: str) -> None:
    await world.attempt()
    before = await world.ledger()
    await refused(world, sa.text(statement), "append-only")
    assert await world.ledger() == before


@ON_SQLITE
async def test_the_file_is_journalled_ahead_and_synced(world: World) -> None:
    async with world.database.transaction() as tx:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            found = (await tx._connection.execute(sa.text(f"PRAGMA {pragma}"))).scalar_one()
            assert found == value


@ON_SQLITE
async def test_another_writer_is_waited_for_beside_the_loop(world: World) -> None:
    other = sqlite3.connect(world.directory / "centrald.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun = asyncio.create_task(world.attempt())
    for _ in range(100):  # the loop goes on, and what waits on its thread does not begin
        await asyncio.sleep(0.001)
    assert not begun.done()
    other.execute("ROLLBACK")
    other.close()
    await begun
    assert "begun" in [entry.event.value for entry in await world.ledger()]


async def test_a_transaction_that_fails_leaves_nothing(world: World) -> None:
    before = await world.ledger()
    await world.attempt()

    async def fail() -> None:
        async with world.database.transaction() as tx:
            tx.append((await tx.entries(1))[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert len(await world.ledger()) == len(before) + 1


async def test_what_was_committed_is_there_for_the_next_process(world: World) -> None:
    card, reservation, attempt = await world.ready()
    given = await attempt.authorized(card)
    await world.database.close()
    again = World(world.directory, world.clock, world.kiosks._hours, world.storage_url)
    try:
        assert await again.state(reservation) is State.AUTHORIZED
        repeated = await again.kiosks.authorize(KIOSK, attempt.id, 1, attempt.offers[1])
        assert repeated == given  # derived again from the transcript
    finally:
        await again.database.close()


async def test_racing_repeats_have_one_effect(world: World) -> None:
    card, _, attempt = await world.ready()
    answer = attempt.offer(card, 1)
    given = await asyncio.gather(*(attempt.ask(1, answer) for _ in range(30)))
    assert isinstance(given[0], Authorized)
    assert all(one == given[0] for one in given)
    begun = new_id()
    answers = await asyncio.gather(*(world.kiosks.begin(KIOSK, begun, PROCEDURE) for _ in range(30)))
    assert all(one == answers[0] for one in answers)
    receipt = card.write(given[0].external_authenticate, given[0].s_enc, given[0].s_mac)
    reports = await asyncio.gather(*(attempt.done(receipt) for _ in range(10)))
    assert all(one == reports[0] for one in reports)
    assert set(await asyncio.gather(*(attempt.release() for _ in range(10)))) == {State.USED}
    events = collections.Counter(entry.event.value for entry in await world.ledger())
    assert [events[name] for name in ("authorized", "begun", "reported", "released")] == [1, 2, 1, 1]


@ON_POSTGRESQL
async def test_who_waits_for_a_card_then_sees_all_that_was_done_meanwhile(world: World, postgres: Postgres) -> None:
    """An older attempt's write becomes not done while the newer one's report is on its way: nothing is in doubt."""
    card, reservation, first = await world.ready()
    await first.authorized(card)
    second = await world.checked(card, OTHER_KIOSK)
    await second.authorized(card)
    name = sa.make_url(world.storage_url).database
    waiting = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'"
    async with world.database.transaction() as tx:
        await tx.card(card.certificate_id)
        before = await tx.reservation(reservation.id)
        assert before is not None
        older, newer = before.writes
        tx.save_reservation(before, replace(before, writes=(replace(older, status=WriteStatus.NOT_DONE), newer)))
        await tx.reservation(reservation.id)  # what waits is written before
        report = asyncio.create_task(second.not_done())
        async with asyncio.timeout(2):
            while await asyncio.to_thread(postgres.execute, waiting) != "1\n":
                pass
    assert (await report).state is State.RESERVED
    assert await world.state(reservation) is State.RESERVED


async def test_two_processes_take_turns(world: World) -> None:
    other = Database.open(world.storage_url, world.directory, world.clock)
    try:

        async def work(database: Database) -> None:
            async with database.transaction() as tx:
                tx.append((await tx.entries(1))[0])

        await world.attempt()
        await asyncio.gather(*(work(one) for _ in range(10) for one in (world.database, other)))
        assert len(await world.ledger()) == 21
    finally:
        await other.close()


@ON_SQLITE
async def test_a_directory_is_served_once(world: World) -> None:
    with pytest.raises(ConfigError, match="another process"):
        Database.open("sqlite+aiosqlite:///centrald.db", world.directory, world.clock, service=True)
    await world.database.close()
    again = Database.open("sqlite+aiosqlite:///centrald.db", world.directory, world.clock, service=True)
    await again.close()


async def test_one_newest_reservation_is_the_databases_rule_too(world: World) -> None:
    card = await world.card()
    await world.reserved(card)
    async with world.database.transaction() as tx:
        found = (await tx._connection.execute(sa.select(schema.reservation))).mappings().one()
    copy = {name: value for name, value in found.items() if name != "seq"}
    copy |= {"id": new_id(), "challenge": bytes(32)}
    await refused(world, sa.insert(schema.reservation).values(copy), "(?i)unique")


async def test_the_fleet(world: World) -> None:
    async with world.database.transaction() as tx:
        with pytest.raises(AlreadyThere):
            await tx.fleet.add(KIOSK)
        for path in (("x",), ("chain-a", "x"), ("chain-a", "store-1", "x")):
            with pytest.raises(NotThere):
                await tx.fleet.enable(path, enabled=False)
        await tx.fleet.enable(("chain-a",), enabled=False)
        rows = {str(row.id): row.enabled for row in await tx.fleet.kiosks()}
        assert rows == {"chain-a/store-1/kiosk-1": False, "chain-b/store-1/kiosk-1": True}


async def test_a_moment_without_zone_is_a_mistake() -> None:
    moment, dialect = schema.Moment(), sa.create_engine("sqlite://").dialect
    with pytest.raises(ValueError, match="time zone"):
        moment.process_bind_param(NOON.replace(tzinfo=None), dialect)


@pytest.mark.parametrize("url", ["mysql+aiomysql://localhost/x", "postgresql://localhost/x", "nonsense"])
def test_other_databases_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"storage\.url"):
        Database.open(url, tmp_path, ManualClock())


@ON_SQLITE
async def test_many_rows_at_once_and_errors_come_back_as_they_are(world: World) -> None:
    rows = [{"id": name, "enabled": True} for name in ("x", "y")]
    async with world.database.transaction() as tx:
        await tx._connection.execute(sa.insert(schema.chain), rows)
        found = await tx._connection.execute(sa.select(schema.chain.c.id).order_by(schema.chain.c.id))
        assert list(found.scalars()) == ["chain-a", "chain-b", "x", "y"]
    await refused(world, sa.insert(schema.chain), "UNIQUE", rows)
    await refused(world, sa.text("SELECT * FROM nowhere"), "no such table")


@ON_POSTGRESQL
async def test_the_time_is_the_servers(world: World) -> None:
    own = Database.open(world.storage_url, world.directory)
    try:
        async with own.transaction() as tx:
            servers = (await tx._connection.execute(sa.text("SELECT clock_timestamp()"))).scalar_one()
            assert tx.now.utcoffset() == datetime.timedelta()
            assert datetime.timedelta() < servers - tx.now < datetime.timedelta(seconds=10)
    finally:
        await own.close()


@ON_POSTGRESQL
async def test_a_default_of_the_database_weakens_nothing(world: World, postgres: Postgres) -> None:
    """Under a stricter level, who waited for a card would go on with what was there before the wait."""
    name = sa.make_url(world.storage_url).database
    for setting in ("default_transaction_isolation = 'repeatable read'", "synchronous_commit = off"):
        postgres.execute(f"ALTER DATABASE {name} SET {setting}")
    own = Database.open(world.storage_url, world.directory)
    try:
        async with own.transaction() as tx:
            for setting, value in (("transaction_isolation", "read committed"), ("synchronous_commit", "on")):
                found = await tx._connection.execute(sa.text(f"SHOW {setting}"))
                assert found.scalar_one() == value
    finally:
        await own.close()


@ON_POSTGRESQL
async def test_a_lost_connection_is_made_anew(world: World, postgres: Postgres) -> None:
    own = Database.open(world.storage_url, world.directory)  # its time is the server's, asked for on that connection
    name = sa.make_url(world.storage_url).database
    try:
        for _ in range(3):
            assert [kiosk.id for kiosk in await own.run(lambda tx: tx.fleet.kiosks(KIOSK))] == [KIOSK]
            postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    finally:
        await own.close()


async def test_a_database_that_is_away_is_said(tmp_path: Path) -> None:
    away = Database.open(f"postgresql+asyncpg://nobody@/x?host={tmp_path}", tmp_path)
    with pytest.raises(StorageFailed, match="cannot be reached"):
        await away.revision()
    await away.close()


async def test_the_same_reservation_asked_for_at_once_is_made_once(world: World) -> None:
    card = await world.card()
    challenge = await world.phones.challenge(PROCEDURE)
    made = await asyncio.gather(*(world.reserve_with(card, challenge) for _ in range(20)))
    assert all(one == made[0] for one in made)
    assert [entry.event.value for entry in await world.ledger()] == ["reserved"]


async def test_windows_count_from_the_next_transaction_on(world: World) -> None:
    hour = datetime.timedelta(hours=1)

    async def refusal() -> Refusal | None:
        return (await world.kiosks.status(KIOSK)).refusal

    async with world.database.transaction() as tx:
        running = await tx.maintenance.add(Window(NOON - hour, NOON + hour), "disks")
        await tx.maintenance.add(Window(NOON + 2 * hour, NOON + 3 * hour), None)
        await tx.maintenance.add(Window(NOON - 3 * hour, NOON - 2 * hour), None)
        assert len(await tx.maintenance.announced(past=True)) == 3
    status = await world.kiosks.status(KIOSK)
    assert (status.refusal, status.opens_at) == (Refusal.MAINTENANCE, NOON + hour)
    async with world.database.transaction() as tx:
        await tx.maintenance.cancel(running.id)
        with pytest.raises(NotThere):
            await tx.maintenance.cancel(running.id)
    status = await world.kiosks.status(KIOSK)
    assert (status.refusal, status.closes_at) == (None, NOON + 2 * hour)
    world.clock.advance(2 * hour)
    assert await refusal() is Refusal.MAINTENANCE
    world.clock.advance(hour)
    assert await refusal() is None


async def test_a_limit_counts_only_what_is_asked_for(world: World) -> None:
    """Whatever else is open is before or behind it."""

    async def authorized() -> str:
        card, reservation, attempt = await world.ready()
        await attempt.authorized(card)
        return reservation.id

    async def doubtful() -> str:
        card, reservation, attempt = await world.ready()
        await attempt.authorized(card)
        await attempt.unknown()
        return reservation.id

    async def first(state: State) -> list[str]:
        async with world.database.transaction() as tx:
            return [one.id for one in await tx.overview.reservations(1, state)]

    async def oldest_doubt() -> list[str]:
        async with world.database.transaction() as tx:
            return [one.id for one in await tx.overview.doubts(1)]

    silent = await authorized()
    world.clock.advance(SILENCE - datetime.timedelta(minutes=1))
    unknown, running = await doubtful(), await authorized()
    assert (await first(State.AUTHORIZED), await first(State.IN_DOUBT)) == ([running], [unknown])
    assert await oldest_doubt() == [unknown]
    world.clock.advance(datetime.timedelta(minutes=1))
    assert (await oldest_doubt(), await first(State.AUTHORIZED)) == ([silent], [running])
    world.clock.advance(SILENCE)
    assert (await first(State.AUTHORIZED), await first(State.IN_DOUBT)) == ([], [running])


async def test_counts_of_the_metrics(world: World) -> None:
    for step in range(3):
        card = await world.card()
        await world.reserved(card)
        if step:
            await (await world.checked(card)).authorized(card)
        if step == 1:
            world.clock.advance(SILENCE)
    async with world.database.transaction() as tx:
        counts = await tx.overview.counts(100)
    assert {state: count for state, count in counts.unexpired.items() if count} == {
        State.RESERVED: 1,
        State.AUTHORIZED: 1,
        State.IN_DOUBT: 1,
    }
    assert (counts.doubts, counts.oldest_doubt) == (1, NOON)
