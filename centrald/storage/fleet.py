"""Chains, stores and kiosks: who may take part; each level is enabled or not."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from centrald.errors import AlreadyThere, NotThere
from centrald.rules.model import KioskId
from centrald.storage import schema, statements


@dataclass(frozen=True, slots=True)
class KioskRow:
    """A known kiosk and what is enabled above and at it."""

    id: KioskId
    added_at: datetime.datetime
    chain_enabled: bool
    store_enabled: bool
    kiosk_enabled: bool

    @property
    def enabled(self) -> bool:
        """Whether the kiosk may begin attempts."""
        return self.chain_enabled and self.store_enabled and self.kiosk_enabled


class Fleet:
    """The fleet within one transaction."""

    def __init__(self, connection: AsyncConnection, now: datetime.datetime) -> None:
        self._connection = connection
        self._now = now

    async def kiosks(self, only: KioskId | None = None) -> list[KioskRow]:
        """Return all kiosks in order, or the one named if it is known."""
        kiosk, store, chain = schema.kiosk, schema.store, schema.chain
        joined = kiosk.join(store, (store.c.chain == kiosk.c.chain) & (store.c.id == kiosk.c.store))
        query = (
            sa.select(
                kiosk.c.chain,
                kiosk.c.store,
                kiosk.c.id,
                kiosk.c.added_at,
                chain.c.enabled.label("chain_enabled"),
                store.c.enabled.label("store_enabled"),
                kiosk.c.enabled.label("kiosk_enabled"),
            )
            .select_from(joined.join(chain, chain.c.id == kiosk.c.chain))
            .order_by(kiosk.c.chain, kiosk.c.store, kiosk.c.id)
        )
        if only is not None:
            query = query.where(*_at(only))
        return [
            KioskRow(
                id=KioskId(row["chain"], row["store"], row["id"]),
                added_at=row["added_at"],
                chain_enabled=row["chain_enabled"],
                store_enabled=row["store_enabled"],
                kiosk_enabled=row["kiosk_enabled"],
            )
            for row in (await self._connection.execute(query)).mappings()
        ]

    async def enabled(self, kiosk: KioskId) -> bool:
        """Tell whether chain, store and kiosk are all known and enabled."""
        values = {"chain": kiosk.chain, "store": kiosk.store, "kiosk": kiosk.kiosk}
        return (await self._connection.execute(statements.ENABLED, values)).first() is not None

    async def add(self, kiosk: KioskId) -> None:
        """Add a kiosk, enabled, with its chain and store when they are new; raises AlreadyThere."""
        if await self.kiosks(kiosk):
            raise AlreadyThere(f"kiosk {kiosk} is known already")
        chain, store = schema.chain, schema.store
        if not await self._exists(chain, chain.c.id == kiosk.chain):
            await self._connection.execute(sa.insert(chain).values(id=kiosk.chain, enabled=True))
        if not await self._exists(store, store.c.chain == kiosk.chain, store.c.id == kiosk.store):
            await self._connection.execute(sa.insert(store).values(chain=kiosk.chain, id=kiosk.store, enabled=True))
        values = {"chain": kiosk.chain, "store": kiosk.store, "id": kiosk.kiosk, "enabled": True, "added_at": self._now}
        await self._connection.execute(sa.insert(schema.kiosk).values(values))

    async def enable(self, path: tuple[str, ...], *, enabled: bool) -> None:
        """Enable or disable a chain (chain,), a store (chain, store) or a kiosk; raises NotThere."""
        chain, store, kiosk = schema.chain, schema.store, schema.kiosk
        where: tuple[sa.ColumnElement[bool], ...]
        match path:
            case (name,):
                table, where = chain, (chain.c.id == name,)
            case (name, shop):
                table, where = store, (store.c.chain == name, store.c.id == shop)
            case _:
                table, where = kiosk, _at(KioskId(*path))
        if not await self._exists(table, *where):
            raise NotThere(f"{'/'.join(path)} is not known")
        await self._connection.execute(sa.update(table).where(*where).values(enabled=enabled))

    async def _exists(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> bool:
        return (
            await self._connection.execute(sa.select(sa.literal(1)).select_from(table).where(*where))
        ).first() is not None


def _at(kiosk: KioskId) -> tuple[sa.ColumnElement[bool], ...]:
    table = schema.kiosk
    return table.c.chain == kiosk.chain, table.c.store == kiosk.store, table.c.id == kiosk.kiosk
