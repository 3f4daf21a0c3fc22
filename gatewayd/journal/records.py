"""What each entry of the journal means in SQL: the only place that states which step may follow which.

Plain functions on one open transaction; the caller commits. An attempt goes forward only::

    accept → begun (→ doubted) → authorizing(n) → intend(n) → result(n) → finish → resolve

but for one thing: a claim of *done* whose receipt the centre refuses becomes *unknown*. A step that would go back
raises ValueError: the caller's mistake, never an answer of the disk.
"""

from __future__ import annotations

import datetime
import sqlite3
from dataclasses import dataclass, field

from gatewayd.journal.port import AttemptRecord, OutboxItem, Recovered, TimelineRecord

CHAINING_VALUE_LENGTH = 16  # GPC_SPE_014 6.2.4: the full C-MAC
R_MAC_LENGTH = 8  # GPC_SPE_014 6.2.5: S8 mode
RESTARTED = "restarted"
UNRESOLVED = "outcome_unresolved"

_ATTEMPT = "SELECT attempt_id, procedure, started_at, ended_at, outcome, reason, resolution FROM attempts"
_ITEM = """
    SELECT item_id, attempt_id, kind, n, outcome, chaining_value, r_mac, status_word, queued_at, rejected FROM outbox
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one write, and what the card proved."""

    outcome: str
    chaining_value: bytes = field(default=b"", repr=False)
    r_mac: bytes = field(default=b"", repr=False)
    status_word: int = 0

    def __post_init__(self) -> None:
        """Refuse a receipt that is none."""
        lengths = (CHAINING_VALUE_LENGTH, R_MAC_LENGTH) if self.outcome == "done" else (0, 0)
        if (len(self.chaining_value), len(self.r_mac)) != lengths:
            raise ValueError("a receipt belongs to a write that was done, whole, and to no other")


def accept(db: sqlite3.Connection, at: datetime.datetime, attempt_id: str, procedure: str) -> bool:
    """Enter a new attempt; False when the id is known."""
    sql = "INSERT INTO attempts (attempt_id, procedure, started_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    if not db.execute(sql, (attempt_id, procedure, _text(at))).rowcount:
        return False
    _note(db, at, attempt_id, "accepted", detail=procedure)
    return True


def begun(db: sqlite3.Connection, at: datetime.datetime, attempt_id: str) -> None:
    """Enter that the centre is about to hear the id."""
    _require_open(db, attempt_id)
    sql = "UPDATE attempts SET begun_at = ? WHERE attempt_id = ? AND begun_at IS NULL"
    if db.execute(sql, (_text(at), attempt_id)).rowcount:
        _note(db, at, attempt_id, "begun")


def doubted(db: sqlite3.Connection, at: datetime.datetime, attempt_id: str) -> None:
    """Enter that an earlier write of the reservation is unresolved."""
    _require_open(db, attempt_id)
    sql = "UPDATE attempts SET doubted_at = ? WHERE attempt_id = ? AND doubted_at IS NULL"
    if db.execute(sql, (_text(at), attempt_id)).rowcount:
        _note(db, at, attempt_id, "doubted")


def authorizing(db: sqlite3.Connection, at: datetime.datetime, attempt_id: str, n: int) -> None:
    """Enter that write n is about to be asked for; again only while nothing came of it."""
    _require_open(db, attempt_id)
    (last,) = db.execute("SELECT coalesce(max(n), 0) FROM writes WHERE attempt_id = ?", (attempt_id,)).fetchone()
    if n == last + 1:
        sql = "INSERT INTO writes (attempt_id, n, authorizing_at) VALUES (?, ?, ?)"
        db.execute(sql, (attempt_id, n, _text(at)))
    elif _write(db, attempt_id, n) != (None, None):
        raise ValueError(f"write {n} cannot be asked for now")
    _note(db, at, attempt_id, "authorizing", n)


def intend(db: sqlite3.Connection, at: datetime.datetime, attempt_id: str, n: int) -> None:
    """Enter that write n is about to be handed to the card; never twice."""
    _require_open(db, attempt_id)
    if _write(db, attempt_id, n) != (None, None):
        raise ValueError(f"write {n} was intended, or ended, before")
    db.execute("UPDATE writes SET intended_at = ? WHERE attempt_id = ? AND n = ?", (_text(at), attempt_id, n))
    _note(db, at, attempt_id, "intended", n)


