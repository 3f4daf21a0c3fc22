"""Everything that holds for SQLite alone: one writer, write-ahead log, synced commits."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from centrald.errors import ConfigError
from centrald.storage.inplace import InPlaceConnection, connect
from centrald.storage.lean import Compiler, Prepared, StatementFailed, Values

_BUSY_SECONDS = 5.0  # how long a command waits for the service to let go of the file,
_SERVICE_BUSY_SECONDS = 2.0  # and the service for a command: a call shall end in time, and say why
_BEGIN = "BEGIN IMMEDIATE"
_CACHE = "cache_size=-65536"  # KiB, used as needed: the upper pages of a million reservations' indexes stay in it
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


def resolve(url: sa.URL, directory: Path) -> sa.URL:
    """Return the URL with its file's path made absolute, starting from the directory."""
    return url.set(database=str(directory / url.database)) if url.database else url


class Hold:
    """The right to be the one service on a directory's database; ends with the process, too."""

    def __init__(self, directory: Path) -> None:
        """Take it. Raises ConfigError when another process has it."""
        self._handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise ConfigError(f"{directory} is served by another process") from None

    def release(self) -> None:
        """Give it up."""
        os.close(self._handle)


def engine(url: sa.URL, *, checkpoints: bool) -> AsyncEngine:
    """Return an engine whose transactions are ours to begin.

    Only the service itself checkpoints (`checkpoints`): SQLite before 3.51.3 may lose pages when two processes do.
    """
    busy = _SERVICE_BUSY_SECONDS if checkpoints else _BUSY_SECONDS
    made = create_async_engine(
        url, poolclass=NullPool, async_creator=partial(connect, url.database or ":memory:", busy)
    )

    @sa.event.listens_for(made.sync_engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # no transaction begins by itself
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, _CACHE if checkpoints else "wal_autocheckpoint=0"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return made


async def wrap(session: AsyncConnection) -> SqliteDriver:
    """Return the driver's own side of a connection."""
    return SqliteDriver(cast("InPlaceConnection", (await session.get_raw_connection()).driver_connection))


class SqliteDriver:
    """See `centrald.storage.lean.Driver`; waits, on the connection's thread, for other writers and the disk only."""

    usable = True
    reads_alone = False  # the write lock comes first: a transaction that has read may not get it any more

    def __init__(self, connection: InPlaceConnection) -> None:
        self._connection = connection

    async def begin(self) -> None:
        """See `Driver`; takes the write lock."""
        with _failing():
            if not self._connection.begun(_BEGIN):
                await self._connection.on_thread(_carry_out, _BEGIN)

    async def commit(self) -> None:
        """See `Driver`."""
        with _failing():
            await self._connection.commit()

    async def rollback(self) -> None:
        """See `Driver`."""
        with _failing():
            await self._connection.rollback()

    async def plan_for_values(self) -> None:
        """See `Driver`; with SQLite it is always so."""

    async def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """See `Driver`."""
        with _failing():
            return _carry_out(self._connection.raw, text, arguments)

    async def write(self, compiler: Compiler, parts: Sequence[tuple[Prepared, Values]]) -> Sequence[Sequence[Any]]:
        """See `Driver`."""
        found: Sequence[Sequence[Any]] = ()
        for prepared, values in parts:
            found = await self.fetch(prepared.text, prepared.arguments(values))
        return found

    def abandon(self) -> None:
        """See `Driver`; closing it is what undoes its transaction."""


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StatementFailed(f"{type(error).__name__}: {error}") from error


def _carry_out(raw: sqlite3.Connection, text: str, arguments: Sequence[Any] = ()) -> Sequence[Sequence[Any]]:
    return raw.execute(text, arguments).fetchall()
