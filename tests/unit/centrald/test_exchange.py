"""The registry to and from files, the revocation lists and the master keys, on the command line."""

from __future__ import annotations

import asyncio
import csv
import datetime
import io
import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from centrald import pki, registry
from centrald.config import Storage
from centrald.masterkeys import KeyRing
from centrald.registry import Format, Line
from centrald.rules.model import CardEntry, CertificateId, Procedure
from centrald.storage.ledger import Event
from tests.rig.crl import crl
from tests.rig.soft_token import MODULE, make
from tests.unit.centrald.conftest import Run
from tests.unit.centrald.world import HeldCard, World

ENTRY: dict[str, Any] = {
    "user_certificate_serial": "0a0b0c0d",
    "user_authority_key_id": "aa" * 20,
    "signing_certificate_serial": "0102",
    "signing_not_before": "2026-01-01T00:00:00+00:00",
    "signing_not_after": "2031-01-01T00:00:00+09:00",
    "diversification_data": "00" * 10,
    "key_versions": {"signing_password": 49},
}


@pytest.fixture
def storage_url() -> str:
    """What `centrald init` writes by itself; other databases are where the registry itself is tested."""
    return Storage().url


_HEX = st.text("0123456789abcdef", min_size=1, max_size=40).map(lambda text: text.lstrip("0") or "0")
_MOMENT = st.datetimes(timezones=st.just(datetime.UTC))
CARDS = st.builds(
    lambda key_id, serial, other, moments, data, version, revoked, authority: CardEntry(
        CertificateId(key_id, serial), other, min(moments), max(moments), data,
        {Procedure.SIGNING_PASSWORD: version}, revoked[0], revoked[1], authority,
    ),
    _HEX, _HEX, _HEX, st.tuples(_MOMENT, _MOMENT), st.binary(min_size=10, max_size=10), st.integers(1, 127),
    st.tuples(st.booleans(), st.booleans()), st.none() | _HEX,
)  # fmt: skip


def entry(serial: int, **changes: Any) -> dict[str, Any]:
    return ENTRY | {"user_certificate_serial": f"{serial:x}"} | changes