def result(db: sqlite3.Connection, at: datetime.datetime, attempt_id: str, n: int, what: Result) -> OutboxItem:
    """Enter what became of write n and queue the report; the same content again returns the same report.

    Only *unknown* may be followed, once, by *done* or *not done*; also after the attempt has ended, for an answer that
    came late.
    """
    intended_at, before = _write(db, attempt_id, n)
    queued = _queued(db, attempt_id, "report", n, what.outcome)
    if queued is not None:
        if queued.status_word != what.status_word or queued.chaining_value not in (b"", what.chaining_value):
            raise ValueError(f"write {n} has another result of this kind")
        return queued
    if before not in (None, "unknown"):
        raise ValueError(f"write {n} has a definite result")
    if intended_at is None and what.outcome != "not_done":
        raise ValueError(f"write {n} was never handed to the card")
    sql = "UPDATE writes SET outcome = ?, outcome_at = ?, status_word = ? WHERE attempt_id = ? AND n = ?"
    db.execute(sql, (what.outcome, _text(at), what.status_word, attempt_id, n))
    shown = f"{what.outcome} {what.status_word:04X}" if what.status_word else what.outcome
    _note(db, at, attempt_id, "result", n, shown)
    return _queue(db, at, attempt_id, "report", n, what)


def finish(db: sqlite3.Connection, at: datetime.datetime, attempt_id: str, outcome: str, reason: str | None) -> None:
    """Enter the attempt's outcome, once, and queue its release if the centre may have heard of it.

    The outcome may not contradict the writes: *done* needs one that was done, and whose receipt was not refused; *not
    done* none that was done, is unknown or was handed to the card without a result, and a reservation without doubt.
    With any other outcome a write without a result is unknown, and reported so. *Unknown* is resolved at once when a
    receipt has been found valid by then.

    A release says "not done" for each write without a report. After a report of *done* or *unknown* for the last write
    it has nothing to say.
    """
    sql = "SELECT outcome, reason, begun_at, doubted_at FROM attempts WHERE attempt_id = ?"
    row = db.execute(sql, (attempt_id,)).fetchone()
    if row is None:
        raise ValueError("no such attempt")
    ended, ended_why, begun_at, doubted_at = row
    if ended is not None:
        if (ended, ended_why) != (outcome, reason):
            raise ValueError("the attempt has ended otherwise")
        return
    if outcome != "not_done":
        _close_open_writes(db, at, attempt_id)
    sql = "SELECT outcome, verdict, intended_at FROM writes WHERE attempt_id = ? ORDER BY n"
    writes = db.execute(sql, (attempt_id,)).fetchall()
    believed = any(what == "done" and verdict != "invalid" for what, verdict, _ in writes)
    in_air = any(what is None and intended_at is not None for what, _, intended_at in writes)
    changed_perhaps = in_air or doubted_at is not None or any(what in ("done", "unknown") for what, _, _ in writes)
    if (outcome == "done" and not believed) or (outcome == "not_done" and changed_perhaps):
        raise ValueError("the outcome contradicts what became of the writes")
    sql = "UPDATE attempts SET outcome = ?, reason = ?, ended_at = ? WHERE attempt_id = ?"
    db.execute(sql, (outcome, reason, _text(at), attempt_id))
    _note(db, at, attempt_id, "finished", detail=outcome if reason is None else f"{outcome} {reason}")
    if outcome == "unknown" and any(verdict == "valid" for _, verdict, _ in writes):
        resolve(db, at, attempt_id, "done")
    if begun_at is not None and outcome != "done" and (not writes or writes[-1][0] in (None, "not_done")):
        _queue(db, at, attempt_id, "release")


def _close_open_writes(db: sqlite3.Connection, at: datetime.datetime, attempt_id: str) -> None:
    sql = "SELECT n FROM writes WHERE attempt_id = ? AND intended_at IS NOT NULL AND outcome IS NULL"
    for (n,) in db.execute(sql, (attempt_id,)).fetchall():
        result(db, at, attempt_id, n, Result("unknown"))


def recover(db: sqlite3.Connection, at: datetime.datetime) -> list[Recovered]:
    """Close every open attempt: what may have reached the card is unknown, what certainly has not is released."""
    sql = "SELECT attempt_id, doubted_at FROM attempts WHERE outcome IS NULL ORDER BY started_at"
    open_attempts = db.execute(sql).fetchall()
    return [_recover_one(db, at, attempt_id, doubted_at is not None) for attempt_id, doubted_at in open_attempts]


