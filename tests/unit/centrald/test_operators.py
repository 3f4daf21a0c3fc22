"""The operators' commands: fleet, maintenance windows, doubts, and the ledger's chain."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from centrald.cli.main import main
from centrald.config import Storage
from centrald.rules.model import SILENCE, Refusal
from centrald.storage.database import Database
from tests.unit.centrald.world import KIOSK, WRONG_RECEIPT, World

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def storage_url() -> str:
    """What `centrald init` writes by itself."""
    return Storage().url


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], world: World) -> Run:
    """Run one command on the world's directory, as of the world's clock."""

    def go(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["centrald", *map(str, words), "--directory", str(world.directory)])
        with pytest.raises(SystemExit) as raised:
            main()
        out, err = capfd.readouterr()
        return int(raised.value.code or 0), out, err

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


async def some_attempts(world: World) -> None:
    for _ in range(5):
        await world.attempt()
    await world.database.close()


def tamper(world: World, statement: str) -> None:
    """Do what the database forbids, as one who owns the file can."""
    with sqlite3.connect(world.directory / "centrald.db") as connection:
        for verb in ("update", "delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS ledger_no_{verb}")
        connection.executescript(statement)
    connection.close()


def test_the_ledger_is_verified_and_exported(run: Run, world: World, tmp_path: Path) -> None:
    asyncio.run(some_attempts(world))
    code, out, _ = run("ledger", "verify", "--json")
    said = json.loads(out)
    assert (code, said["entries"], said["last_seq"], said["intact"], said["faults"]) == (0, 5, 5, True, [])
    exported = lines(run("ledger", "export")[1])
    assert [entry["seq"] for entry in exported] == [1, 2, 3, 4, 5]
    assert exported[-1]["hash"] == said["last_hash"]
    assert run("ledger", "export", "--out", tmp_path / "rest.jsonl", "--after", "2")[0] == 0
    assert run("ledger", "export", "--out", tmp_path / "rest.jsonl")[0] == 1
    assert lines((tmp_path / "rest.jsonl").read_text()) == exported[2:]
    code, out, _ = run("ledger", "verify", "--file", tmp_path / "rest.jsonl", "--json")
    assert (code, json.loads(out)["entries"]) == (0, 3)
    (tmp_path / "rest.jsonl").write_text((tmp_path / "rest.jsonl").read_text().replace("begun", "reported") + "x\n")
    code, out, err = run("ledger", "verify", "--file", tmp_path / "rest.jsonl", "--json")
    assert (code, [fault["seq"] for fault in json.loads(out)["faults"]]) == (1, [3, 4, 5, 6])
    assert "line 4 is not an entry" in err
    known = f"5:{said['last_hash']}"
    assert run("ledger", "verify", "--known", known)[0] == 0
    assert run("ledger", "verify", "--known", known.replace(":", ":ff")[:66])[0] == 1
    assert run("ledger", "verify", "--known", "5")[0] == 2


SWAP = "".join(f"UPDATE ledger SET seq = {new} WHERE seq = {old};" for old, new in ((4, 99), (5, 4), (99, 5)))
BEYOND = "INSERT INTO ledger (seq, at, event) VALUES (6, '2026-11-22 00:00:00.000000', 'begun')"


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE ledger SET kiosk = 'a/b/c' WHERE seq = 2", "entry 2 was changed"),
        ("DELETE FROM ledger WHERE seq = 3", "entry 3 is missing"),
        ("DELETE FROM ledger WHERE seq > 3", "entries 4 to 5 are missing at the end"),
        (SWAP, "entry 4 was changed"),
        ("UPDATE ledger SET event = 'never' WHERE seq = 1", "entry 1 was changed"),
        (BEYOND, "entry 6 was changed"),
    ],
)
def test_who_tampers_is_found(run: Run, world: World, statement: str, problem: str) -> None:
    asyncio.run(some_attempts(world))
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
