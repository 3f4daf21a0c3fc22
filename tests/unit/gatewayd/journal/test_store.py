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
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gatewayd.clock import SystemClock
from gatewayd.errors import JournalUnavailable
from gatewayd.journal import schema
from gatewayd.journal.store import LOG_RESERVE, Journal

ATTEMPT = "0a6fd1b2-3d1c-4b0e-9a53-1f3c7c9f3b11"
OTHER = "5d0f5b9e-60f5-4c4c-8d5c-1b6b5f0f7d22"
CHAINING_VALUE = b"chaining-value16"
R_MAC = b"r-mac--8"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    opened = await Journal.open(path, SystemClock())
    yield opened
    await opened.close()


async def start(journal: Journal, attempt_id: str = ATTEMPT, *, writes: int = 0, intended: bool = True) -> None:
    assert await journal.accept(attempt_id, "signing_password")
    await journal.begun(attempt_id)
    for n in range(1, writes + 1):
        await journal.authorizing(attempt_id, n)
        if intended:
            await journal.intend(attempt_id, n)


async def done(journal: Journal, n: int = 1) -> int:
    item = await journal.result(ATTEMPT, n, "done", chaining_value=CHAINING_VALUE, r_mac=R_MAC, status_word=0x9000)
    return item.item_id


async def judged(journal: Journal, verdict: str) -> None:
    (item,) = [item for item in await journal.pending() if item.outcome == "done"]
    await journal.acknowledged(item.item_id, verdict)


async def test_a_whole_attempt(journal: Journal) -> None:
    await start(journal, writes=1)
    item = await journal.result(ATTEMPT, 1, "done", chaining_value=CHAINING_VALUE, r_mac=R_MAC)
    assert (item.kind, item.n, item.outcome, item.chaining_value, item.r_mac) == (
        "report",
        1,
        "done",
        CHAINING_VALUE,
        R_MAC,
    )
    assert await journal.pending() == [item]
    await journal.acknowledged(item.item_id)
    assert await journal.pending() == []
    await journal.finish(ATTEMPT, "done", None)

    record = await journal.attempt(ATTEMPT)
    assert record is not None
    assert (record.procedure, record.outcome, record.reason, record.resolution) == (
        "signing_password",
        "done",
        None,
        None,
    )
    assert record.ended_at is not None
    assert record.started_at <= record.ended_at
    assert record.started_at.utcoffset() is not None
    assert await journal.unresolved() == []
    assert await journal.pending() == []


async def test_an_id_is_accepted_once(journal: Journal) -> None:
    assert await journal.accept(ATTEMPT, "signing_password")
    before = await journal.attempt(ATTEMPT)
    assert not await journal.accept(ATTEMPT, "something_else")
    assert await journal.attempt(ATTEMPT) == before
    assert await journal.attempt(OTHER) is None


async def test_a_release_is_queued_only_for_an_id_the_centre_has_heard(journal: Journal) -> None:
    await journal.accept(ATTEMPT, "signing_password")
    await journal.finish(ATTEMPT, "not_done", "cancelled")
    assert await journal.pending() == []

    await start(journal, OTHER)
    await journal.finish(OTHER, "not_done", "cancelled")
    await journal.finish(OTHER, "not_done", "cancelled")
    (item,) = await journal.pending()
    assert (item.attempt_id, item.kind, item.n) == (OTHER, "release", 0)
    assert item.queued_at is not None


async def test_the_same_result_is_the_same_report(journal: Journal) -> None:
    await start(journal, writes=1)
    first = await done(journal)
    assert await done(journal) == first
    await journal.acknowledged(first)
    await journal.acknowledged(first)
    assert await done(journal) == first
    assert await journal.pending() == []


async def test_unknown_may_become_definite_once(journal: Journal) -> None:
    await start(journal, writes=1)
    unknown = await journal.result(ATTEMPT, 1, "unknown")
    await journal.finish(ATTEMPT, "unknown", "no_answer")
    late = await done(journal)
    assert [item.item_id for item in await journal.pending()] == [unknown.item_id, late]
    with pytest.raises(ValueError, match="definite"):
        await journal.result(ATTEMPT, 1, "not_done", status_word=0x6985)
    record = await journal.attempt(ATTEMPT)
    assert record is not None
    assert record.outcome == "unknown"


async def test_a_write_that_was_not_handed_over_is_not_done_and_the_next_follows(journal: Journal) -> None:
    await start(journal, writes=1, intended=False)
    await journal.authorizing(ATTEMPT, 1)  # the card was lifted before the centre was asked
    await journal.result(ATTEMPT, 1, "not_done")
    with pytest.raises(ValueError, match="cannot be asked"):
        await journal.authorizing(ATTEMPT, 1)
    await journal.authorizing(ATTEMPT, 2)
    await journal.intend(ATTEMPT, 2)
    await done(journal, 2)
    await journal.finish(ATTEMPT, "done", None)


