"""The database as the service sees it: short transactions, and the time that counts in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from centrald.clock import Clock
from centrald.errors import ConfigError
from centrald.storage import sqlite
from centrald.storage.schema import metadata
from centrald.storage.transaction import Transaction

_SQLITE = "sqlite"


class Database:
    """One database; transactions on SQLite run one after the other."""

    def __init__(self, engine: AsyncEngine, clock: Clock, hold: sqlite.Hold | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._hold = hold

    @classmethod
    def open(cls, url: str, directory: Path, clock: Clock, *, service: bool = False) -> Self:
        """Open by SQLAlchemy URL; raises ConfigError for a database this version does not speak to.

        `service` is for the one that serves: a second one on the same directory is refused with ConfigError.
        """
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise ConfigError(f"storage.url: {error}") from None
        if parsed.get_backend_name() != _SQLITE:
            raise ConfigError(f"storage.url: {parsed.get_backend_name()} is not supported yet, only sqlite+aiosqlite")
        hold = sqlite.Hold(directory) if service else None
        return cls(sqlite.engine(sqlite.resolve(parsed, directory), checkpoints=service), clock, hold)

    async def create(self) -> None:
        """Create the tables."""
        async with self._engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await sqlite.protect_ledger(connection)

    async def ready(self) -> bool:
        """Tell whether the tables are there."""
        async with self._engine.begin() as connection:
            return await connection.run_sync(_has_tables)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commit what is done inside, or nothing of it."""
        async with self._engine.begin() as connection:
            yield Transaction(connection, self._clock.now())  # read once the write lock is held

    async def close(self) -> None:
        """Close every connection; a process that does not hangs at its end."""
        await self._engine.dispose()
        if self._hold is not None:
            self._hold.release()
            self._hold = None


def _has_tables(connection: sa.Connection) -> bool:
    return set(metadata.tables) <= set(sa.inspect(connection).get_table_names())
