"""The registry in bulk, in each kind of database."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from centrald.errors import Refused
from centrald.rules.model import CardEntry, CertificateId, Procedure
from centrald.storage.database import Database
from centrald.storage.registry import Registry, Taken
from centrald.storage.transaction import Transaction
from tests.rig.postgres import Postgres
from tests.unit.centrald.world import NOON, World, minutes

PATIENCE_S = 20.0
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
FIRST = CardEntry(
    CertificateId("aa", "1"),
    "2",
    NOON,
    NOON + minutes(1),
    bytes(10),
    {Procedure.SIGNING_PASSWORD: 49},
    False,
    True,
    "bb",
)


def card(authority: str, serial: str, version: int = 49) -> CardEntry:
    return replace(
        FIRST, certificate=CertificateId(authority, serial), key_versions={Procedure.SIGNING_PASSWORD: version}
    )


async def test_entries_are_added_compared_and_replaced(world: World) -> None:
    async with world.database.transaction() as tx:
        taken, refused = await Registry(tx).take([card("aa", "1"), card("bb", "1"), card("aa", "1")], replacing=False)
    assert (taken, refused) == (Taken(added=2, unchanged=1), [])
    changed = [card("aa", "1", 50), replace(card("bb", "1"), signing_revoked=False), card("cc", "1")]
    async with world.database.transaction() as tx:
        taken, refused = await Registry(tx).take(changed, replacing=False)
        assert (taken, refused) == (Taken(added=1, unchanged=1), [0])
    async with world.database.transaction() as tx:
        assert (await Registry(tx).take(changed, replacing=True))[0] == Taken(replaced=1, unchanged=2)
        assert await Registry(tx).by_key_version(Procedure.SIGNING_PASSWORD) == {49: 2, 50: 1}
        assert await Registry(tx).count() == 3
        assert await tx.card(CertificateId("bb", "1")) == card("bb", "1")  # revoked it stays


async def test_two_imports_at_once_do_not_wait_for_each_other(
    postgres: Postgres, template: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the same new cards in opposite orders. A third one in the middle holds both up, so that each has some."""
    name = postgres.create(template)
    cards = [card("aa", f"{serial}") for serial in range(1, 10)]
    first, second, third = (Database.open(postgres.url(name), tmp_path) for _ in range(3))

    async def take(database: Database, these: list[CardEntry]) -> Taken:
        async def work(tx: Transaction) -> Taken:
            return (await Registry(tx).take(these, replacing=False))[0]

        return await database.run(work)

    caplog.set_level(logging.INFO, "centrald")
    async with asyncio.timeout(PATIENCE_S), contextlib.AsyncExitStack() as stack:
        for database in (first, second, third):
            stack.push_async_callback(database.close)
        with contextlib.suppress(Refused):
            async with third.transaction() as tx:
                await Registry(tx).take([cards[4]], replacing=False)
                importing = asyncio.gather(take(first, cards), take(second, cards[::-1]))
                while (await asyncio.to_thread(postgres.execute, WAITING, name)).strip() != "2":
                    await asyncio.sleep(0)
                raise Refused("broken off")
        taken = await importing
    assert sorted([one.added, one.unchanged] for one in taken) == [[0, 9], [9, 0]]
    assert [vars(record).get("error") for record in caplog.records] == ["IntegrityError"], "and no deadlock"


async def test_of_two_that_revoke_at_once_both_count(postgres: Postgres, template: str, tmp_path: Path) -> None:
    name = postgres.create(template)
    both = replace(card("aa", "1"), signing_revoked=False)
    first, second = (Database.open(postgres.url(name), tmp_path) for _ in range(2))

    async def user_too() -> int:
        async with second.transaction() as tx:
            return await Registry(tx).revoke("1", user=True)

    async with asyncio.timeout(PATIENCE_S), contextlib.AsyncExitStack() as stack:
        for database in (first, second):
            stack.push_async_callback(database.close)
        async with first.transaction() as tx:
            await Registry(tx).take([both], replacing=False)
        async with first.transaction() as tx:
            assert await Registry(tx).revoke("1", user=False) == 1
            other = asyncio.create_task(user_too())
            while (await asyncio.to_thread(postgres.execute, WAITING, name)).strip() != "1":
                await asyncio.sleep(0)
        assert await other == 1
        async with first.transaction() as tx:
            assert await tx.card(both.certificate) == replace(both, user_revoked=True, signing_revoked=True)


async def test_pages_follow_each_other_without_gap(world: World) -> None:
    ids = [(authority, f"{serial:x}") for authority in ("aa", "bb") for serial in range(1, 26)]
    async with world.database.transaction() as tx:
        await Registry(tx).take([card(*one) for one in reversed(ids)], replacing=False)
        seen: list[tuple[str, str]] = []
        after: CertificateId | None = None
        while page := await Registry(tx).page(after, 7):
            assert len(page) <= 7
            seen += [(one.certificate.authority_key_id, one.certificate.serial) for one in page]
            after = page[-1].certificate
    assert seen == sorted(ids)


async def test_an_empty_registry(world: World) -> None:
    async with world.database.transaction() as tx:
        registry = Registry(tx)
        assert await registry.take([], replacing=True) == (Taken(), [])
        assert (await registry.page(None, 10), await registry.count()) == ([], 0)
        assert await registry.by_key_version(Procedure.SIGNING_PASSWORD) == {}