def _recover_one(db: sqlite3.Connection, at: datetime.datetime, attempt_id: str, doubted: bool) -> Recovered:
    _close_open_writes(db, at, attempt_id)
    sql = "SELECT outcome, verdict FROM writes WHERE attempt_id = ?"
    writes = db.execute(sql, (attempt_id,)).fetchall()
    doubted = doubted or any(what in ("done", "unknown") for what, _ in writes)
    # A receipt without a verdict says little after a restart: whether the counter agreed is forgotten. It is still
    # delivered, and its verdict resolves the attempt.
    outcome = "done" if ("done", "valid") in writes else "unknown" if doubted else "not_done"
    finish(db, at, attempt_id, outcome, None if outcome == "done" else RESTARTED)
    return Recovered(attempt_id, outcome)


def _withdraw(db: sqlite3.Connection, at: datetime.datetime, attempt_id: str) -> None:
    """Make an attempt that ended done unknown, if the centre has refused each receipt that could say so."""
    sql = """
        UPDATE attempts SET outcome = 'unknown', reason = ? WHERE attempt_id = ? AND outcome = 'done' AND NOT EXISTS (
            SELECT 1 FROM writes
            WHERE writes.attempt_id = attempts.attempt_id AND writes.outcome = 'done' AND verdict IS NOT 'invalid'
        )
    """
    if db.execute(sql, (UNRESOLVED, attempt_id)).rowcount:
        _note(db, at, attempt_id, "doubted", detail=f"unknown {UNRESOLVED}")


def resolve(db: sqlite3.Connection, at: datetime.datetime, attempt_id: str, resolution: str) -> None:
    """Enter what the centre learnt of an unknown attempt: once, unless the card's receipt came late."""
    row = db.execute("SELECT outcome, resolution FROM attempts WHERE attempt_id = ?", (attempt_id,)).fetchone()
    if row == ("unknown", resolution):
        return
    if row is None or row[0] != "unknown" or (row[1] is not None and resolution != "done"):
        raise ValueError("only an unresolved attempt can be resolved")
    db.execute("UPDATE attempts SET resolution = ? WHERE attempt_id = ?", (resolution, attempt_id))
    _note(db, at, attempt_id, "resolved", detail=resolution)


def attempt(db: sqlite3.Connection, attempt_id: str) -> AttemptRecord | None:
    """Return an attempt, or None."""
    row = db.execute(f"{_ATTEMPT} WHERE attempt_id = ?", (attempt_id,)).fetchone()
    return None if row is None else _attempt(row)


def attempts(db: sqlite3.Connection, unresolved_only: bool, limit: int, before: str | None) -> list[AttemptRecord]:
    """Return attempts, newest first."""
    wanted = "outcome = 'unknown' AND resolution IS NULL" if unresolved_only else "TRUE"
    older = "rowid < (SELECT rowid FROM attempts WHERE attempt_id = ?)" if before else "? IS NULL"
    sql = f"{_ATTEMPT} WHERE {wanted} AND {older} ORDER BY rowid DESC LIMIT ?"
    return [_attempt(row) for row in db.execute(sql, (before, limit))]


def timeline(db: sqlite3.Connection, attempt_id: str) -> list[TimelineRecord]:
    """Return an attempt's steps, oldest first."""
    sql = "SELECT at, event, n, detail FROM timeline WHERE attempt_id = ? ORDER BY event_id"
    rows = db.execute(sql, (attempt_id,))
    return [
        TimelineRecord(datetime.datetime.fromisoformat(at), event, n or 0, detail or "")
        for at, event, n, detail in rows
    ]


def unresolved(db: sqlite3.Connection) -> list[AttemptRecord]:
    """Return the unknown and unresolved attempts, oldest first."""
    sql = f"{_ATTEMPT} WHERE outcome = 'unknown' AND resolution IS NULL ORDER BY started_at"
    return [_attempt(row) for row in db.execute(sql)]


def pending(db: sqlite3.Connection) -> list[OutboxItem]:
    """Return what the centre has not acknowledged, oldest first; the rejected ones too, marked."""
    return [_item(row) for row in db.execute(f"{_ITEM} WHERE acknowledged_at IS NULL ORDER BY item_id")]


def acknowledged(db: sqlite3.Connection, at: datetime.datetime, item_id: int, verdict: str) -> bool:
    """Take an item out of the outbox and erase its receipt; tell whether there was one."""
    row = db.execute(f"{_ITEM} WHERE item_id = ? AND acknowledged_at IS NULL", (item_id,)).fetchone()
    if row is None:
        return False
    item = _item(row)
    sql = "UPDATE outbox SET acknowledged_at = ?, chaining_value = x'', r_mac = x'' WHERE item_id = ?"
    db.execute(sql, (_text(at), item_id))
    _note(db, at, item.attempt_id, "acknowledged", item.n or None, _words(item.kind, item.outcome, verdict))
    if item.outcome == "done" and verdict:
        _judge(db, at, item, verdict)
    return bool(item.r_mac)