async def test_nothing_goes_back(journal: Journal) -> None:
    await start(journal, writes=1)
    with pytest.raises(ValueError, match="intended"):
        await journal.intend(ATTEMPT, 1)
    with pytest.raises(ValueError, match="cannot be asked"):
        await journal.authorizing(ATTEMPT, 1)
    with pytest.raises(ValueError, match="never asked"):
        await journal.authorizing(ATTEMPT, 3)
    with pytest.raises(ValueError, match="never asked"):
        await journal.intend(ATTEMPT, 2)
    with pytest.raises(ValueError, match="contradicts"):
        await journal.finish(ATTEMPT, "not_done", "internal")
    await done(journal)
    with pytest.raises(ValueError, match="definite"):
        await journal.result(ATTEMPT, 1, "unknown")
    with pytest.raises(ValueError, match="another result"):
        await journal.result(ATTEMPT, 1, "done", chaining_value=CHAINING_VALUE[::-1], r_mac=R_MAC)
    with pytest.raises(ValueError, match="contradicts"):
        await journal.finish(ATTEMPT, "not_done", "cancelled")
    await journal.finish(ATTEMPT, "done", None)
    for outcome, reason in (("not_done", "cancelled"), ("unknown", "internal"), ("done", "cancelled")):
        with pytest.raises(ValueError, match="otherwise"):
            await journal.finish(ATTEMPT, outcome, reason)
    with pytest.raises(ValueError, match="has ended"):
        await journal.begun(ATTEMPT)
    with pytest.raises(ValueError, match="resolved"):
        await journal.resolve(ATTEMPT, "done")


@pytest.mark.parametrize("outcome", ["done", "unknown"])
async def test_no_effect_without_intent(journal: Journal, outcome: str) -> None:
    await start(journal, writes=1, intended=False)
    receipt = {"chaining_value": CHAINING_VALUE, "r_mac": R_MAC} if outcome == "done" else {}
    with pytest.raises(ValueError, match="never handed"):
        await journal.result(ATTEMPT, 1, outcome, **receipt)  # type: ignore[arg-type]


async def test_no_claim_without_a_write(journal: Journal) -> None:
    await start(journal)
    with pytest.raises(ValueError, match="contradicts"):
        await journal.finish(ATTEMPT, "done", None)
    with pytest.raises(ValueError, match="no such"):
        await journal.finish(OTHER, "not_done", "cancelled")


@pytest.mark.parametrize(
    ("outcome", "chaining_value", "r_mac"),
    [
        ("done", b"", b""),
        ("done", CHAINING_VALUE, R_MAC[:-1]),
        ("done", CHAINING_VALUE[:-1], R_MAC),
        ("unknown", CHAINING_VALUE, R_MAC),
        ("not_done", b"", R_MAC),
    ],
)
async def test_a_receipt_is_whole_or_absent(
    journal: Journal, outcome: str, chaining_value: bytes, r_mac: bytes
) -> None:
    await start(journal, writes=1)
    with pytest.raises(ValueError, match="receipt"):
        await journal.result(ATTEMPT, 1, outcome, chaining_value=chaining_value, r_mac=r_mac)


async def test_an_unknown_attempt_is_listed_until_it_is_resolved(journal: Journal) -> None:
    for attempt_id in (OTHER, ATTEMPT):
        await start(journal, attempt_id, writes=1)
        await journal.result(attempt_id, 1, "unknown")
        await journal.finish(attempt_id, "unknown", "no_answer")
    assert [record.attempt_id for record in await journal.unresolved()] == [OTHER, ATTEMPT]
    await journal.resolve(OTHER, "not_done")
    await journal.resolve(OTHER, "not_done")
    with pytest.raises(ValueError, match="unresolved"):
        await journal.resolve(OTHER, "closed_unknown")
    await journal.resolve(OTHER, "done")  # the card's receipt came late
    with pytest.raises(ValueError, match="unresolved"):
        await journal.resolve(OTHER, "not_done")
    (left,) = await journal.unresolved()
    assert left.attempt_id == ATTEMPT


async def refuse(journal: Journal, item_id: int, how: str) -> None:
    if how == "rejected":
        await journal.rejected(item_id, "failed_precondition")
    else:
        await journal.acknowledged(item_id, "invalid")


@pytest.mark.parametrize("how", ["invalid", "rejected"])
async def test_a_refused_receipt_is_no_ground_for_done(journal: Journal, how: str) -> None:
    await start(journal, writes=1)
    await refuse(journal, await done(journal), how)
    with pytest.raises(ValueError, match="contradicts"):
        await journal.finish(ATTEMPT, "done", None)
    await journal.finish(ATTEMPT, "unknown", "outcome_unresolved")
    assert [record.attempt_id for record in await journal.unresolved()] == [ATTEMPT]


@pytest.mark.parametrize("how", ["invalid", "rejected"])
async def test_a_claim_whose_receipt_is_refused_is_withdrawn(journal: Journal, how: str) -> None:
    await start(journal, writes=1)
    item_id = await done(journal)
    await journal.finish(ATTEMPT, "done", None)
    await refuse(journal, item_id, how)
    (record,) = await journal.unresolved()
    assert (record.outcome, record.reason, record.resolution) == ("unknown", "outcome_unresolved", None)
    events = [(entry.event, entry.n, entry.detail) for entry in await journal.timeline(ATTEMPT)]
    assert ("finished", 0, "done") in events  # what the citizen was told stays in the record
    assert events[-1] == ("doubted", 0, "unknown outcome_unresolved")
    await journal.resolve(ATTEMPT, "done")
    assert await journal.unresolved() == []


