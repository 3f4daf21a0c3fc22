"""Chains, stores and kiosks: who may take part; each level is enabled or not."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from centrald.errors import AlreadyThere, NotThere
from centrald.rules.model import KioskId
from centrald.storage import schema
from centrald.storage.lean import Link


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

    def __init__(self, connection: Link, now: datetime.datetime) -> None:
        self._connection = connection
        self._now = now

    async def chains(self) -> list[dict[str, Any]]:
        """Return the chains in order, with the numbers of their stores and kiosks."""
        chain, store = schema.chain, schema.store
        query = (
            sa.select(
                chain.c.id.label("chain"),
                chain.c.enabled,
                _how_many(store, store.c.chain == chain.c.id).label("stores"),
                _how_many(store, store.c.chain == chain.c.id, store.c.enabled).label("stores_enabled"),
                _how_many(schema.kiosk, schema.kiosk.c.chain == chain.c.id).label("kiosks"),
            )
            .select_from(chain)
            .order_by(chain.c.id)
        )
        return [dict(row) for row in (await self._connection.execute(query)).mappings()]

    async def stores(self, chain: str | None = None) -> list[dict[str, Any]]:
        """Return the stores in order, all or a chain's, with the numbers of their kiosks."""
        store, kiosk = schema.store, schema.kiosk
        mine = (kiosk.c.chain == store.c.chain, kiosk.c.store == store.c.id)
        query = (
            sa.select(
                (store.c.chain + "/" + store.c.id).label("store"),
                (store.c.enabled & schema.chain.c.enabled).label("enabled"),
                schema.chain.c.enabled.label("chain_enabled"),
                store.c.enabled.label("store_enabled"),
                _how_many(kiosk, *mine).label("kiosks"),
                _how_many(kiosk, *mine, kiosk.c.enabled).label("kiosks_enabled"),
            )
            .select_from(store.join(schema.chain, schema.chain.c.id == store.c.chain))
            .order_by(store.c.chain, store.c.id)
        )
        if chain is not None:
            query = query.where(store.c.chain == chain)
        return [dict(row) for row in (await self._connection.execute(query)).mappings()]

    async def kiosks(
        self, only: KioskId | None = None, *, chain: str | None = None, store: str | None = None
    ) -> list[KioskRow]:
        """Return all kiosks in order, or those of a chain or store, or the one named if it is known."""
        return await self._kiosks(
            *(_at(only) if only else ()),
            *((schema.kiosk.c.chain == chain,) if chain else ()),
            *((schema.kiosk.c.store == store,) if store else ()),
        )

    async def _kiosks(self, *where: sa.ColumnElement[bool]) -> list[KioskRow]:
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
        return [
            KioskRow(
                id=KioskId(row["chain"], row["store"], row["id"]),
                added_at=row["added_at"],
                chain_enabled=row["chain_enabled"],
                store_enabled=row["store_enabled"],
                kiosk_enabled=row["kiosk_enabled"],
            )
            for row in (await self._connection.execute(query.where(*where))).mappings()
        ]

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


def _how_many(table: sa.Table, *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(table).where(*where).scalar_subquery()


def _at(kiosk: KioskId) -> tuple[sa.ColumnElement[bool], ...]:
    table = schema.kiosk
    return table.c.chain == kiosk.chain, table.c.store == kiosk.store, table.c.id == kiosk.kiosk
