"""Everything that holds for PostgreSQL alone: many connections, row locks, and the time of its own clock.

Transactions run at READ COMMITTED, PostgreSQL's default: each statement sees what was committed before it. That is
enough, for every transaction first holds (SELECT … FOR UPDATE) the attempt, then the card, then the reservation it
decides about, always in this order. Whoever changes a reservation, its writes or their reports holds its card: what is
read of them by a later statement than the one that held it is as of that hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from centrald.storage.lean import Compiler, Link, Prepared, StatementFailed, Values, batches

_CONNECT_SECONDS = 2.0
_SETTINGS = {
    "application_name": "centrald",
    "timezone": "UTC",
    "statement_timeout": "5000",  # milliseconds; a kiosk waits 3 s for a call
    "idle_in_transaction_session_timeout": "10000",  # milliseconds; a service that hangs frees its locks
    "default_transaction_isolation": "read committed",  # see above, whatever the database's own default is
    "synchronous_commit": "on",  # an answer is a promise: never before it is on disk
    # What calls ask is found by keys, whatever their values: to plan it anew for each of them is a twelfth of the work.
    "plan_cache_mode": "force_generic_plan",
}
# PostgreSQL's documentation, Appendix A: unique_violation, serialization_failure, deadlock_detected, admin_shutdown,
# crash_shutdown.
_TRY_AGAIN = frozenset({"23505", "40001", "40P01", "57P01", "57P02"})
_PLAN_FOR_VALUES = "SET LOCAL plan_cache_mode = force_custom_plan"
_READ_ONLY = "SELECT current_setting('transaction_read_only')"
_FAILED = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
MIGRATION_LOCK = 0x4A504B49  # any number, the same for all who migrate


def engine(url: sa.URL) -> AsyncEngine:
    """Return an engine whose transactions are ours to begin."""
    return create_async_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"timeout": _CONNECT_SECONDS, "server_settings": _SETTINGS},
    )


async def wrap(session: AsyncConnection) -> PostgresDriver:
    """Return the driver's own side of a connection."""
    connection: asyncpg.Connection[asyncpg.Record] = (await session.get_raw_connection()).driver_connection
    return PostgresDriver(connection)


class PostgresDriver:
    """See `centrald.storage.lean.Driver`."""

    reads_alone = True  # at READ COMMITTED

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection

    @property
    def usable(self) -> bool:
        """See `Driver`."""
        return not self._connection.is_closed()

    async def begin(self) -> None:
        """See `Driver`."""
        await self._do("BEGIN")

    async def commit(self) -> None:
        """See `Driver`."""
        await self._do("COMMIT")

    async def rollback(self) -> None:
        """See `Driver`."""
        await self._do("ROLLBACK")

    async def plan_for_values(self) -> None:
        """See `Driver`."""
        await self._do(_PLAN_FOR_VALUES)

    async def _do(self, text: str) -> None:
        try:
            await self._connection.execute(text)
        except _FAILED as error:
            raise self._failure(error) from error

    async def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """See `Driver`."""
        try:
            found: Sequence[Sequence[Any]] = await self._connection.fetch(text, *arguments)
        except _FAILED as error:
            raise self._failure(error) from error
        return found

    async def write(self, compiler: Compiler, parts: Sequence[tuple[Prepared, Values]]) -> Sequence[Sequence[Any]]:
        """See `Driver`; what may be joined is one statement."""
        found: Sequence[Sequence[Any]] = ()
        for run in batches(parts):
            arguments = [one for prepared, values in run for one in prepared.arguments(values)]
            text = compiler.joined(tuple(prepared for prepared, _ in run)) if len(run) > 1 else run[0][0].text
            found = await self.fetch(text, arguments)
        return found

    def _failure(self, error: Exception) -> StatementFailed:
        state = getattr(error, "sqlstate", None)
        return StatementFailed(f"{type(error).__name__}: {error}", sqlstate=state, lost=self._connection.is_closed())

    def abandon(self) -> None:
        """See `Driver`."""
        self._connection.terminate()


async def writable(link: Link) -> bool:
    """Tell whether the server takes writes; a standby of PostgreSQL does not."""
    if link.dialect.name != "postgresql":
        return True
    return bool((await link.driver.fetch(_READ_ONLY, ()))[0][0] == "off")


def worth_another_try(error: StatementFailed) -> bool:
    """Tell whether the same work may well succeed when done again from its beginning.

    A key that exists already was written by another transaction at the same time; the next try finds it. Where a
    connection was lost, even in a commit, nothing is lost by another try: every call is keyed, and finds what it did.
    """
    return error.lost or error.sqlstate in _TRY_AGAIN