def as_csv(entries: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    flat = [
        {name: value for name, value in one.items() if name != "key_versions"}
        | {"key_version_signing_password": one["key_versions"]["signing_password"]}
        for one in entries
    ]
    writer = csv.DictWriter(text, list(flat[0]))
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def summary(out: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(out.splitlines()[-1])
    return found


@given(st.lists(CARDS, max_size=5), st.sampled_from(Format))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_what_is_written_is_what_is_read(cards: list[CardEntry], form: Format) -> None:
    lines = "".join(registry.write(cards, form)).splitlines(keepends=True)
    assert [line.card for line in registry.read(lines, form)] == cards


@given(st.lists(st.text(max_size=60), max_size=8), st.sampled_from(Format))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_no_junk_is_more_than_a_bad_line(junk: list[str], form: Format) -> None:
    head = list(registry.write([], form))
    for line in registry.read([*head, *(text + "\n" for text in junk)], form):
        assert line.card is None
        assert line.error


def test_a_line_break_is_no_digit() -> None:
    (line,) = registry.read([json.dumps(entry(1, user_authority_key_id="aa\n"))], Format.JSONL)
    assert line.error is not None
    assert "user_authority_key_id" in line.error


BAD: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "user_certificate_serial": lambda one: one | {"user_certificate_serial": "xyz"},
    "diversification_data": lambda one: one | {"diversification_data": "00" * 9},
    "`": lambda one: {name: value for name, value in one.items() if name != "signing_not_after"},
    "key_versions.signing_password": lambda one: one | {"key_versions": {"signing_password": 128}},
    "time zone": lambda one: one | {"signing_not_before": "2026-01-01T00:00:00"},
    "comes after": lambda one: one | {"signing_not_before": "2036-01-01T00:00:00Z"},
    "years": lambda one: one | {"signing_not_after": "9999-12-31T23:59:59-09:00"},
}


@pytest.mark.parametrize("form", Format)
def test_good_lines_are_taken_and_bad_ones_listed(centrald: Run, world: World, tmp_path: Path, form: Format) -> None:
    entries = [entry(number) for number in range(1, 1206)]
    wrong = {100 * (at + 1): text for at, text in enumerate(BAD)}
    for at, text in wrong.items():
        entries[at] = BAD[text](entries[at])
    complete = [dict.fromkeys(ENTRY, "") | one for one in entries]
    text = as_csv(complete) if form is Format.CSV else "".join(json.dumps(one) + "\n" for one in entries)
    file = tmp_path / f"cards.{form.value}"
    file.write_text(text, encoding="utf-8-sig" if form is Format.CSV else "utf-8")
    code, out, err = centrald("card", "import", file, "--directory", world.directory, "--json")
    assert code == 5
    good = len(entries) - len(wrong)
    assert summary(out) == {"read": 1205, "added": good, "replaced": 0, "unchanged": 0, "refused": len(wrong)}
    said = err.splitlines()
    first = 2 if form is Format.CSV else 1
    assert [line.split(":")[0] for line in said] == [f"line {at + first}" for at in wrong]
    assert all(why in line for line, why in zip(said, wrong.values(), strict=True))
    assert "xyz" not in err  # no line is quoted: serial numbers are personal data
    code, out, _ = centrald("card", "import", file, "--directory", world.directory, "--json")
    assert (code, summary(out)["unchanged"], summary(out)["added"]) == (5, good, 0)


async def entries_of(world: World) -> list[str | None]:
    return [one.detail for one in await world.ledger() if one.event is Event.CARD_REGISTERED]


def test_other_content_needs_replace_and_revoked_stays_so(centrald: Run, world: World, tmp_path: Path) -> None:
    there = ("--directory", world.directory, "--json")
    file = tmp_path / "cards.jsonl"
    file.write_text(json.dumps(entry(1)) + "\n" + json.dumps(entry(2, signing_revoked=True)) + "\n")
    assert centrald("card", "import", file, *there)[0] == 0
    fifty, seven = ({"signing_password": version} for version in (50, 7))
    changed = [entry(1, key_versions=fifty), entry(2), entry(3), entry(3, key_versions=seven)]
    file.write_text("".join(json.dumps(one) + "\n" for one in changed))
    errors = tmp_path / "errors.jsonl"
    code, out, err = centrald("card", "import", file, *there, "--errors", errors)
    assert (code, err) == (5, "")
    assert summary(out) == {"read": 4, "added": 1, "replaced": 0, "unchanged": 1, "refused": 2}
    assert [json.loads(line)["line"] for line in errors.read_text().splitlines()] == [1, 4]
    assert stat.S_IMODE(errors.stat().st_mode) == 0o600
    assert centrald("card", "import", file, *there, "--errors", errors)[0] == 1  # never overwritten
    code, out, _ = centrald("card", "import", file, *there, "--replace")
    assert (code, summary(out)["replaced"]) == (0, 2)
    exported = centrald("card", "export", "-", "--directory", world.directory)[1].splitlines()
    cards = {one["user_certificate_serial"]: one for one in map(json.loads, exported)}
    assert {serial: one["key_versions"]["signing_password"] for serial, one in cards.items()} == {
        "1": 50, "2": 49, "3": 7,
    }  # fmt: skip
    assert cards["2"]["signing_revoked"] is True
    assert asyncio.run(entries_of(world)) == [
        "imported: 2 added, 0 replaced", "imported: 1 added, 0 replaced", "imported: 0 added, 2 replaced",
    ]  # fmt: skip


@pytest.mark.parametrize("form", Format)
def test_export_and_import_into_another_centre(
    centrald: Run, world: World, initialized: Path, tmp_path: Path, form: Format
) -> None:
    file, out = tmp_path / "cards.jsonl", tmp_path / f"out.{form.value}"
    file.write_text("".join(json.dumps(entry(number)) + "\n" for number in range(1, 2300)))
    assert centrald("card", "import", file, "--directory", world.directory)[0] == 0
    assert centrald("card", "export", out, "--directory", world.directory)[0] == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert centrald("card", "export", out, "--directory", world.directory)[0] == 1
    other = tmp_path / "other"
    shutil.copytree(initialized, other)
    code, text, _ = centrald("card", "import", out, "--directory", other, "--json")
    assert (code, summary(text)["added"]) == (0, 2299)
    again = centrald("card", "export", "-", "--format", form.value, "--directory", other)[1]
    assert again == out.read_text()


def test_a_file_that_is_none(centrald: Run, world: World, tmp_path: Path) -> None:
    there = ("--directory", world.directory)
    assert centrald("card", "import", tmp_path / "none.csv", *there)[0] == 3
    file = tmp_path / "cards.csv"
    for text in ("", "a,b\n1,2\n", "user_certificate_serial,user_certificate_serial\n", '"\n'):
        file.write_text(text)
        code, _, err = centrald("card", "import", file, *there)
        assert (code, "line 1" in err) == (3, True)
    file.write_text(as_csv([entry(1)]) + "1,2\n" + '"x" y,,,\n')
    assert centrald("card", "import", file, *there)[0] == 5


def test_a_card_of_issuance_is_an_entry(world: World) -> None:
    held = HeldCard.issue(world.directory, world.clock.now())
    (line,) = registry.read([held.entry], Format.JSONL)
    assert isinstance(line, Line)
    assert line.card is not None
    assert line.card.certificate == held.certificate_id


def ledger(centrald: Run, world: World) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in centrald("ledger", "show", "--directory", world.directory, "--json")[1].splitlines()
    ]


