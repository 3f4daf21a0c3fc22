"""Fills a centre's tables: finished reservations by the million, made inside the database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from centrald.storage.schema import LANES
from tests.rig.postgres import Postgres

FILL_SECONDS = 300.0
_NAMED = 2  # CREATE INDEX name: its place; unique indexes stay
_INDEXES = {
    "postgresql": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE 'CREATE INDEX%'",
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql LIKE 'CREATE INDEX%'",
}

# One citizen's finished reservation: her card, one attempt with one write and its report, and what the ledger keeps.
_SEED = {
    "postgresql": """
        CREATE TEMP TABLE seed AS SELECT i, md5('r' || i) AS r, md5('a' || i) AS a, md5('s' || i) AS s,
            decode(md5('c' || i) || md5('d' || i), 'hex') AS challenge, decode(md5('x' || i), 'hex') AS data
        FROM generate_series({first}, {last}) AS i""",
    "sqlite": """
        CREATE TEMP TABLE seed AS
        WITH RECURSIVE counted(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM counted WHERE i < {last})
        SELECT i, lower(hex(randomblob(16))) AS r, lower(hex(randomblob(16))) AS a, lower(hex(randomblob(16))) AS s,
            randomblob(32) AS challenge, randomblob(16) AS data
        FROM counted""",
}
_ROWS = """
    INSERT INTO card (authority_key_id, serial, signing_certificate_serial, signing_not_before, signing_not_after,
            diversification_data, key_versions, user_revoked, signing_revoked)
        SELECT 'aa', s, s, '{past}', '{future}', substr(data, 1, 10), '{{"signing_password": 49}}',
        {false}, {false} FROM seed ORDER BY s;
    INSERT INTO reservation (id, authority_key_id, serial, procedure, created_at, expires_at, face_match, challenge,
            content, closed, current_attempt, newest, state)
        SELECT r, 'aa', s, 1, '{past}', '{past}', 'not performed', challenge, challenge, NULL, a, {true}, 'used'
        FROM seed ORDER BY r;
    INSERT INTO attempt (id, chain, store, kiosk, begun_at, procedure, challenge, check_content, authority_key_id,
            serial, reservation_id, expires_at, in_doubt, key_version, host_challenges, released_at, released_state)
        SELECT a, 'c', 's', 'k0', '{past}', 1, challenge, challenge, 'aa', s, r, '{past}', {false}, 49,
            substr(challenge, 1, 24), '{past}', 'used' FROM seed ORDER BY a;
    INSERT INTO write (attempt_id, n, reservation_id, status, at, key_version, diversification_data, host_challenge,
            card_challenge, card_answer)
        SELECT a, 1, r, 'done', '{past}', 49, substr(data, 1, 10), substr(data, 1, 8), substr(data, 9, 8),
            substr(challenge, 1, 29) FROM seed ORDER BY a;
    INSERT INTO report SELECT a, 1, 'done', 36864, 'valid', 'used', {false}, 0 FROM seed ORDER BY a;
    INSERT INTO ledger (lane, seq, at, event, kiosk, attempt_id, reservation_id)
        SELECT i % {lanes}, 3 * (i / {lanes}) + place, '{past}', event, 'c/s/k0', a, r
        FROM seed, (SELECT 1 AS place, 'reserved' AS event UNION ALL SELECT 2, 'authorized'
            UNION ALL SELECT 3, 'reported') AS events;
    DROP TABLE seed"""
_HEADS = """
    UPDATE ledger_head SET seq = (SELECT coalesce(max(seq), 0) FROM ledger WHERE ledger.lane = ledger_head.lane)
    """  # what is not chained is before the chain
_WORDS = {
    "postgresql": {
        "true": "TRUE",
        "false": "FALSE",
        "past": "2026-01-01T00:00:00Z",
        "future": "2031-01-01T00:00:00Z",
        "lanes": LANES,
    },
    "sqlite": {
        "true": "1",
        "false": "0",
        "past": "2026-01-01 00:00:00.000000",
        "future": "2031-01-01 00:00:00.000000",
        "lanes": LANES,
    },
}


def fill_postgres(server: Postgres, database: str, count: int) -> None:
    """Add so many; foreign keys hold by construction, and are not looked at. Indexes are made anew afterwards."""
    indexes = server.execute(_INDEXES["postgresql"], database).splitlines()
    seed = _SEED["postgresql"].format(first=0, last=count - 1)
    rows = _ROWS.format(**_WORDS["postgresql"])
    drop = "; ".join(f"DROP INDEX {line.split()[_NAMED]}" for line in indexes)
    for statement in (
        f"SET session_replication_role = replica; SET work_mem = '256MB'; {drop}; {seed}; {rows}",
        f"SET maintenance_work_mem = '256MB'; {'; '.join(indexes)}",
        _HEADS,
        "VACUUM ANALYZE",
        "CHECKPOINT",
    ):
        server.execute(statement, database, seconds=FILL_SECONDS)


def autovacuum(server: Postgres, setting: str) -> None:
    """Switch PostgreSQL's own vacuuming "on", as it is by default, or "off"."""
    for statement in (f"ALTER SYSTEM SET autovacuum = {setting}", "SELECT pg_reload_conf()"):
        server.execute(statement)


def fill_sqlite(path: Path, count: int) -> None:
    """Add so many, without a journal: nobody else is there."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000"
        )  # KiB
        indexes = [text for (text,) in connection.execute(_INDEXES["sqlite"])]
        drop = "; ".join(f"DROP INDEX {text.split()[_NAMED]}" for text in indexes)
        seed = _SEED["sqlite"].format(first=0, last=count - 1)
        rows = _ROWS.format(**_WORDS["sqlite"])
        connection.executescript(f"BEGIN; {drop}; {seed}; {rows}; {'; '.join(indexes)}; {_HEADS}; ANALYZE; COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
