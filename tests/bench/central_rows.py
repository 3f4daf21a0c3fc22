"""Fills a centre's tables: finished reservations by the million, made inside the database.

Keys are random, as real ones are, but grow from row to row: so every index of a key is written from one end to the
other, and nothing has to be sorted. Citizens came at all times of the last weeks, in no order of their keys.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from centrald.rules.retention import KEEP
from centrald.storage.schema import LANES
from tests.rig.postgres import Postgres

FILL_SECONDS = 300.0
CHUNK = 100_000  # reservations at once
DAYS = KEEP.days - 5  # what has been over for longer is forgotten, and that would be measured, too
_STRIDE = 7_368_787  # a prime: times of neighbouring keys are far apart
_NAMED = 2  # CREATE INDEX name: its place; unique indexes stay
_INDEXES = {
    "postgresql": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE 'CREATE INDEX%'",
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql LIKE 'CREATE INDEX%'",
}

# Of each citizen: a key, in hexadecimal; 32 bytes that begin with it; when she came, and a day later.
_SEED = {
    "postgresql": """
        CREATE TEMP TABLE seed AS
        SELECT i, id, decode(id || md5('d' || i), 'hex') AS bytes, came, came + interval '1 day' AS ends
        FROM (
            SELECT i, lpad(to_hex(i * (4294967295 / {count})), 8, '0') || substr(md5('k' || i), 9) AS id,
                now() - interval '1 second' * (i * {stride} % {seconds}) AS came
            FROM generate_series({first}::bigint, {last}::bigint) AS i
        ) AS numbered""",
    "sqlite": """
        CREATE TEMP TABLE seed AS
        WITH RECURSIVE counted(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM counted WHERE i < {last}),
        numbered AS MATERIALIZED (
            SELECT i, printf('%08x', i * (4294967295 / {count})) || lower(hex(randomblob(12))) AS id,
                i * {stride} % {seconds} AS ago
            FROM counted
        )
        SELECT i, id, bytes_of(id || lower(hex(randomblob(16)))) AS bytes,
            strftime('%Y-%m-%d %H:%M:%S.000000', 'now', -ago || ' seconds') AS came,
            strftime('%Y-%m-%d %H:%M:%S.000000', 'now', (86400 - ago) || ' seconds') AS ends
        FROM numbered""",
}
# Her finished reservation: her card, one attempt with one write and its report, and what the ledger keeps.
_ROWS = """
    INSERT INTO card (authority_key_id, serial, signing_certificate_serial, signing_not_before, signing_not_after,
            diversification_data, key_versions, user_revoked, signing_revoked)
        SELECT 'aa', id, id, '2026-01-01 00:00:00.000000', '2031-01-01 00:00:00.000000', substr(bytes, 1, 10),
            '{{"signing_password": 49}}', {false}, {false} FROM seed;
    INSERT INTO reservation (id, authority_key_id, serial, procedure, created_at, expires_at, face_match, challenge,
            content, closed, current_attempt, newest, state)
        SELECT id, 'aa', id, 1, came, ends, 'not performed', bytes, bytes, NULL, id, {true}, 'used' FROM seed;
    INSERT INTO attempt (id, chain, store, kiosk, begun_at, procedure, challenge, check_content, authority_key_id,
            serial, reservation_id, expires_at, in_doubt, key_version, host_challenges, released_at, released_state)
        SELECT id, 'c', 's', 'k0', came, 1, bytes, bytes, 'aa', id, id, ends, {false}, 49, substr(bytes, 1, 24), came,
            'used' FROM seed;
    INSERT INTO write (attempt_id, n, reservation_id, status, at, key_version, diversification_data, host_challenge,
            card_challenge, card_answer)
        SELECT id, 1, id, 'done', came, 49, substr(bytes, 1, 10), substr(bytes, 11, 8), substr(bytes, 19, 8),
            substr(bytes, 1, 29) FROM seed;
    INSERT INTO report SELECT id, 1, 'done', 36864, 'valid', 'used', {false}, 0 FROM seed;
    INSERT INTO ledger (lane, seq, at, event, kiosk, attempt_id, reservation_id, previous, hash)
        SELECT i % {lanes}, 3 * (i / {lanes}) + place, came, event, 'c/s/k0', id, id, bytes, bytes
        FROM seed, (SELECT 1 AS place, 'reserved' AS event UNION ALL SELECT 2, 'authorized'
            UNION ALL SELECT 3, 'reported') AS events;
    DROP TABLE seed"""
_HEADS = """
    UPDATE ledger_head SET seq = (SELECT coalesce(max(seq), 0) FROM ledger WHERE ledger.lane = ledger_head.lane)
    """  # what is not chained is before the chain
_WORDS = {
    "postgresql": {"true": "TRUE", "false": "FALSE"},
    "sqlite": {"true": "1", "false": "0"},
}

Tell = Callable[[str], None]
_Execute = Callable[[str], list[str]]  # a script to what it returns, the first column


def fill_postgres(server: Postgres, database: str, count: int, tell: Tell) -> None:
    """Add so many; foreign keys hold by construction, and are not looked at."""

    def execute(script: str) -> list[str]:
        own = "SET session_replication_role = replica; SET maintenance_work_mem = '256MB'"
        return server.execute(f"{own}; {script}", database, seconds=FILL_SECONDS).splitlines()

    _fill("postgresql", execute, count, tell)
    for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
        server.execute(statement, database, seconds=FILL_SECONDS)


def fill_sqlite(path: Path, count: int, tell: Tell) -> None:
    """Add so many, without a journal: nobody else is there."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("bytes_of", 1, bytes.fromhex)

        def execute(script: str) -> list[str]:
            if script.startswith("SELECT"):
                return [text for (text,) in connection.execute(script)]
            connection.executescript(f"BEGIN; {script}; COMMIT")
            return []

        for setting in ("journal_mode = OFF", "synchronous = OFF", "temp_store = MEMORY", "cache_size = -1000000"):
            connection.execute(f"PRAGMA {setting}")  # cache: KiB
        _fill("sqlite", execute, count, tell)
        connection.execute("ANALYZE")
        connection.execute("PRAGMA journal_mode = WAL")


