"""Statements on the driver's own connection: what goes together, what is kept, what is given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from centrald.errors import StorageFailed
from centrald.storage import database as database_module
from centrald.storage import lean
from centrald.storage.database import Database
from centrald.storage.lean import Prepared, batches
from centrald.storage.ledger import Entry, Event
from centrald.storage.postgres import PostgresDriver
from centrald.storage.schema import chain, store
from centrald.storage.transaction import Transaction
from tests.rig.postgres import Postgres
from tests.unit.centrald.world import KIOSK, PROCEDURE, World, new_id

T = TypeVar("T")

ON_POSTGRESQL = pytest.mark.parametrize("storage_url", ["postgresql"], indirect=True)
ADD_CHAIN, ADD_STORE = sa.insert(chain).inline(), sa.insert(store).inline()
SWITCH_CHAIN = sa.update(chain).where(chain.c.id == sa.bindparam("of"))
CHAINS = sa.select(chain).order_by(chain.c.id)
OF_CHAIN = sa.select(chain).where(chain.c.id == sa.bindparam("of"), chain.c.enabled == sa.literal(True))


def prepared(table: str, *, inserts: bool) -> Prepared:
    return Prepared(f"{table} $1", (("value", None),), {}, (), (), table, inserts, False, None)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12))
def test_what_goes_together_is_about_different_tables_or_only_adds(wanted: list[tuple[str, bool]]) -> None:
    parts = [(prepared(table, inserts=inserts), {"value": at}) for at, (table, inserts) in enumerate(wanted)]
    runs = batches(parts)
    assert [one for run in runs for one in run] == parts, "nothing is lost, and the order stays"
    for run in runs:
        tables = [one.changes for one, _ in run]
        for table in set(tables):
            assert tables.count(table) == 1 or all(one.inserts for one, _ in run if one.changes == table)


def test_parameters_are_counted_on() -> None:
    one = Prepared("UPDATE a SET x=$1 WHERE y=$2", (("x", None), ("y", None)), {}, (), (), "a", False, False, None)
    two = Prepared(
        "WITH m AS (UPDATE b SET z=$10) INSERT INTO c SELECT $11", (("z", None),), {}, (), (), "c", True, False, None
    )
    assert lean._join((one, two)) == (
        "WITH w0 AS (UPDATE a SET x=$1 WHERE y=$2), m AS (UPDATE b SET z=$12) INSERT INTO c SELECT $13"
    )
    assert lean._join((two, one)).endswith("UPDATE a SET x=$2 WHERE y=$3")


async def test_what_waits_is_written_before_it_is_read_and_at_the_end(world: World) -> None:
    async with world.database.transaction() as tx:
        link = tx._connection
        link.later(ADD_CHAIN, {"id": "x", "enabled": True})
        link.later(ADD_CHAIN, {"id": "y", "enabled": True})
        link.later(ADD_STORE, {"chain": "x", "id": "s", "enabled": True})  # of what is added beside it
        link.later(SWITCH_CHAIN, {"of": "x", "enabled": False})
        found = await link.fetch(CHAINS, {})
        assert [(row["id"], row["enabled"]) for row in found][2:] == [("x", False), ("y", True)]
        assert await link.fetch(OF_CHAIN, {"of": "x"}) == []
        assert await link.fetch(OF_CHAIN, {"of": "y"}) == [{"id": "y", "enabled": True}]
        link.later(SWITCH_CHAIN, {"of": "y", "enabled": False})
    async with world.database.transaction() as tx:
        assert await tx._connection.fetch(OF_CHAIN, {"of": "y"}) == []


@ON_POSTGRESQL
async def test_how_often_each_call_asks_the_database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Round trips are what most of a call's time is: none comes back unseen. BEGIN and COMMIT are two of them."""
    asked = 0

    async def fetch(self: PostgresDriver, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        nonlocal asked
        asked += 1
        return await real_fetch(self, text, arguments)

    async def do(self: PostgresDriver, text: str) -> None:
        nonlocal asked
        asked += 1
        await real_do(self, text)

    async def trips(call: Awaitable[T]) -> tuple[int, T]:
        before = asked
        result = await call
        return asked - before, result

    card = await world.card()
    world.phones._allowance = 2  # those that are open were counted
    real_fetch, real_do = PostgresDriver.fetch, PostgresDriver._do
    monkeypatch.setattr(PostgresDriver, "fetch", fetch)
    monkeypatch.setattr(PostgresDriver, "_do", do)
    assert (await trips(world.kiosks.status(KIOSK)))[0] == 1
    count, challenge = await trips(world.phones.challenge(PROCEDURE))
    assert count == 2
    assert (await trips(world.reserve_with(card, challenge)))[0] == 6
    count, attempt = await trips(world.attempt())
    assert count == 2
    assert (await trips(attempt.check(card)))[0] == 6
    count, receipt = await trips(attempt.write(card))
    assert count == 5
    assert (await trips(attempt.done(receipt)))[0] == 5
    assert (await trips(attempt.release()))[0] == 5


@ON_POSTGRESQL
async def test_what_calls_ask_is_planned_once_and_what_counts_rows_for_its_values(world: World) -> None:
    mode = "SELECT current_setting('plan_cache_mode')"

    async def modes(tx: Transaction) -> list[str]:
        link = tx._connection
        before = (await link.driver.fetch(mode, ()))[0][0]
        return [before, (await link.execute(sa.text(mode))).scalar_one(), (await link.driver.fetch(mode, ()))[0][0]]

    for _ in range(2):  # on the same connection
        assert await world.database.run(modes) == ["force_generic_plan", "force_custom_plan", "force_custom_plan"]


async def test_what_fails_at_the_end_leaves_nothing_and_the_connection_goes_on(world: World) -> None:
    async def twice() -> None:
        async with world.database.transaction() as tx:
            for _ in range(2):
                tx._connection.later(ADD_CHAIN, {"id": "x", "enabled": True})
            tx.append(Entry(Event.BEGUN, tx.now, attempt_id=new_id()))

    before = await world.ledger()
    with pytest.raises(StorageFailed, match=r"(?i)unique"):
        await twice()
    assert len(await world.database.run(chains)) == 2
    assert await world.ledger() == before


async def chains(tx: Transaction) -> list[lean.Row]:
    return await tx._connection.fetch(CHAINS, {})


async def test_a_transaction_that_is_cancelled_leaves_nothing(world: World) -> None:
    reached, forever = asyncio.Event(), asyncio.Event()

    async def begin() -> None:
        async with world.database.transaction() as tx:
            tx._connection.later(ADD_CHAIN, {"id": "x", "enabled": True})
            await chains(tx)
            reached.set()
            await forever.wait()

    task = asyncio.create_task(begin())
    async with asyncio.timeout(10):
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(await world.database.run(chains)) == 2
        await world.attempt()


@ON_POSTGRESQL
async def test_a_statement_that_takes_too_long_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "PATIENCE_SECONDS", 0.3)
    own = Database.open(world.storage_url, world.directory, service=True)
    begun = time.perf_counter()
    with pytest.raises(StorageFailed, match="in time"):
        await own.run(lambda tx: tx._connection.execute(sa.text("SELECT pg_sleep(30)")))
    assert time.perf_counter() - begun < 3
    assert [one.id for one in await own.run(lambda tx: tx.fleet.kiosks(KIOSK))] == [KIOSK]
    await own.close()


@ON_POSTGRESQL
async def test_who_finds_no_connection_waits_for_one(world: World, postgres: Postgres) -> None:
    own = Database.open(world.storage_url, world.directory, connections=2)
    await asyncio.gather(*(own.run(chains) for _ in range(20)))
    name = sa.make_url(world.storage_url).database
    asked = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND application_name = 'centrald'"
    others = int(postgres.execute(asked))
    await own.close()
    assert 1 <= others - int(postgres.execute(asked)) <= 2
