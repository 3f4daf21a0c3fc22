"""The journal in one SQLite file: write-ahead log, synced at every commit, one connection on one thread."""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gatewayd.clock import Clock
from gatewayd.errors import JournalUnavailable
from gatewayd.journal import records
from gatewayd.journal.port import AttemptRecord, OutboxItem, Recovered, TimelineRecord
from gatewayd.journal.schema import migrate
from gatewayd.journal.thread import JournalThread

P = ParamSpec("P")
T = TypeVar("T")

FILE_MODE = 0o600
LOG_RESERVE = 256 * 1024  # bytes; an attempt writes some 130 KiB
BUSY_TIMEOUT_S = 0.3  # only another process can hold the file, and no other process should

_PRAGMAS = (
    # One connection per file, enforced: SQLite before 3.51.3 can corrupt a write-ahead log that two connections
    # reset at once (sqlite.org/wal.html, "The WAL-reset bug").
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    # KiB of pages kept in memory. An attempt touches some tens of them; with the default of 2,000 the daemon's memory
    # grows for its first thousand attempts.
    "PRAGMA cache_size = -256",
    "PRAGMA secure_delete = ON",  # a deleted receipt is overwritten, not merely unlinked
)


class Journal:
    """The journal of one kiosk; implements `JournalPort`. Make it with `open`."""

    def __init__(
        self,
        thread: JournalThread,
        connection: sqlite3.Connection,
        log: Path,
        clock: Clock,
        on_commit: Callable[[float], None] | None,
    ) -> None:
        self._thread = thread
        self._connection = connection
        self._log = log
        self._clock = clock
        self._on_commit = on_commit

    @classmethod
    async def open(cls, path: Path, clock: Clock, on_commit: Callable[[float], None] | None = None) -> Journal:
        """Open or create the file (mode 0600; its directory must exist), and bring its tables up to date.

        `on_commit` is given the seconds of each synced transaction, on the journal's own thread.

        Raises:
            JournalUnavailable: the file cannot be opened, created, synced or understood, or another process has it.
        """
        thread = JournalThread()
        try:
            connection = await thread.run(lambda: _connect(path))
        except JournalUnavailable as error:
            thread.stop()
            raise JournalUnavailable(f"{path}: {error}") from None
        except BaseException:
            thread.stop()
            raise
        return cls(thread, connection, _log_of(path), clock, on_commit)

    async def accept(self, attempt_id: str, procedure: str) -> bool:
        """See `JournalPort`."""
        return await self._commit(records.accept, attempt_id, procedure)

    async def begun(self, attempt_id: str) -> None:
        """See `JournalPort`."""
        await self._commit(records.begun, attempt_id)

    async def doubted(self, attempt_id: str) -> None:
        """See `JournalPort`."""
        await self._commit(records.doubted, attempt_id)

    async def authorizing(self, attempt_id: str, n: int) -> None:
        """See `JournalPort`."""
        await self._commit(records.authorizing, attempt_id, n)

    async def intend(self, attempt_id: str, n: int) -> None:
        """See `JournalPort`."""
        await self._commit(records.intend, attempt_id, n)

    async def result(
        self,
        attempt_id: str,
        n: int,
        outcome: str,
        *,
        chaining_value: bytes = b"",
        r_mac: bytes = b"",
        status_word: int = 0,
    ) -> OutboxItem:
        """See `JournalPort`."""
        what = records.Result(outcome, chaining_value, r_mac, status_word)
        return await self._commit(records.result, attempt_id, n, what)

    async def finish(self, attempt_id: str, outcome: str, reason: str | None) -> None:
        """See `JournalPort`."""
        await self._commit(records.finish, attempt_id, outcome, reason)

    async def recover(self) -> list[Recovered]:
        """See `JournalPort`."""
        return await self._commit(records.recover)

    async def attempt(self, attempt_id: str) -> AttemptRecord | None:
        """See `JournalPort`."""
        return await self._read(lambda: records.attempt(self._connection, attempt_id))

    async def attempts(self, *, unresolved_only: bool, limit: int, before: str | None) -> list[AttemptRecord]:
        """See `JournalPort`."""
        return await self._read(lambda: records.attempts(self._connection, unresolved_only, limit, before))

    async def timeline(self, attempt_id: str) -> list[TimelineRecord]:
        """See `JournalPort`."""
        return await self._read(lambda: records.timeline(self._connection, attempt_id))

    async def unresolved(self) -> list[AttemptRecord]:
        """See `JournalPort`."""
        return await self._read(lambda: records.unresolved(self._connection))

    async def resolve(self, attempt_id: str, resolution: str) -> None:
        """See `JournalPort`."""
        await self._commit(records.resolve, attempt_id, resolution)

    async def pending(self) -> list[OutboxItem]:
        """See `JournalPort`."""
        return await self._read(lambda: records.pending(self._connection))

    async def acknowledged(self, item_id: int, verdict: str = "") -> None:
        """See `JournalPort`."""

        def acknowledged(db: sqlite3.Connection, at: datetime.datetime) -> None:
            if records.acknowledged(db, at, item_id, verdict):
                self._thread.when_idle(self._erase)

        await self._commit(acknowledged)

    async def rejected(self, item_id: int, code: str) -> None:
        """See `JournalPort`."""
        await self._commit(records.rejected, item_id, code)

    async def probe(self) -> None:
        """See `JournalPort`."""
        await self._commit(records.probe)

    async def close(self) -> None:
        """See `JournalPort`; harmless when repeated."""
        if self._thread.stopped:
            return
        try:
            await self._read(self._connection.close)
        finally:
            self._thread.stop()

    def _erase(self) -> None:
        """Fold the log into the file: until then the log holds what was overwritten there. Closing does it, too."""
        with contextlib.suppress(JournalUnavailable), _translated():
            _checkpoint(self._connection, self._log)

    async def _commit(
        self,
        entry: Callable[Concatenate[sqlite3.Connection, datetime.datetime, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        work = functools.partial(entry, self._connection, self._clock.now(), *args, **kwargs)
        return await self._thread.run(lambda: self._transact(work))

    async def _read(self, query: Callable[[], T]) -> T:
        def job() -> T:
            with _translated():
                return query()

        return await self._thread.run(job)

    def _transact(self, work: Callable[[], T]) -> T:
        started = self._clock.monotonic()
        with _translated(), _transaction(self._connection):
            result = work()
        if self._on_commit is not None:
            self._on_commit(self._clock.monotonic() - started)
        return result


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file on the calling thread, which is the only one that may use it."""
    with _translated():
        # SQLite gives its log the mode of the file; made here, the file has no moment with a wider one.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        try:
            os.fchmod(descriptor, FILE_MODE)
        finally:
            os.close(descriptor)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            _prepare(connection, _log_of(path))
            _sync_directory(path.parent)
        except BaseException:
            connection.close()
            raise
        return connection


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")  # sqlite.org/wal.html


def _prepare(connection: sqlite3.Connection, log: Path) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        raise JournalUnavailable("the file system of the journal cannot hold a write-ahead log")
    if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
        raise JournalUnavailable("the journal is damaged")
    migrate(connection)
    _checkpoint(connection, log)


def _checkpoint(connection: sqlite3.Connection, log: Path) -> None:
    """Fold the log into the file and empty it, then fill it with zeros: SQLite takes a log without a header for empty.

    Entries that overwrite are synced by themselves; those that lengthen the log wait for the file system's own journal,
    and for everybody's changes in it.
    """
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        return
    with contextlib.suppress(OSError), log.open("r+b") as file:
        if not file.seek(0, os.SEEK_END):
            file.write(bytes(LOG_RESERVE))
            file.flush()
            os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    """Make the names of the file and its log durable: SQLite swallows an error of this sync."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _translated() -> Iterator[None]:
    """Turn every failure of SQLite or the disk into ours; the message names the kind, never the data."""
    try:
        yield
    except sqlite3.Error as error:
        kind = getattr(error, "sqlite_errorname", type(error).__name__)
        raise JournalUnavailable(f"the journal failed: {kind}") from None
    except OSError as error:
        raise JournalUnavailable(f"the journal failed: {os.strerror(error.errno or 0)}") from None
