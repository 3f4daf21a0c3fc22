"""Everything that holds for PostgreSQL alone: many connections, row locks, and the time of its own clock.

Transactions run at READ COMMITTED, PostgreSQL's default: each statement sees what was committed before it. That is
enough, for every transaction first holds (SELECT … FOR UPDATE) the attempt, then the card, then the reservation it
decides about, always in this order; what is read after a lock is as of that lock.
"""

from __future__ import annotations

import datetime

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_CONNECT_SECONDS = 5.0
_SETTINGS = {
    "application_name": "centrald",
    "timezone": "UTC",
    "statement_timeout": "5000",  # milliseconds; a kiosk waits 3 s for a call
    "idle_in_transaction_session_timeout": "10000",  # milliseconds; a service that hangs frees its locks
    "synchronous_commit": "on",  # an answer is a promise: never before it is on disk
}
_UNIQUE_VIOLATION = "23505"
# PostgreSQL's documentation, Appendix A: serialization_failure, deadlock_detected, admin_shutdown, crash_shutdown.
_TRY_AGAIN = frozenset({"40001", "40P01", "57P01", "57P02"})
_READ_ONLY = sa.select(sa.func.current_setting("transaction_read_only"))
_NOW = "SELECT clock_timestamp()"  # as text, with nothing to build: every transaction asks
MIGRATION_LOCK = 0x4A504B49  # any number, the same for all who migrate


def engine(url: sa.URL, connections: int) -> AsyncEngine:
    """Return an engine of so many connections."""
    return create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_CONNECT_SECONDS,
        connect_args={"timeout": _CONNECT_SECONDS, "server_settings": _SETTINGS},
    )


async def now(connection: AsyncConnection) -> datetime.datetime:
    """Return the server's time."""
    moment: datetime.datetime = (await connection.exec_driver_sql(_NOW)).scalar_one()
    return moment


def writable(connection: sa.Connection) -> bool:
    """Tell whether this server takes writes; a standby does not."""
    return bool(connection.execute(_READ_ONLY).scalar_one() == "off")


def worth_another_try(error: DBAPIError) -> bool:
    """Tell whether the same work may well succeed when done again from its beginning.

    A key that exists already was written by another transaction at the same time; the next try finds it. Where a
    connection was lost, even in a commit, nothing is lost by another try: every call is keyed, and finds what it did.
    """
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(error, IntegrityError):
        return state == _UNIQUE_VIOLATION
    return error.connection_invalidated or state in _TRY_AGAIN
