"""A connection to SQLite whose statements cross to its thread once, not four times.

aiosqlite sends each step of a statement (cursor, execute, fetch, close) to the connection's thread by itself, and each
crossing costs more than what SQLite does meanwhile. Everything here is small enough to be fetched at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Self

import aiosqlite


class OneHopCursor:
    """A statement that is carried out, fetched and closed in one step; as much of a cursor as SQLAlchemy asks for."""

    arraysize = 1
    description: Any = None
    rowcount = -1
    lastrowid: int | None = None

    def __init__(self, connection: OneHopConnection) -> None:
        self._connection = connection
        self._rows: Sequence[Any] = ()

    async def __aenter__(self) -> Self:
        """Nothing to open yet."""
        return self

    async def execute(self, sql: str, parameters: Iterable[Any] = ()) -> Self:
        """Carry out one statement and keep its rows."""
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


class OneHopConnection(aiosqlite.Connection):
    """aiosqlite's connection with such cursors."""

    def cursor(self) -> OneHopCursor:  # type: ignore[override]
        """Return a cursor; nothing crosses over yet."""
        return OneHopCursor(self)

    async def on_thread(self, work: Any, *words: Any) -> None:
        """Let the connection's thread do this with the real connection."""
        await self._execute(work, self._conn, *words)  # type: ignore[no-untyped-call]


async def connect(path: str, busy_seconds: float) -> OneHopConnection:
    """Open the file."""

    def connector() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=busy_seconds)

    connection = OneHopConnection(connector, iter_chunk_size=64)
    connection._thread.daemon = True  # as SQLAlchemy has it: an unclosed connection does not hang the process
    await connection
    return connection