def rejected(db: sqlite3.Connection, at: datetime.datetime, item_id: int, code: str) -> None:
    """Mark an item that the centre will never take."""
    row = db.execute(f"{_ITEM} WHERE item_id = ?", (item_id,)).fetchone()
    if row is None:
        raise ValueError("no such item")
    item = _item(row)
    db.execute("UPDATE outbox SET rejected = ? WHERE item_id = ?", (code, item_id))
    _note(db, at, item.attempt_id, "rejected", item.n or None, _words(item.kind, item.outcome, code))
    if item.outcome == "done":
        _judge(db, at, item, "invalid")


def _judge(db: sqlite3.Connection, at: datetime.datetime, item: OutboxItem, verdict: str) -> None:
    """Enter what became of a receipt, and what follows from it for an attempt that has ended."""
    sql = "UPDATE writes SET verdict = ? WHERE attempt_id = ? AND n = ?"
    db.execute(sql, (verdict, item.attempt_id, item.n))
    if verdict == "invalid":
        _withdraw(db, at, item.attempt_id)
        return
    record = attempt(db, item.attempt_id)
    if record is not None and record.outcome == "unknown":
        resolve(db, at, item.attempt_id, "done")


def probe(db: sqlite3.Connection, at: datetime.datetime) -> None:
    """Change one row."""
    db.execute("INSERT INTO probe VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at", (_text(at),))


def _require_open(db: sqlite3.Connection, attempt_id: str) -> None:
    row = db.execute("SELECT outcome FROM attempts WHERE attempt_id = ?", (attempt_id,)).fetchone()
    if row != (None,):
        raise ValueError("no such attempt, or it has ended")


def _write(db: sqlite3.Connection, attempt_id: str, n: int) -> tuple[str | None, str | None]:
    sql = "SELECT intended_at, outcome FROM writes WHERE attempt_id = ? AND n = ?"
    row: tuple[str | None, str | None] | None = db.execute(sql, (attempt_id, n)).fetchone()
    if row is None:
        raise ValueError(f"write {n} was never asked for")
    return row


def _queue(
    db: sqlite3.Connection, at: datetime.datetime, attempt_id: str, kind: str, n: int = 0, what: Result | None = None
) -> OutboxItem:
    what = what or Result("")
    values = (attempt_id, kind, n, what.outcome, what.chaining_value, what.r_mac, what.status_word, _text(at))
    db.execute(
        "INSERT INTO outbox (attempt_id, kind, n, outcome, chaining_value, r_mac, status_word, queued_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    queued = _queued(db, attempt_id, kind, n, what.outcome)
    assert queued is not None
    return queued


def _queued(db: sqlite3.Connection, attempt_id: str, kind: str, n: int, outcome: str) -> OutboxItem | None:
    where = "WHERE attempt_id = ? AND kind = ? AND n = ? AND outcome = ?"
    row = db.execute(f"{_ITEM} {where}", (attempt_id, kind, n, outcome)).fetchone()
    return None if row is None else _item(row)


def _note(
    db: sqlite3.Connection, at: datetime.datetime, attempt_id: str, event: str, n: int | None = None, detail: str = ""
) -> None:
    sql = "INSERT INTO timeline (attempt_id, at, event, n, detail) VALUES (?, ?, ?, ?, ?)"
    db.execute(sql, (attempt_id, _text(at), event, n, detail or None))


def _words(*words: str) -> str:
    return " ".join(word for word in words if word)


def _text(at: datetime.datetime) -> str:
    return at.isoformat(timespec="microseconds")


def _time(text: str | None) -> datetime.datetime | None:
    return None if text is None else datetime.datetime.fromisoformat(text)


def _attempt(row: tuple[str, str, str, str | None, str | None, str | None, str | None]) -> AttemptRecord:
    attempt_id, procedure, started_at, ended_at, outcome, reason, resolution = row
    started = datetime.datetime.fromisoformat(started_at)
    return AttemptRecord(attempt_id, procedure, started, _time(ended_at), outcome, reason, resolution)


def _item(row: tuple[int, str, str, int, str, bytes, bytes, int, str, str]) -> OutboxItem:
    item_id, attempt_id, kind, n, outcome, chaining_value, r_mac, status_word, queued_at, code = row
    at = _time(queued_at)
    return OutboxItem(item_id, attempt_id, kind, n, outcome, chaining_value, r_mac, status_word, at, code)
