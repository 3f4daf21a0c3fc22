"""The database as the service sees it: short transactions, and the time that counts in them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

import sqlalchemy as sa

from centrald.clock import Clock, SystemClock, monotonic
from centrald.errors import CentralError, ConfigError, StorageFailed
from centrald.storage import postgres, sqlite
from centrald.storage.connections import Connections
from centrald.storage.lean import StatementFailed
from centrald.storage.ledger import Entry
from centrald.storage.schema import REVISION, revision_of
from centrald.storage.transaction import Transaction

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_P = ParamSpec("_P")

_TRIES = 5
PATIENCE_SECONDS = 2.5  # of a service, for one transaction: a kiosk waits 3 s for a call, and shall hear why
_CONNECTIONS = 10  # of a command, which needs one
_DRIVERS = ("sqlite+aiosqlite", "postgresql+asyncpg")


class Watcher:
    """Is told what the database does; this one does not care."""

    def transacted(self, seconds: float, result: str) -> None:
        """Hear of a transaction's end: "committed", "rolled_back" by the service itself, or "failed"."""

    def appended(self, entries: Sequence[Entry]) -> None:
        """Hear of entries of the ledger, once they are committed."""


class Database:
    """One database; transactions on SQLite run one after the other, on PostgreSQL side by side."""

    def __init__(
        self, connections: Connections, clock: Clock | None, patience: float | None, hold: sqlite.Hold | None = None
    ) -> None:
        self._connections = connections
        self._clock = clock  # None: the database's own
        self._patience = patience  # seconds for one transaction
        self._hold = hold
        self.watcher = Watcher()

    @classmethod
    def open(
        cls,
        url: str,
        directory: Path,
        clock: Clock | None = None,
        *,
        service: bool = False,
        connections: int = _CONNECTIONS,
    ) -> Self:
        """Open by SQLAlchemy URL; raises ConfigError for a database this version does not speak to.

        Without a clock the time is the database's, with SQLite the machine's. `service` is for the one that serves:
        its transactions end in time, with StorageFailed if they must; on SQLite a second one on the same directory is
        refused with ConfigError. `connections`: of PostgreSQL.
        """
        parsed = parse(url)
        patience = PATIENCE_SECONDS if service else None
        if parsed.get_backend_name() == "postgresql":
            return cls(Connections(postgres.engine(parsed), connections, postgres.wrap), clock, patience)
        hold = sqlite.Hold(directory) if service else None
        made = sqlite.engine(sqlite.resolve(parsed, directory), checkpoints=service)
        return cls(Connections(made, 1, sqlite.wrap), clock or SystemClock(), patience, hold)

    async def migrate(self, target: str = "head") -> tuple[str | None, str | None]:
        """Bring the tables to a revision, all of it or nothing; returns the revisions before and after."""
        from centrald.storage.migration import migrate  # Alembic is heavy, and serving needs none of it

        async with self._connections.transaction() as link:
            await link.begin()
            return await link.session.run_sync(migrate, target)

    async def revision(self) -> str | None:
        """Return the revision of the tables; None where there are none."""
        async with self._connections.transaction() as link:
            return await link.session.run_sync(revision_of)

    async def check_revision(self) -> None:
        """Raise ConfigError unless the tables are those of this version."""
        found = await self.revision()
        if found is None:
            raise ConfigError("the database holds no tables; run `centrald init`, or `centrald migrate` on a new one")
        if found != REVISION:
            raise ConfigError(f"the database is at revision {found}, not {REVISION}; run `centrald migrate`")

    @asynccontextmanager
    async def transaction(self, *, timed: bool = True) -> AsyncIterator[Transaction]:
        """Commit what is done inside, or nothing of it. Unless `timed`, its first read has to tell the time."""
        begun = monotonic()
        result, appended = "failed", list[Entry]()
        try:
            async with _in_time(self._patience), self._connections.transaction() as link:
                tx = Transaction(link, self._clock.now() if self._clock else None)  # SQLite's write lock is held by now
                if timed:
                    await tx.look_at_clock()
                yield tx
                appended = await tx.finish()
            result = "committed"
        except CentralError as error:
            result = "failed" if isinstance(error, StorageFailed) else "rolled_back"
            raise
        finally:
            self.watcher.transacted(monotonic() - begun, result)
        self.watcher.appended(appended)

    async def check(self) -> None:
        """Do nothing in a transaction that could write; raises what keeps it from that."""
        async with _in_time(self._patience), self._connections.transaction() as link:
            if not await postgres.writable(link):  # on SQLite the write lock is held by now
                raise StorageFailed("the database takes no writes")

    async def run(self, work: Callable[[Transaction], Awaitable[_T]], *, timed: bool = True) -> _T:
        """Do the work in one transaction, and again from its beginning when another got in its way."""
        for left in reversed(range(_TRIES)):
            try:
                async with self.transaction(timed=timed) as tx:
                    return await work(tx)
            except StatementFailed as error:
                if not left or not postgres.worth_another_try(error):
                    raise
                _log.info("transaction is tried again", extra={"error": type(error.__cause__ or error).__name__})
        raise AssertionError("the last try returns or raises")

    async def close(self) -> None:
        """Close every connection; a process that does not hangs at its end."""
        await self._connections.close()
        if self._hold is not None:
            self._hold.release()
            self._hold = None


@asynccontextmanager
async def _in_time(seconds: float | None) -> AsyncIterator[None]:
    """Cut off what takes longer: a database that is mute answers nothing, not even that."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise StorageFailed("the database did not answer in time") from error


def parse(url: str) -> sa.URL:
    """Return the URL taken apart; raises ConfigError for one of no database this version speaks to."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigError("storage.url is not a URL of SQLAlchemy") from None
    if parsed.drivername not in _DRIVERS:
        raise ConfigError(f"storage.url: {parsed.drivername} is not supported, only {' and '.join(_DRIVERS)}")
    return parsed


class _HasDatabase(Protocol):
    _database: Database


_S = TypeVar("_S", bound=_HasDatabase)


def transactional(
    method: Callable[Concatenate[_S, Transaction, _P], Awaitable[_T]],
) -> Callable[Concatenate[_S, _P], Coroutine[Any, Any, _T]]:
    """Let a method run in a transaction of `self._database`; the caller passes all but that.

    Its first read has to be one that tells the time.
    """

    @wraps(method)
    async def call(self: _S, /, *words: _P.args, **named: _P.kwargs) -> _T:
        return await self._database.run(lambda tx: method(self, tx, *words, **named), timed=False)

    return call