async def test_a_refused_receipt_beside_a_good_one_withdraws_nothing(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.acknowledged(await done(journal), "invalid")
    await journal.authorizing(ATTEMPT, 2)
    await journal.intend(ATTEMPT, 2)
    await journal.acknowledged(await done(journal, 2), "valid")
    await journal.finish(ATTEMPT, "done", None)
    assert await journal.unresolved() == []


async def test_a_valid_receipt_resolves_whatever_was_said_before(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.result(ATTEMPT, 1, "unknown")
    await journal.finish(ATTEMPT, "unknown", "outcome_unresolved")
    await journal.resolve(ATTEMPT, "closed_unknown")
    await journal.acknowledged(await done(journal), "valid")
    record = await journal.attempt(ATTEMPT)
    assert record is not None
    assert (record.outcome, record.resolution) == ("unknown", "done")


async def test_a_receipt_found_valid_before_the_end_resolves_what_ends_unknown(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.acknowledged(await done(journal), "valid")
    await journal.finish(ATTEMPT, "unknown", "outcome_unresolved")
    record = await journal.attempt(ATTEMPT)
    assert record is not None
    assert (record.outcome, record.resolution) == ("unknown", "done")
    assert await journal.unresolved() == []


async def test_a_write_that_was_asked_for_and_not_made_is_released_behind_an_unknown_one(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.result(ATTEMPT, 1, "unknown")
    await journal.authorizing(ATTEMPT, 2)
    await journal.finish(ATTEMPT, "unknown", "outcome_unresolved")
    assert [(item.kind, item.n) for item in await journal.pending()] == [("report", 1), ("release", 0)]


async def test_attempts_are_listed_newest_first_and_in_pages(journal: Journal) -> None:
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(5)]
    for attempt_id in ids:
        await start(journal, attempt_id)
        outcome = "unknown" if attempt_id in ids[1:3] else "not_done"
        await journal.finish(attempt_id, outcome, "cancelled")

    async def listed(before: str | None, *, unresolved_only: bool = False) -> list[str]:
        records = await journal.attempts(unresolved_only=unresolved_only, limit=2, before=before)
        return [record.attempt_id for record in records]

    assert await listed(None) == [ids[4], ids[3]]
    assert await listed(ids[3]) == [ids[2], ids[1]]
    assert await listed(ids[1]) == [ids[0]]
    assert await listed(ids[0]) == []
    assert await listed(None, unresolved_only=True) == [ids[2], ids[1]]
    assert await listed("never accepted") == []


async def test_the_timeline_tells_every_durable_step(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.result(ATTEMPT, 1, "not_done", status_word=0x6985)
    await journal.doubted(ATTEMPT)
    await journal.finish(ATTEMPT, "unknown", "outcome_unresolved")
    report, release = await journal.pending()
    await journal.acknowledged(report.item_id)
    await journal.rejected(release.item_id, "withheld")
    await journal.resolve(ATTEMPT, "done")
    entries = await journal.timeline(ATTEMPT)
    assert [(entry.event, entry.n, entry.detail) for entry in entries] == [
        ("accepted", 0, "signing_password"),
        ("begun", 0, ""),
        ("authorizing", 1, ""),
        ("intended", 1, ""),
        ("result", 1, "not_done 6985"),
        ("doubted", 0, ""),
        ("finished", 0, "unknown outcome_unresolved"),
        ("acknowledged", 1, "report not_done"),
        ("rejected", 0, "release withheld"),
        ("resolved", 0, "done"),
    ]
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert await journal.timeline(OTHER) == []


async def test_a_rejected_item_stays_and_is_marked(journal: Journal) -> None:
    await start(journal, writes=1)
    item_id = await done(journal)
    await journal.rejected(item_id, "failed_precondition")
    (item,) = await journal.pending()
    assert item.rejected == "failed_precondition"
    with pytest.raises(ValueError, match="item"):
        await journal.rejected(item_id + 1, "failed_precondition")


async def test_an_attempt_that_ends_with_a_write_in_the_air_reports_it_as_unknown(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.finish(ATTEMPT, "unknown", "journal_unavailable")
    (item,) = await journal.pending()
    assert (item.kind, item.n, item.outcome) == ("report", 1, "unknown")


async def test_a_doubtful_reservation_is_never_not_done(journal: Journal) -> None:
    await start(journal)
    await journal.doubted(ATTEMPT)
    await journal.doubted(ATTEMPT)
    with pytest.raises(ValueError, match="contradicts"):
        await journal.finish(ATTEMPT, "not_done", "cancelled")
    await journal.finish(ATTEMPT, "unknown", "cancelled")
    assert [record.attempt_id for record in await journal.unresolved()] == [ATTEMPT]


async def reopened(path: Path) -> Journal:
    return await Journal.open(path, SystemClock())


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
