"""Everything that holds for SQLite alone: one writer, write-ahead log, synced commits."""

from __future__ import annotations

import fcntl
import os
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from centrald.errors import ConfigError
from centrald.storage.inplace import connect

_BUSY_SECONDS = 5.0  # a command line and the service share the file
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
    """Return an engine of one connection; transactions take the write lock when they begin.

    Only the service itself checkpoints (`checkpoints`): SQLite before 3.51.3 may lose pages when two processes do.
    """
    made = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1,
        max_overflow=0,
        async_creator=partial(connect, url.database or ":memory:", _BUSY_SECONDS),
    )

    @sa.event.listens_for(made.sync_engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are ours to begin
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, *(() if checkpoints else ("wal_autocheckpoint=0",))):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(made.sync_engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return made
