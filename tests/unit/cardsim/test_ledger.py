"""The ledger: in order, complete, and without the citizen's secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardsim.ledger import Ledger, LedgerError, mask
from tests.unit.cardsim.making import NOW, verify


def lines(path: Path) -> list[dict[str, Any]]:
    """Read the entries."""
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("apdu", "masked"),
    [
        (verify("98", b"1357"), "0020009804[4]"),
        ("00200098", "00200098"),
        ("0020009800", "0020009800"),
        ("0024019B08" + b"NEWPASS1".hex(), "0024019B08[8]"),
        ("042C029B18" + "AB" * 24 + "00", "042C029B18[24]00"),
        ("802A0098" + "00", "802A009800"),
        ("80200098" + "000004" + "31333537", "80200098000004[4]"),
        ("00200098" + "09" + "31333537", "00200098[5]"),
        ("00A4020C02001B", "00A4020C02001B"),
        ("8482130010" + "11" * 16, "8482130010" + "11" * 16),
        ("00", "00"),
    ],
)
def test_secret_data_is_given_by_its_length(apdu: str, masked: str) -> None:
    assert mask(bytes.fromhex(apdu)) == masked


@pytest.mark.parametrize("last", ['{"seq":2,', "no entry", "[1]", '{"seq":"x"}', "\xff"])
def test_a_file_that_ends_with_something_else_is_refused(tmp_path: Path, last: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"seq":1,"event":"reset"}\n' + last.encode("latin-1"))
    with pytest.raises(LedgerError, match="last line"):
        Ledger(path, lambda: NOW)


def test_entries_are_numbered_across_runs(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for _ in range(2):
        ledger = Ledger(path, lambda: NOW)
        ledger.event("insert", card="card", slot="kiosk")
        before, after = {"tries": {"user_pin": 3}}, {"tries": {"user_pin": 2}}
        ledger.exchange("card", "kiosk", bytes.fromhex(verify("98", b"0000")), bytes.fromhex("63C2"), before, after)
        ledger.close()
    first, second, *_ = entries = lines(path)
    assert [each["seq"] for each in entries] == [1, 2, 3, 4]
    assert first == {"seq": 1, "at": "2026-11-22T03:00:00Z", "event": "insert", "card": "card", "slot": "kiosk"}
    assert second == {
        "seq": 2,
        "at": "2026-11-22T03:00:00Z",
        "event": "apdu",
        "card": "card",
        "slot": "kiosk",
        "command": "VERIFY",
        "apdu": "0020009804[4]",
        "answer": "",
        "status": "63C2",
        "before": {"tries": {"user_pin": 3}},
        "after": {"tries": {"user_pin": 2}},
    }


def test_a_mute_card_leaves_an_empty_status(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl", lambda: NOW)
    ledger.exchange("card", "kiosk", bytes.fromhex("00EE0000"), b"", {}, {})
    ledger.exchange("card", "kiosk", b"\x00", bytes.fromhex("6700"), {}, {})
    ledger.close()
    mute, short = lines(tmp_path / "ledger.jsonl")
    assert (mute["command"], mute["answer"], mute["status"]) == ("EE", "", "")
    assert (short["command"], short["apdu"], short["status"]) == ("", "00", "6700")
