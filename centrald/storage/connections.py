"""The connections of one process to its database: opened when needed, kept, and given out one transaction at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from centrald.errors import StorageFailed
from centrald.storage.lean import Compiler, Driver, Link, StatementFailed

Wrap = Callable[[AsyncConnection], Awaitable[Driver]]


class Connections:
    """Up to so many connections; who comes when all are in use waits. The one used last is the next to be used."""

    def __init__(self, engine: AsyncEngine, most: int, wrap: Wrap) -> None:
        """Take the engine: one that pools nothing, and begins no transaction by itself."""
        self._engine = engine
        self._wrap = wrap
        self._compiler = Compiler(engine.dialect)
        self._free = asyncio.Semaphore(most)
        self._idle: list[Link] = []

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Link]:
        """Commit what is done with the connection inside, or nothing of it."""
        async with self._free:
            link = await self._begun()
            try:
                yield link
                await link.commit()
                if link.shared and link.session.in_transaction():  # as far as SQLAlchemy knows
                    await link.session.rollback()
            except BaseException as error:
                await self._undo(link, error)
                if isinstance(error, SQLAlchemyError):
                    raise _failure(error) from error
                raise
            self._idle.append(link)

    async def _begun(self) -> Link:
        """Return a connection ready for a transaction; what is no longer connected is left aside."""
        while self._idle:
            link = self._idle.pop()
            if link.driver.usable:
                break
            await _drop(link)
        else:
            link = await self._opened()
        try:
            await link.open()
        except BaseException:
            await _drop(link)
            raise
        return link

    async def _opened(self) -> Link:
        try:
            session = await self._engine.connect()
        except Exception as error:  # SQLAlchemy's, or what a driver raises before there is a connection
            raise StorageFailed(f"the database cannot be reached: {error}") from error
        return Link(await self._wrap(session), self._compiler, session)

    async def _undo(self, link: Link, error: BaseException) -> None:
        """Roll back, and keep the connection if it is in order; one that was interrupted is not."""
        if not isinstance(error, asyncio.CancelledError):
            with contextlib.suppress(SQLAlchemyError, StorageFailed):
                if link.begun:
                    await link.driver.rollback()
                if link.shared and link.session.in_transaction():
                    await link.session.rollback()
                self._idle.append(link)
                return
        await _drop(link)

    async def close(self) -> None:
        """Close every connection; a process that does not hangs at its end."""
        while self._idle:
            await self._idle.pop().session.close()
        await self._engine.dispose()


def _failure(error: SQLAlchemyError) -> StatementFailed:
    """Return what came by way of SQLAlchemy as what comes from a driver."""
    if not isinstance(error, DBAPIError):
        return StatementFailed(str(error))
    state = getattr(error.orig, "sqlstate", None)
    return StatementFailed(f"{type(error).__name__}: {error.orig}", sqlstate=state, lost=error.connection_invalidated)


async def _drop(link: Link) -> None:
    link.driver.abandon()
    with contextlib.suppress(Exception):  # nothing of it is needed any more
        await link.session.invalidate()
        await link.session.close()