def _fill(kind: str, execute: _Execute, count: int, tell: Tell) -> None:
    """Drop the indexes, add the rows, make the indexes anew."""
    began = time.perf_counter()

    def told(what: str) -> None:
        tell(f"{kind}, {count:,}: {what}, {time.perf_counter() - began:.0f} s")

    indexes = execute(_INDEXES[kind])
    execute("; ".join(f"DROP INDEX {text.split()[_NAMED]}" for text in indexes))
    for first in range(0, count, CHUNK):
        last = min(first + CHUNK, count) - 1
        span = {"first": first, "last": last, "count": count, "stride": _STRIDE, "seconds": DAYS * 86_400}
        execute(f"{_SEED[kind].format(**span)}; {_ROWS.format(lanes=LANES, **_WORDS[kind])}")
        told(f"{last + 1:,} reservations")
    for text in indexes:
        execute(text)
    execute(_HEADS)
    told(f"{len(indexes)} indexes")


@contextmanager
def careless(server: Postgres) -> Iterator[None]:
    """Let the server write as fast as it can, and leave nothing to do for later when that is over."""
    settings = ("fsync", "full_page_writes", "autovacuum")
    try:
        _set(server, settings, "off")
        yield
    finally:
        _set(server, settings, "on")
    server.execute("CHECKPOINT", seconds=FILL_SECONDS)
    os.sync()


def _set(server: Postgres, names: tuple[str, ...], value: str) -> None:
    for name in names:
        server.execute(f"ALTER SYSTEM SET {name} = {value}")
    server.execute("SELECT pg_reload_conf()")