def test_lists_are_imported_and_listed(centrald: Run, world: World, tmp_path: Path) -> None:
    there = ("--directory", world.directory, "--json")
    rows = [json.loads(line) for line in centrald("crl", "list", *there)[1].splitlines()]
    assert {row["role"]: row["condition"] for row in rows} == {"user": "current", "signing": "current"}
    (world.directory / f"authority/{next(row['authority'] for row in rows if row['role'] == 'signing')}.crl").unlink()
    folder = world.directory / "authority"
    user = pki.load(folder / "user-ca.pem", folder / "user-ca.key")
    now = datetime.datetime.now(datetime.UTC)
    file = tmp_path / "new.crl"
    file.write_bytes(crl(user, now, 1, 2, number=5))
    code, out, _ = centrald("crl", "import", file, *there)
    assert (code, json.loads(out)["revoked"], json.loads(out)["new"]) == (0, 2, True)
    assert json.loads(centrald("crl", "import", file, *there)[1])["new"] is False
    rows = [json.loads(line) for line in centrald("crl", "list", *there)[1].splitlines()]
    assert {(row["role"], row["condition"], row["number"]) for row in rows} == {
        ("user", "current", 5), ("signing", "missing", None),
    }  # fmt: skip
    (noted,) = [one for one in ledger(centrald, world) if one["event"] == "crl_imported"]
    assert noted["detail"].startswith("number 5 of ")
    file.write_bytes(crl(user, now, number=4))
    assert centrald("crl", "import", file, *there)[0] == 1
    file.write_bytes(b"junk")
    code, _, err = centrald("crl", "import", file, *there)
    assert (code, "new.crl: it is not a revocation list" in err) == (3, True)
    assert centrald("crl", "import", tmp_path / "none", *there)[0] == 3


def test_keys_are_added_and_listed(centrald: Run, world: World, tmp_path: Path) -> None:
    there = ("--directory", world.directory, "--json")
    (token,) = make(tmp_path / "hsm", "centre")
    pin = world.directory / "keys/token.pin"
    pin.write_text(token.pin)
    pin.chmod(0o600)
    cards = tmp_path / "cards.jsonl"
    known = [
        entry(number, key_versions={"signing_password": version}) for number, version in ((1, 49), (2, 49), (3, 51))
    ]
    cards.write_text("".join(json.dumps(one) + "\n" for one in known))
    assert centrald("card", "import", cards, *there)[0] == 0
    new = ("keys", "add", "--file", "keys/second.key", "--generate", "--from-version")
    code, _, err = centrald(*new, "50", *there)
    assert (code, "cards of key version 51" in err) == (1, True)
    assert not (world.directory / "keys/second.key").exists()
    assert centrald(*new, "0x34", *there)[0] == 0
    assert centrald(*new, "0x34", *there)[0] == 1
    in_token = ("keys", "add", "--token", token.label, "--key", "third", "--module", MODULE, "--from-version", "0x40")
    assert centrald(*in_token, *there)[0] == 3  # no such key
    assert centrald(*in_token, "--generate", *there)[0] == 0
    rows = [json.loads(line) for line in centrald("keys", "list", *there)[1].splitlines()]
    assert [(row["from_version"], row["to_version"], row["cards"]) for row in rows] == [
        (1, 51, 3), (52, 63, 0), (64, 127, 0),
    ]  # fmt: skip
    assert len({row["check_value"] for row in rows}) == 3
    noted = [one["detail"] for one in ledger(centrald, world) if one["event"] == "keys_added"]
    assert noted == [f"from version {row['from_version']}, check value {row['check_value']}" for row in rows[1:]]
    assert rows[2]["place"] == "token centre, key third"
    ring = KeyRing.open(world.directory, "keys/master.key", "keys/ring.toml")
    assert [one.check_value for one in ring.live] == [row["check_value"] for row in rows]
    ring.close()


@pytest.mark.parametrize(
    "words",
    [
        ("--from-version", "0", "--file", "x"),
        ("--from-version", "128", "--file", "x"),
        ("--from-version", "x", "--file", "x"),
        ("--from-version", "50"),
        ("--from-version", "50", "--file", "x", "--token", "y", "--key", "z"),
        ("--from-version", "50", "--token", "y"),
    ],
)
def test_keys_that_make_no_sense(centrald: Run, world: World, words: tuple[str, ...]) -> None:
    assert centrald("keys", "add", *words, "--directory", world.directory)[0] == 2
