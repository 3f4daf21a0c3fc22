"""A connection to SQLite that leaves the event loop's thread only where SQLite waits: for another writer, for the disk.

aiosqlite sends each step of a statement (cursor, execute, fetch, close) to the connection's thread by itself, and each
crossing costs more than what SQLite does meanwhile: some ten microseconds for the few rows that a call of ours touches.
Inside a transaction nothing is waited for, as its beginning has taken the write lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Self

import aiosqlite

_BEGIN = "BEGIN"
_MILLISECONDS = 1000


class InPlaceCursor:
    """A statement that is carried out, fetched and closed in one step; as much of a cursor as SQLAlchemy asks for."""

    arraysize = 1
    description: Any = None
    rowcount = -1
    lastrowid: int | None = None

    def __init__(self, connection: InPlaceConnection) -> None:
        self._connection = connection
        self._rows: Sequence[Any] = ()

    async def __aenter__(self) -> Self:
        """Nothing to open yet."""
        return self

    async def execute(self, sql: str, parameters: Iterable[Any] = ()) -> Self:
        """Carry out one statement and keep its rows."""
        if self._connection.in_transaction:
            self._run(self._connection.raw, "execute", sql, parameters)
        elif not (sql.startswith(_BEGIN) and self._connection.begun(sql)):
            await self._connection.on_thread(self._run, "execute", sql, parameters)
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Self:
        """Carry out one statement for many rows."""
        await self._connection.on_thread(self._run, "executemany", sql, parameters)
        return self

    def _run(self, raw: sqlite3.Connection, how: str, sql: str, parameters: Any) -> None:
        cursor = raw.cursor()
        try:
            getattr(cursor, how)(sql, parameters)
            self.description, self.rowcount, self.lastrowid = cursor.description, cursor.rowcount, cursor.lastrowid
            self._rows = cursor.fetchall() if cursor.description else ()
        finally:
            cursor.close()

    async def fetchall(self) -> Sequence[Any]:
        """Return the rows."""
        return self._rows

    async def close(self) -> None:
        """Nothing is open any more."""


class InPlaceConnection(aiosqlite.Connection):
    """aiosqlite's connection with such cursors."""

    def __init__(self, path: str, busy_seconds: float) -> None:
        def connector() -> sqlite3.Connection:
            return sqlite3.connect(path, timeout=busy_seconds, check_same_thread=False)

        super().__init__(connector, iter_chunk_size=64)
        self._busy_ms = round(busy_seconds * _MILLISECONDS)
        self._changes = 0  # of the connection, when its transaction began
        self._thread.daemon = True  # as SQLAlchemy has it: an unclosed connection does not hang the process

    @property
    def raw(self) -> sqlite3.Connection:
        """The real connection, from its opening on."""
        assert self._conn is not None
        return self._conn

    def cursor(self) -> InPlaceCursor:  # type: ignore[override]
        """Return a cursor; nothing is carried out yet."""
        return InPlaceCursor(self)

    def begun(self, sql: str) -> bool:
        """Begin a transaction, unless another process has the write lock: that is not waited for here."""
        raw = self.raw
        self._changes = raw.total_changes
        raw.execute("PRAGMA busy_timeout = 0")
        try:
            raw.execute(sql)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return False
        finally:
            raw.execute(f"PRAGMA busy_timeout = {self._busy_ms}")
        return True

    async def commit(self) -> None:
        """Commit on the connection's thread; here, when there is nothing to be synced."""
        if self.raw.total_changes == self._changes:
            self.raw.commit()
        else:
            await super().commit()

    async def rollback(self) -> None:
        """Take back on the connection's thread; SQLAlchemy asks for it also after a commit."""
        if self.raw.in_transaction:
            await super().rollback()

    async def on_thread(self, work: Any, *words: Any) -> None:
        """Let the connection's thread do this with the real connection."""
        await self._execute(work, self._conn, *words)  # type: ignore[no-untyped-call]


async def connect(path: str, busy_seconds: float) -> InPlaceConnection:
    """Open the file."""
    connection = InPlaceConnection(path, busy_seconds)
    await connection
    return connection
