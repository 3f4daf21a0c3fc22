"""The journal's file: recovery, syncs, older versions, and disks that fail."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gatewayd.clock import SystemClock
from gatewayd.errors import JournalUnavailable
from gatewayd.journal import schema
from gatewayd.journal.store import LOG_RESERVE, Journal
from tests.unit.gatewayd.journal.entries import ATTEMPT, CHAINING_VALUE, OTHER, done, judged, reopened, start


@pytest.mark.parametrize(
    ("steps", "outcome", "reason", "queue"),
    [
        ([], "not_done", "restarted", []),
        (["begun"], "not_done", "restarted", [("release", 0, "")]),
        (["begun", "doubted"], "unknown", "restarted", [("release", 0, "")]),
        (["begun", "doubted", "authorizing"], "unknown", "restarted", [("release", 0, "")]),
        (["begun", "authorizing"], "not_done", "restarted", [("release", 0, "")]),
        (["begun", "authorizing", "intend"], "unknown", "restarted", [("report", 1, "unknown")]),
        (["begun", "authorizing", "intend", "unknown"], "unknown", "restarted", [("report", 1, "unknown")]),
        (["begun", "authorizing", "intend", "done"], "unknown", "restarted", [("report", 1, "done")]),
        (["begun", "authorizing", "intend", "done", "valid"], "done", None, []),
        (["begun", "doubted", "authorizing", "intend", "done", "valid"], "done", None, []),
        (["begun", "authorizing", "intend", "done", "invalid"], "unknown", "restarted", []),
        (
            ["begun", "authorizing", "intend", "not_done"],
            "not_done",
            "restarted",
            [("report", 1, "not_done"), ("release", 0, "")],
        ),
        (
            ["begun", "authorizing", "intend", "unknown", "next"],
            "unknown",
            "restarted",
            [("report", 1, "unknown"), ("release", 0, "")],
        ),
        (
            ["begun", "authorizing", "intend", "unknown", "next", "next not done"],
            "unknown",
            "restarted",
            [("report", 1, "unknown"), ("report", 2, "not_done"), ("release", 0, "")],
        ),
    ],
)
async def test_recovery(
    journal: Journal, steps: list[str], outcome: str, reason: str | None, queue: list[tuple[str, int, str]]
) -> None:
    await journal.accept(ATTEMPT, "signing_password")
    actions: dict[str, Callable[[], Awaitable[object]]] = {
        "begun": lambda: journal.begun(ATTEMPT),
        "doubted": lambda: journal.doubted(ATTEMPT),
        "authorizing": lambda: journal.authorizing(ATTEMPT, 1),
        "intend": lambda: journal.intend(ATTEMPT, 1),
        "unknown": lambda: journal.result(ATTEMPT, 1, "unknown"),
        "not_done": lambda: journal.result(ATTEMPT, 1, "not_done", status_word=0x6985),
        "done": lambda: done(journal),
        "valid": lambda: judged(journal, "valid"),
        "invalid": lambda: judged(journal, "invalid"),
        "next": lambda: journal.authorizing(ATTEMPT, 2),
        "next not done": lambda: journal.result(ATTEMPT, 2, "not_done"),
    }
    for step in steps:
        await actions[step]()
    (recovered,) = await journal.recover()
    assert (recovered.attempt_id, recovered.outcome) == (ATTEMPT, outcome)
    record = await journal.attempt(ATTEMPT)
    assert record is not None
    assert (record.outcome, record.reason) == (outcome, reason)
    assert [(item.kind, item.n, item.outcome) for item in await journal.pending()] == queue
    assert await journal.recover() == []


async def test_recovery_leaves_what_has_ended(journal: Journal) -> None:
    await start(journal)
    await journal.finish(ATTEMPT, "not_done", "cancelled")
    assert await journal.recover() == []


async def test_the_receipt_does_not_outlive_its_delivery(journal: Journal, path: Path) -> None:
    await start(journal, writes=1)
    item_id = await done(journal)

    def kept() -> bool:
        return any(CHAINING_VALUE in file.read_bytes() for file in path.parent.iterdir())

    assert kept()
    await journal.acknowledged(item_id)
    async with asyncio.timeout(5):
        while kept():  # once nobody waits for the journal
            await asyncio.sleep(0.001)


async def test_the_log_keeps_its_length_and_a_power_cut_finds_every_entry(
    journal: Journal, path: Path, tmp_path: Path
) -> None:
    log = path.with_name(path.name + "-wal")

    async def as_found(name: str) -> Journal:
        """What a power cut leaves, opened."""
        copy = tmp_path / name / path.name
        copy.parent.mkdir()
        for file in (path, log):
            shutil.copy(file, copy.parent)
        return await Journal.open(copy, SystemClock())

    assert log.read_bytes() == bytes(LOG_RESERVE)
    early = await as_found("empty")
    assert await early.attempt(ATTEMPT) is None
    await early.close()
    await start(journal, writes=1)
    item_id = await done(journal)
    late = await as_found("written")
    assert [item.item_id for item in await late.pending()] == [item_id]
    await late.close()
    await journal.acknowledged(item_id)
    async with asyncio.timeout(5):
        while log.read_bytes() != bytes(LOG_RESERVE):
            await asyncio.sleep(0.001)
    await journal.finish(ATTEMPT, "done", None)
    assert log.stat().st_size == LOG_RESERVE
    last = await as_found("ended")
    record = await last.attempt(ATTEMPT)
    assert record is not None
    assert (record.outcome, await last.pending()) == ("done", [])
    await last.close()


async def test_the_timeline_grows_with_every_step_and_never_changes(journal: Journal, path: Path) -> None:
    await start(journal, writes=1)
    item_id = await done(journal)
    await journal.acknowledged(item_id)
    await journal.finish(ATTEMPT, "done", None)
    await journal.close()
    connection = sqlite3.connect(path)
    events = [row[0] for row in connection.execute("SELECT event FROM timeline ORDER BY event_id")]
    assert events == ["accepted", "begun", "authorizing", "intended", "result", "acknowledged", "finished"]
    with pytest.raises(sqlite3.IntegrityError, match="only grows"):
        connection.execute("UPDATE timeline SET event = 'x'")
    connection.close()
    with pytest.raises(JournalUnavailable, match="closed"):
        await journal.probe()


async def test_a_journal_of_an_older_version_is_taken_over(path: Path) -> None:
    connection = sqlite3.connect(path)
    for statement in schema.MIGRATIONS[0]:
        connection.execute(statement)
    sql = "INSERT INTO attempts (attempt_id, procedure, started_at) VALUES (?, 'x', '2026-11-22T03:00:00+00:00')"
    connection.execute(sql, (ATTEMPT,))
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    journal = await reopened(path)
    assert [record.outcome for record in await journal.recover()] == ["not_done"]
    await start(journal, OTHER, writes=1)
    await journal.close()


async def test_the_file_is_synced_private_and_one_process_s(journal: Journal, path: Path) -> None:
    await journal.probe()
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(JournalUnavailable, match="SQLITE_BUSY"):
        await reopened(path)

    def settings() -> list[object]:
        names = ("synchronous", "journal_mode", "secure_delete")
        return [journal._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await journal._thread.run(settings) == [2, "wal", 1]


async def test_commits_are_measured(path: Path) -> None:
    seconds: list[float] = []
    journal = await Journal.open(path, SystemClock(), seconds.append)
    await start(journal)
    await journal.attempt(ATTEMPT)
    assert len(seconds) == 2
    assert all(value > 0 for value in seconds)
    await journal.close()


async def test_a_full_disk_is_said_and_heals(journal: Journal, path: Path) -> None:
    await start(journal)

    def limit(pages: int) -> None:
        journal._connection.execute(f"PRAGMA max_page_count = {pages}")

    await journal._thread.run(lambda: limit(1))  # SQLite makes it the present size
    with pytest.raises(JournalUnavailable, match="SQLITE_FULL") as caught:
        await journal.accept(OTHER, "x" * 10_000)
    assert ATTEMPT not in str(caught.value)
    assert caught.value.__cause__ is None
    await journal._thread.run(lambda: limit(10_000))
    await journal.authorizing(ATTEMPT, 1)


async def test_a_cancelled_caller_leaves_the_journal_usable(journal: Journal) -> None:
    await start(journal)
    tasks = [asyncio.create_task(journal.probe()) for _ in range(5)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await journal.authorizing(ATTEMPT, 1)


async def test_a_hung_disk_is_not_waited_for(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewayd.journal.thread.DEADLINE_S", 0.05)
    released = threading.Event()
    hung = asyncio.create_task(journal._thread.run(lambda: released.wait(30)))
    await asyncio.sleep(0)  # the task hands its job over
    with pytest.raises(JournalUnavailable, match="in time"):
        await journal.probe()
    released.set()
    with pytest.raises(JournalUnavailable, match="in time"):
        await hung
    monkeypatch.undo()
    await journal.probe()


@pytest.mark.parametrize("kind", ["no directory", "a file as directory", "a directory", "a link", "garbage", "newer"])
async def test_a_file_that_cannot_be_a_journal(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "journal.db"
    match kind:
        case "no directory":
            path = tmp_path / "missing" / "journal.db"
        case "a file as directory":
            (tmp_path / "file").write_bytes(b"")
            path = tmp_path / "file" / "journal.db"
        case "a directory":
            path.mkdir()
        case "a link":
            path.symlink_to(tmp_path / "elsewhere")
        case "garbage":
            path.write_bytes(b"this is no database" * 100)
        case "newer":
            connection = sqlite3.connect(path)
            connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
            connection.close()
    with pytest.raises(JournalUnavailable, match=f"^{re.escape(str(path))}: "):  # who has to mend it is told where
        await reopened(path)


async def test_a_damaged_file_is_refused(journal: Journal, path: Path) -> None:
    await start(journal)
    await journal.close()
    content = bytearray(path.read_bytes())
    page = 4096
    content[page : 3 * page] = b"\xff" * (2 * page)
    path.write_bytes(content)
    with pytest.raises(JournalUnavailable):
        await reopened(path)


WRITER = """
import asyncio, sys
from pathlib import Path
from gatewayd.clock import SystemClock
from gatewayd.journal.store import LOG_RESERVE, Journal

async def main():
    journal = await Journal.open(Path(sys.argv[1]), SystemClock())
    await journal.accept(sys.argv[2], "signing_password")
    await journal.begun(sys.argv[2])
    await journal.authorizing(sys.argv[2], 1)
    await journal.intend(sys.argv[2], 1)
    print("intended", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_what_was_committed_survives_sigkill(path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), ATTEMPT], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "intended\n"
        with pytest.raises(JournalUnavailable, match="SQLITE_BUSY"):
            await reopened(path)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
    journal = await reopened(path)
    assert [recovered.outcome for recovered in await journal.recover()] == ["unknown"]
    await journal.close()
