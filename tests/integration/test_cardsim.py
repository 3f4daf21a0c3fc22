"""The simulator's command line: what people type, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.rig.opensc import OpenSC
from tests.rig.parts import CardSimulator
from tests.rig.process import BIN, insist
from tests.rig.site import Site

SECONDS = 20
REFUSED, USAGE, UNREACHABLE = 1, 2, 3
KIOSK_PORT = 9  # nobody's: the simulator goes on trying


def cardsim(*words: str | Path, control: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    environment = {**os.environ, "COLUMNS": "200", **({"CARDSIM_CONTROL": str(control)} if control else {})}
    return subprocess.run(
        [BIN / "cardsim", *words], capture_output=True, text=True, check=False, timeout=SECONDS, env=environment
    )


def issue(site: Site, directory: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Issue a card into the directory."""
    source: list[str | Path] = ["--authority", site.central / "authority"]
    source += ["--master-key", site.central / "keys/master.key"]
    return cardsim("issue", *source, "--out", directory / "card.json", "--registry", directory / "entry.json", *more)


def test_issue_makes_a_card_and_its_registry_entry_once(site: Site, tmp_path: Path) -> None:
    assert issue(site, tmp_path, "--persona", "forgotten", "--user-pin", "4321").returncode == 0
    card, entry = tmp_path / "card.json", tmp_path / "entry.json"
    assert stat.S_IMODE(card.stat().st_mode) == 0o600
    assert set(json.loads(entry.read_text())) == {
        "user_certificate_serial",
        "user_authority_key_id",
        "signing_certificate_serial",
        "signing_authority_key_id",
        "signing_not_before",
        "signing_not_after",
        "diversification_data",
        "key_versions",
    }
    assert "4321" in card.read_text()
    content = card.read_bytes()
    again = issue(site, tmp_path)
    assert again.returncode == REFUSED
    assert "exists" in again.stderr
    assert card.read_bytes() == content


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--persona", "nobody"), "no persona 'nobody'; there are: child, expired, foreign, forgotten"),
        (("--user-pin", "12"), "values.user_pin: 4 digits"),
        (("--master-key", "/nowhere"), "/nowhere: FileNotFoundError"),
        (("--authority", "/nowhere"), "no user authority in /nowhere"),
    ],
)
def test_issue_says_why_not(site: Site, tmp_path: Path, more: tuple[str, ...], complaint: str) -> None:
    refusal = issue(site, tmp_path, *more)
    assert refusal.returncode == REFUSED
    assert refusal.stderr.startswith("cardsim: ")
    assert complaint in refusal.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_simulator(tmp_path: Path) -> None:
    for words in (("show",), ("insert", "card", "kiosk"), ("remove", "kiosk"), ("move", "phone", "kiosk"), ("log",)):
        refusal = cardsim(*words, control=tmp_path / "nobody.sock")
        assert refusal.returncode == UNREACHABLE
        assert "no simulator answers" in refusal.stderr


def test_a_card_is_put_in_moved_shown_and_taken_out(simulator: CardSimulator, opensc: OpenSC) -> None:
    control = simulator.control
    assert cardsim("insert", "forgotten", "phone", control=control).returncode == 0
    assert cardsim("move", "phone", "kiosk", control=control).returncode == 0
    assert opensc.tries_left().signing_password == 5
    (shown,) = json.loads(cardsim("show", "forgotten", "--json", control=control).stdout)
    assert (shown["card"], shown["slot"], shown["connected"]) == ("forgotten", "kiosk", True)
    assert shown["references"]["user_pin"] == {"value": "1357", "tries": 3, "limit": 3}
    text = cardsim("show", control=control).stdout
    assert "forgotten: in kiosk" in text
    assert "locked: in no slot" in text
    assert "0 of 5" in text
    assert cardsim("remove", "kiosk", control=control).returncode == 0
    refusal = cardsim("remove", "kiosk", control=control)
    assert refusal.returncode == REFUSED
    assert refusal.stderr == "cardsim: slot kiosk is empty\n"


