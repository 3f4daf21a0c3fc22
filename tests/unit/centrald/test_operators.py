"""The operators' commands: fleet, maintenance windows, doubts, and the ledger's chain."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from centrald.config import Storage
from centrald.rules.model import SILENCE, Refusal
from centrald.storage.database import Database
from centrald.storage.ledger import Entry, Event
from tests.unit.centrald.conftest import Run
from tests.unit.centrald.world import KIOSK, WRONG_RECEIPT, World


@pytest.fixture
def storage_url() -> str:
    """What `centrald init` writes by itself."""
    return Storage().url


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, centrald: Run, world: World) -> Run:
    """Run one command on the world's directory, as of the world's clock."""

    def go(*words: str | Path) -> tuple[int, str, str]:
        return centrald(*words, "--directory", world.directory)

    opened = Database.open

    def as_of_the_world(url: str, directory: Path, *words: Any, **named: Any) -> Database:
        return opened(url, directory, world.clock, *words, **named)

    monkeypatch.setattr(Database, "open", as_of_the_world)
    return go


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_chains_and_stores_are_listed_and_switched(run: Run) -> None:
    chains = lines(run("chain", "list", "--json")[1])
    assert chains[0] == {"chain": "chain-a", "enabled": True, "stores": 1, "stores_enabled": 1, "kiosks": 1}
    assert run("store", "disable", "chain-a/store-1")[0] == 0
    assert run("chain", "disable", "chain-b")[0] == 0
    rows = lines(run("store", "list", "--json")[1])
    assert [(row["store"], row["enabled"], row["store_enabled"]) for row in rows] == [
        ("chain-a/store-1", False, False),
        ("chain-b/store-1", False, True),
    ]
    assert [row["store"] for row in lines(run("store", "list", "chain-b", "--json")[1])] == ["chain-b/store-1"]
    assert [row["chain"] for row in lines(run("chain", "list", "--json")[1]) if row["enabled"]] == ["chain-a"]
    kiosks = lines(run("kiosk", "list", "chain-a/store-1", "--json")[1])
    assert [(row["kiosk"], row["enabled"], row["kiosk_enabled"]) for row in kiosks] == [(str(KIOSK), False, True)]
    assert run("kiosk", "disable", str(KIOSK))[0] == 0
    assert run("store", "enable", "chain-a/store-1")[0] == 0
    assert not any(row["enabled"] for row in lines(run("kiosk", "list", "--json")[1])), "each level counts for itself"
    assert run("store", "disable", "chain-a/nowhere")[0] == 1
    assert run("store", "disable", "chain-a")[0] == 2
    assert run("kiosk", "enable", "chain-a/store-1")[0] == 2
    assert run("chain", "enable", "A")[0] == 2


async def refusal(world: World) -> Refusal | None:
    return (await world.kiosks.status(KIOSK)).refusal


def test_windows_are_announced_listed_and_cancelled(run: Run, world: World) -> None:
    added = json.loads(
        run("maintenance", "add", "2026-11-22T11:00", "2026-11-22T13:00", "--note", "disks", "--json")[1]
    )
    assert (added["from"], added["until"]) == ("2026-11-22T02:00:00.000Z", "2026-11-22T04:00:00.000Z")
    later = json.loads(run("maintenance", "add", "2026-11-23T01:00+09:00", "2026-11-23T02:00+09:00", "--json")[1])
    rows = lines(run("maintenance", "list", "--json")[1])
    assert [(row["id"], row["running"], row["note"]) for row in rows] == [
        (added["id"], True, "disks"),
        (later["id"], False, None),
    ]
    assert asyncio.run(refusal(world)) is Refusal.MAINTENANCE
    assert run("maintenance", "cancel", str(added["id"]))[0] == 0
    assert asyncio.run(refusal(world)) is None
    assert run("maintenance", "cancel", str(added["id"]))[0] == 1
    assert [row["id"] for row in lines(run("maintenance", "list", "--json")[1])] == [later["id"]]
    cancelled = lines(run("maintenance", "list", "--all", "--json")[1])[0]
    assert (cancelled["id"], cancelled["running"]) == (added["id"], False)
    events = lines(run("ledger", "show", "--json")[1])
    assert [(one["event"], one["detail"]) for one in events if one["event"].startswith("maintenance")] == [
        ("maintenance_added", f"window {added['id']}: 2026-11-22T02:00:00+00:00 to 2026-11-22T04:00:00+00:00"),
        ("maintenance_added", f"window {later['id']}: 2026-11-22T16:00:00+00:00 to 2026-11-22T17:00:00+00:00"),
        ("maintenance_cancelled", f"window {added['id']}: 2026-11-22T02:00:00+00:00 to 2026-11-22T04:00:00+00:00"),
    ]


@pytest.mark.parametrize(
    ("start", "until", "code"),
    [
        ("2026-11-22T13:00", "2026-11-22T13:00", 2),
        ("2026-12-01T01:00", "2027-02-01T01:00", 2),
        ("tomorrow", "2026-12-01T01:00", 2),
        ("2026-11-21T01:00", "2026-11-21T02:00", 1),
        ("2028-01-01T01:00", "2028-01-01T02:00", 1),
    ],
)
def test_windows_that_cannot_be(run: Run, start: str, until: str, code: int) -> None:
    assert run("maintenance", "add", start, until)[0] == code
    assert lines(run("maintenance", "list", "--all", "--json")[1]) == []


def test_doubts_say_what_to_do(run: Run, world: World) -> None:
    async def one_of_each() -> None:
        for step in ("silent", "unknown", "unproven", "contradicting", "done", "reserved"):
            card = await world.card()
            await world.reserved(card)
            if step == "reserved":
                continue
            attempt = await world.checked(card)
            receipt = await attempt.write(card)
            match step:
                case "unknown":
                    await attempt.unknown()
                case "unproven":
                    await attempt.done(WRONG_RECEIPT)
                case "contradicting" | "done":
                    await attempt.done(receipt)
            if step == "contradicting":
                await attempt.not_done()
        world.clock.advance(SILENCE)
        await world.database.close()

    assert run("doubts")[1].count("none") == 2
    asyncio.run(one_of_each())
    rows = lines(run("doubts", "--json")[1])
    assert [(row["kind"], row["status"]) for row in rows] == [
        ("doubt", "open"),
        ("doubt", "unknown"),
        ("doubt", "unproven"),
        ("contradiction", "contradiction"),
    ]
    assert all(row["kiosk"] == str(KIOSK) and row["what_to_do"] for row in rows)
    code, out, _ = run("doubts")
    assert code == 0
    assert all(text in out for text in (rows[0]["attempt_id"], rows[2]["what_to_do"], "new password"))
    states = [row["state"] for row in lines(run("reservation", "list", "--state", "in_doubt", "--json")[1])]
    assert states == ["in_doubt"] * 3
    (reserved,) = lines(run("reservation", "list", "--state", "reserved", "--json")[1])
    serial = reserved["certificate_serial"]
    assert lines(run("reservation", "list", "--certificate", serial.upper(), "--json")[1]) == [reserved]


async def some_entries(world: World) -> None:
    """Append what is about no attempt, and so is in lane 0, and one entry to another lane."""
    for number in range(5):
        async with world.database.transaction() as tx:
            tx.append(Entry(Event.KIOSK_ENABLED, tx.now, kiosk=str(KIOSK), detail=f"{number}", contradiction=False))
    async with world.database.transaction() as tx:
        tx.append(Entry(Event.BEGUN, tx.now, attempt_id="another"))
    await world.database.close()


def tamper(world: World, statement: str) -> None:
    """Do what the database forbids, as one who owns the file can."""
    with sqlite3.connect(world.directory / "centrald.db") as connection:
        for verb in ("update", "delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS ledger_no_{verb}")
        connection.executescript(statement)
    connection.close()


def test_the_ledger_is_verified_and_exported(run: Run, world: World, tmp_path: Path) -> None:
    asyncio.run(some_entries(world))
    noted, rest, broken = (tmp_path / name for name in ("noted.json", "rest.jsonl", "broken.jsonl"))
    code, out, _ = run("ledger", "verify", "--json")
    said = json.loads(out)
    assert (code, said["entries"], said["intact"], said["faults"]) == (0, 6, True, [])
    exported = [one for one in lines(run("ledger", "export")[1]) if not one.get("lane")]
    assert [entry["seq"] for entry in exported][:5] == [1, 2, 3, 4, 5]
    assert said["heads"]["0"] == {"seq": exported[-1]["seq"], "hash": exported[-1]["hash"]}
    noted.write_text(json.dumps({"heads": {"0": {"seq": 2, "hash": exported[1]["hash"]}}}))
    assert run("ledger", "export", "--out", rest, "--after", noted)[0] == 0
    assert run("ledger", "export", "--out", rest)[0] == 1
    assert [one for one in lines(rest.read_text()) if not one.get("lane")] == exported[2:]
    code, out, _ = run("ledger", "verify", "--file", rest, "--json")
    assert (code, json.loads(out)["entries"]) == (0, 4)
    broken.write_text(rest.read_text().replace("kiosk_enabled", "kiosk_disabled") + "x\n")
    code, out, err = run("ledger", "verify", "--file", broken, "--json")
    assert (code, [fault["seq"] for fault in json.loads(out)["faults"]][:3]) == (1, [3, 4, 5])
    assert "line 5 is not an entry" in err
    assert run("ledger", "verify", "--known", noted)[0] == 0
    noted.write_text(noted.read_text().replace(exported[1]["hash"], "ff" * 32))
    code, _, err = run("ledger", "verify", "--known", noted)
    assert code == 1
    assert "entry 0/2 is not the one that was noted" in err
    noted.write_text("{}")
    assert run("ledger", "verify", "--known", noted)[0] == 2


SWAP = "".join(
    f"UPDATE ledger SET seq = {new} WHERE lane = 0 AND seq = {old};" for old, new in ((4, 99), (5, 4), (99, 5))
)
BEYOND = "INSERT INTO ledger (lane, seq, at, event) VALUES (3, 6, '2026-11-22 00:00:00.000000', 'begun')"
SECOND = "WHERE lane = 0 AND seq = 2"


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (f"UPDATE ledger SET kiosk = 'a/b/c' {SECOND}", "entry 0/2 was changed"),
        ("DELETE FROM ledger WHERE lane = 0 AND seq = 3", "entry 0/3 is missing"),
        ("DELETE FROM ledger WHERE lane = 0 AND seq > 3", "entries 0/4 to 0/5 are missing at the end"),
        (SWAP, "entry 0/4 was changed"),
        ("UPDATE ledger SET event = 'never' WHERE lane = 0 AND seq = 1", "entry 0/1 was changed"),
        (BEYOND, "entry 3/6 was changed"),
        (f"UPDATE ledger SET lane = 99 {SECOND}", "lane 99 is none of the ledger's"),
        (f"UPDATE ledger SET lane = 'x' {SECOND}", "entry 0/2 is missing"),
        # Values of no kind that is ever written there: SQLite takes them all.
        (f"UPDATE ledger SET at = 'yesterday' {SECOND}", "entry 0/2 was changed"),
        (f"UPDATE ledger SET at = 17 {SECOND}", "entry 0/2 was changed"),
        (f"UPDATE ledger SET at = 1.5 {SECOND}", "entry 0/2 was changed"),
        (f"UPDATE ledger SET seq = 'x' {SECOND}", "entry 0/2 is missing"),
        (f"UPDATE ledger SET contradiction = 'perhaps' {SECOND}", "entry 0/2 was changed"),
        (f"UPDATE ledger SET kiosk = x'ff' {SECOND}", "entry 0/2 was changed"),
        (f"UPDATE ledger SET hash = 'no hash' {SECOND}", "entry 0/2 was changed"),
        (f"UPDATE ledger SET previous = 5 {SECOND}", "entry 0/2 does not follow entry 0/1"),
    ],
)
def test_who_tampers_is_found(run: Run, world: World, statement: str, problem: str) -> None:
    asyncio.run(some_entries(world))
    tamper(world, statement)
    code, out, err = run("ledger", "verify")
    assert code == 1
    assert problem in err
    assert "intact: False" in out


def test_certificates_are_listed_and_renewed(run: Run) -> None:
    rows = lines(run("certificate", "list", "--json")[1])
    assert [row["role"] for row in rows] == ["server", "kiosk_authority", "user_authority", "signing_authority"]
    assert all(row["days_left"] > 300 for row in rows)
    renewed = json.loads(run("certificate", "renew", "--server-name", "centre.example", "--json")[1])
    assert renewed["names"] == ["centre.example"]
    assert json.loads(run("certificate", "renew", "--json")[1])["names"] == ["centre.example"]
