"""The registry in bulk, in each kind of database."""

from __future__ import annotations

from dataclasses import replace

from centrald.rules.model import CardEntry, CertificateId, Procedure
from centrald.storage.registry import Registry, Taken
from tests.unit.centrald.world import NOON, World, minutes

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