def test_the_log_in_both_forms(simulator: CardSimulator, opensc: OpenSC) -> None:
    simulator.insert("forgotten")
    opensc.tool("pkcs15-tool", "--verify-pin", "--auth-id", "01", "--pin", "1357")
    text = cardsim("log", control=simulator.control).stdout
    assert "forgotten@kiosk -- insert" in text
    assert "forgotten@kiosk VERIFY: 0020008004[4] ->  9000" in text
    entries = [json.loads(line) for line in cardsim("log", "--json", "--ledger", simulator.ledger).stdout.splitlines()]
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert "31333537" not in text + json.dumps(entries)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_cleanly(site: Site, tmp_path: Path, number: signal.Signals) -> None:
    control, ledger = tmp_path / "control.sock", tmp_path / "ledger.jsonl"
    card = site.copy(tmp_path / "site").cards / "locked.json"
    words: list[str | Path] = ["run", card, "--slot", f"kiosk={KIOSK_PORT}", "--control", control, "--ledger", ledger]
    with subprocess.Popen(
        [BIN / "cardsim", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline()) == {"event": "ready"}
        assert stat.S_IMODE(control.stat().st_mode) == 0o600
        second = cardsim(*words)
        assert second.returncode == REFUSED
        assert "another simulator serves" in second.stderr
        waiting = cardsim("insert", "locked", "kiosk", control=control)
        assert waiting.returncode == 0
        assert waiting.stderr == "locked waits for the reader of kiosk\n"
        insist(running, number)  # only the first one counts
        out, err = running.communicate(timeout=SECONDS)
    assert (running.returncode, out, err) == (0, "", "")
    assert not control.exists()


def test_the_socket_of_a_simulator_that_was_killed_is_taken_over(site: Site, tmp_path: Path) -> None:
    control = tmp_path / "control.sock"
    card = site.copy(tmp_path / "site").cards / "locked.json"
    words: list[str | Path] = ["run", card, "--slot", f"kiosk={KIOSK_PORT}", "--control", control, "--ledger"]
    words.append(tmp_path / "l.jsonl")
    for _ in range(2):
        with subprocess.Popen([BIN / "cardsim", *words], stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            assert running.stdout.readline()
            running.kill()
    assert control.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "card.json", "--slot", "kiosk", "--control", "c", "--ledger", "l"),
        ("run", "card.json", "--slot", "kiosk=0", "--control", "c", "--ledger", "l"),
        ("run", "card.json", "--slot", "a=1", "--slot", "a=2", "--control", "c", "--ledger", "l"),
        ("run", "card.json", "--slot", "a=1", "--control", "c", "--ledger", "l", "--insert", "card"),
        ("run", "card.json", "x/card.json", "--slot", "a=1", "--control", "c", "--ledger", "l"),
        ("log",),
        ("unknown",),
    ],
)
def test_wrong_usage(words: tuple[str, ...]) -> None:
    assert cardsim(*words).returncode == USAGE


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff\n"])
def test_the_log_of_a_file_that_is_no_ledger(tmp_path: Path, content: bytes) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(content)
    refusal = cardsim("log", "--ledger", ledger)
    assert refusal.returncode == USAGE
    assert "line 1 of" in refusal.stderr
    assert "Traceback" not in refusal.stderr


def test_run_with_a_card_in_a_slot_that_is_not_there(site: Site, tmp_path: Path) -> None:
    control, ledger = tmp_path / "c.sock", tmp_path / "l.jsonl"
    words: list[str | Path] = ["run", site.cards / "locked.json", "--slot", "a=9", "--control", control]
    refusal = cardsim(*words, "--ledger", ledger, "--insert", "locked@b")
    assert (refusal.returncode, refusal.stderr) == (REFUSED, "cardsim: no slot b; there are: a\n")
    assert not control.exists()


def test_run_without_a_card(tmp_path: Path) -> None:
    refusal = cardsim(
        *("run", tmp_path / "none.json", "--slot", "a=1", "--control", tmp_path / "c", "--ledger", tmp_path / "l")
    )
    assert refusal.returncode == REFUSED
    assert refusal.stderr == f"cardsim: {tmp_path / 'none.json'}: No such file or directory\n"
