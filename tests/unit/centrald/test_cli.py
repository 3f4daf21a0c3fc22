"""The command line, in process: what it makes, what it refuses, how it says so."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from centrald import cli
from centrald.config import Storage
from centrald.rules.model import State
from tests.unit.centrald.conftest import Run
from tests.unit.centrald.world import KIOSK, HeldCard, World


@pytest.fixture
def storage_url() -> str:
    """What `centrald init` writes by itself; the command line does nothing that differs from database to database."""
    return Storage().url


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_init_makes_everything_and_refuses_to_overwrite(centrald: Run, tmp_path: Path) -> None:
    directory = tmp_path / "central"
    code, out, _ = centrald("init", "--directory", directory, "--always-open", "--json")
    assert code == 0
    files = json.loads(out)["files"]
    assert sum(name.startswith("authority/") and name.endswith(".crl") for name in files) == 2
    assert {name for name in files if not name.endswith(".crl")} == {
        "centrald.toml", "centrald.db", "keys/master.key",
        "authority/user-ca.pem", "authority/user-ca.key", "authority/sign-ca.pem", "authority/sign-ca.key",
        "tls/server-ca.pem", "tls/server-ca.key", "tls/server.pem", "tls/server.key",
        "tls/kiosk-ca.pem", "tls/kiosk-ca.key",
    }  # fmt: skip
    for name in files:
        mode = stat.S_IMODE((directory / name).stat().st_mode)
        assert name.endswith(".pem") or mode == 0o600, name
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    code, out, err = centrald("init", "--directory", directory)
    assert (code, out) == (1, "")
    assert "not empty" in err
    assert before == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_kiosks_are_added_listed_and_switched(centrald: Run, world: World, tmp_path: Path) -> None:
    there = ("--directory", world.directory)
    assert centrald("kiosk", "add", "c", "s", "k", *there, "--out", tmp_path / "k")[0] == 0
    assert {path.name for path in (tmp_path / "k").iterdir()} == {"kiosk.pem", "kiosk.key", "server-ca.pem"}
    assert stat.S_IMODE((tmp_path / "k/kiosk.key").stat().st_mode) == 0o600
    code, _, err = centrald("kiosk", "add", "c", "s", "k", *there, "--out", tmp_path / "again")
    assert (code, (tmp_path / "again").exists()) == (1, False)
    assert "c/s/k is known already" in err
    before = {path: path.read_bytes() for path in (tmp_path / "k").iterdir()}
    for words in (("add", "c", "s", "k2"), ("renew", "c", "s", "k")):
        code, _, err = centrald("kiosk", *words, *there, "--out", tmp_path / "k")
        assert (code, "kiosk.pem exists" in err) == (1, True)
    assert before == {path: path.read_bytes() for path in (tmp_path / "k").iterdir()}
    assert centrald("kiosk", "renew", "c", "s", "k", *there, "--out", tmp_path / "k-2")[0] == 0
    assert centrald("kiosk", "renew", "c", "s", "nobody", *there, "--out", tmp_path / "k-3")[0] == 1
    assert centrald("store", "disable", "c/s", *there)[0] == 0
    enabled = {row["kiosk"]: row["enabled"] for row in lines(centrald("kiosk", "list", *there, "--json")[1])}
    assert enabled == {"c/s/k": False, str(KIOSK): True, "chain-b/store-1/kiosk-1": True}
    assert centrald("store", "enable", "c/s", *there)[0] == 0
    assert centrald("chain", "disable", "nobody", *there)[0] == 1
    assert "c/s/k" in centrald("kiosk", "list", *there)[1]


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "x" * 33, "é"])
def test_an_id_that_is_none(centrald: Run, world: World, tmp_path: Path, name: str) -> None:
    words = ("kiosk", "add", "c", name, "k", "--directory", world.directory, "--out", tmp_path / "k")
    code, _, err = centrald(*words)
    assert code == 2
    assert "a-z" in err


def test_cards_are_registered_all_or_none(centrald: Run, world: World, tmp_path: Path) -> None:
    there = ("--directory", world.directory, "--json")
    first, second = (HeldCard.issue(world.directory, world.clock.now()) for _ in range(2))
    entry = tmp_path / "entry.json"
    entry.write_text(first.entry)
    assert json.loads(centrald("card", "register", entry, *there)[1]) == {"registered": 1, "unchanged": 0}
    assert json.loads(centrald("card", "register", entry, *there)[1]) == {"registered": 0, "unchanged": 1}
    changed = json.loads(first.entry) | {"key_versions": {"signing_password": 50}}
    entry.write_text(f"{second.entry}\n{json.dumps(changed)}\n")
    code, _, err = centrald("card", "register", entry, *there)
    assert (code, "other content" in err) == (1, True)
    answer = json.loads(centrald("card", "register", entry, *there, "--replace")[1])
    assert answer == {"registered": 2, "unchanged": 0}
    entry.write_text("{}")
    assert centrald("card", "register", entry, *there)[0] == 3
    assert centrald("card", "register", tmp_path / "none", *there)[0] == 3


def test_an_entry_that_says_revoked_is_not_the_same(centrald: Run, world: World, tmp_path: Path) -> None:
    there = ("--directory", world.directory, "--json")
    card = HeldCard.issue(world.directory, world.clock.now())
    entry = tmp_path / "entry.json"
    entry.write_text(card.entry)
    centrald("card", "register", entry, *there)
    entry.write_text(json.dumps(json.loads(card.entry) | {"user_revoked": True}))
    assert centrald("card", "register", entry, *there)[0] == 1
    answer = json.loads(centrald("card", "register", entry, *there, "--replace")[1])
    assert answer == {"registered": 1, "unchanged": 0}
    (row,) = lines(centrald("card", "list", *there)[1])
    assert (row["user_revoked"], row["signing_revoked"]) == (True, False)


def test_a_revoked_card_stays_revoked(centrald: Run, world: World, tmp_path: Path) -> None:
    there = ("--directory", world.directory)
    card = HeldCard.issue(world.directory, world.clock.now())
    entry = tmp_path / "entry.json"
    entry.write_text(card.entry)
    centrald("card", "register", entry, *there)
    serial = card.certificate_id.serial
    assert centrald("card", "revoke", serial, *there)[0] == 0
    assert centrald("card", "register", entry, *there)[0] == 0
    (row,) = lines(centrald("card", "list", *there, "--json")[1])
    assert (row["user_revoked"], row["signing_revoked"]) == (False, True)
    assert centrald("card", "revoke", serial, "--certificate", "user", *there)[0] == 0
    (row,) = lines(centrald("card", "list", *there, "--json")[1])
    assert (row["user_revoked"], row["signing_revoked"]) == (True, True)
    assert centrald("card", "revoke", "ffff", *there)[0] == 1


def test_reservations_and_ledger_are_shown(centrald: Run, world: World) -> None:
    there = ("--directory", world.directory)

    async def one_reset() -> tuple[str, str]:
        card = await world.card()
        reservation = await world.reserved(card)
        attempt = await world.checked(card)
        await attempt.done(await attempt.write(card))
        await world.database.close()
        return reservation.id, attempt.id

    reservation, attempt = asyncio.run(one_reset())
    (row,) = lines(centrald("reservation", "list", *there, "--json")[1])
    assert (row["reservation_id"], row["state"]) == (reservation, State.USED.value)
    assert row["face_match"] == "not performed"
    shown = json.loads(centrald("reservation", "show", reservation, *there, "--json")[1])
    assert [write["reports"] for write in shown["writes"]] == ["done/valid"]
    assert centrald("reservation", "show", "nothing", *there)[0] == 1
    entries = lines(centrald("ledger", "show", "--attempt", attempt, *there, "--json")[1])
    assert [entry["event"] for entry in entries] == ["begun", "checked", "authorized", "reported"]
    assert [entry["verdict"] for entry in entries] == [None, None, None, "valid"]
    assert entries[-1]["key_version"] == 0x31
    assert lines(centrald("ledger", "show", "--contradictions", *there, "--json")[1]) == []
    for words in (("reservation", "list"), ("reservation", "show", reservation), ("ledger", "show")):
        code, out, _ = centrald(*words, *there)
        assert (code, reservation in out) == (0, True)


def test_a_directory_that_is_none(centrald: Run, tmp_path: Path) -> None:
    for words in (("serve",), ("kiosk", "list"), ("ledger", "show")):
        code, out, err = centrald(*words, "--directory", tmp_path)
        assert (code, out) == (3, "")
        assert "centrald init" in err


COMMANDS = (
    "chain", "store", "kiosk", "maintenance", "card", "certificate", "crl", "keys",
    "reservation", "doubts", "ledger", "migrate", "serve", "init",
)  # fmt: skip


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS), ("ledger", "verify"), ("maintenance", "add")])
def test_help_is_there_for_everything(centrald: Run, words: tuple[str, ...]) -> None:
    code, out, _ = centrald(*words, "--help")
    assert code == 0
    assert "Usage" in out
    assert cli.__doc__
