"""The journal's tables, and the steps that lead an older file to them."""

from __future__ import annotations

import sqlite3

from gatewayd.errors import JournalUnavailable

# A migration is a tuple of statements; its place in the list, counted from 1, is the file's `user_version` after it.
# A released migration is never edited: a change of the tables is a new entry.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE attempts (
            attempt_id TEXT PRIMARY KEY,
            procedure  TEXT NOT NULL,
            started_at TEXT NOT NULL,
            begun_at   TEXT,
            doubted_at TEXT,
            ended_at   TEXT,
            outcome    TEXT CHECK (outcome IN ('done', 'not_done', 'unknown')),
            reason     TEXT,
            resolution TEXT CHECK (resolution IN ('done', 'not_done', 'closed_unknown')),
            CHECK ((outcome IS NULL) = (ended_at IS NULL)),
            CHECK (resolution IS NULL OR outcome = 'unknown')
        ) STRICT
        """,
        "CREATE INDEX attempts_open ON attempts (started_at) WHERE outcome IS NULL",
        "CREATE INDEX attempts_unresolved ON attempts (started_at) WHERE outcome = 'unknown' AND resolution IS NULL",
        """
        CREATE TABLE writes (
            attempt_id     TEXT NOT NULL REFERENCES attempts,
            n              INTEGER NOT NULL CHECK (n BETWEEN 1 AND 3),
            authorizing_at TEXT NOT NULL,
            intended_at    TEXT,
            outcome_at     TEXT,
            outcome        TEXT CHECK (outcome IN ('done', 'not_done', 'unknown')),
            status_word    INTEGER NOT NULL DEFAULT 0 CHECK (status_word BETWEEN 0 AND 65535),
            PRIMARY KEY (attempt_id, n),
            CHECK ((outcome IS NULL) = (outcome_at IS NULL)),
            CHECK (intended_at IS NOT NULL OR outcome IS NULL OR outcome = 'not_done')
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE timeline (
            event_id   INTEGER PRIMARY KEY,
            attempt_id TEXT NOT NULL REFERENCES attempts,
            at         TEXT NOT NULL,
            event      TEXT NOT NULL,
            n          INTEGER,
            detail     TEXT
        ) STRICT
        """,
        "CREATE INDEX timeline_of_attempt ON timeline (attempt_id, event_id)",
        """
        CREATE TRIGGER timeline_never_changes BEFORE UPDATE ON timeline
        BEGIN SELECT RAISE(ABORT, 'the timeline only grows'); END
        """,
        # A receipt must not outlive its delivery: the row stays, for idempotency, and its bytes go.
        """
        CREATE TABLE outbox (
            item_id         INTEGER PRIMARY KEY AUTOINCREMENT,
            attempt_id      TEXT NOT NULL REFERENCES attempts,
            kind            TEXT NOT NULL CHECK (kind IN ('report', 'release')),
            n               INTEGER NOT NULL,
            outcome         TEXT NOT NULL,
            chaining_value  BLOB NOT NULL,
            r_mac           BLOB NOT NULL,
            status_word     INTEGER NOT NULL,
            queued_at       TEXT NOT NULL,
            acknowledged_at TEXT,
            rejected        TEXT NOT NULL DEFAULT '',
            UNIQUE (attempt_id, kind, n, outcome)
        ) STRICT
        """,
        "CREATE INDEX outbox_pending ON outbox (item_id) WHERE acknowledged_at IS NULL",
        "CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), at TEXT NOT NULL) STRICT",
    ),
    # What the centre made of the receipt of a write that was done.
    ("ALTER TABLE writes ADD COLUMN verdict TEXT CHECK (verdict IN ('valid', 'invalid'))",),
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the newest tables, each step in one transaction.

    Raises:
        JournalUnavailable: a newer version of the daemon wrote the file.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise JournalUnavailable("the journal was written by a newer version of the daemon")
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
