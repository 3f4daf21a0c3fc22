"""`cardsim fault` on the command line, and the examples of docs/CARDSIM.md as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cardsim import persona
from cardsim.fault import STEP_NAMES, Kind, Point
from tests.integration.test_cardsim import KIOSK_PORT, REFUSED, UNREACHABLE, USAGE, cardsim
from tests.rig.process import BIN
from tests.rig.site import Site

DOCUMENT = (Path(__file__).parents[2] / "docs/CARDSIM.md").read_text()
SECONDS = 20


def examples(language: str) -> list[str]:
    """Return the document's examples in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def control(site: Site, tmp_path: Path) -> Iterator[Path]:
    """A simulator with two cards that no reader holds and the document's script; its control socket."""
    for name in ("locked", "second"):
        shutil.copy(site.cards / "locked.json", tmp_path / f"{name}.json")
    path, script = tmp_path / "control.sock", tmp_path / "faults.toml"
    (text,) = examples("toml")
    script.write_text(text)
    words: list[str | Path] = [BIN / "cardsim", "run", tmp_path / "locked.json", tmp_path / "second.json"]
    words += ["--slot", f"kiosk={KIOSK_PORT}", "--control", path, "--ledger", tmp_path / "ledger.jsonl"]
    with subprocess.Popen([*words, "--faults", script], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline()) == {"event": "ready"}
        yield path
        running.terminate()
        assert running.wait(SECONDS) == 0


def listed(control: Path) -> list[dict[str, object]]:
    """Return the faults."""
    faults: list[dict[str, object]] = json.loads(cardsim("fault", "list", "--json", control=control).stdout)
    return faults


def test_the_examples_of_the_document(control: Path) -> None:
    assert [each["at"] for each in listed(control)] == ["reset_retry_counter", "tries_left#3"], "from the file"
    (commands,) = examples("sh")
    ends = {}
    for line in commands.splitlines():
        name, *words = shlex.split(line.partition(" #")[0])
        assert name == "cardsim"
        ends[" ".join(words)] = cardsim(*words, control=control)
    assert [end.stdout for words, end in ends.items() if " add " in words] == [f"{n}\n" for n in range(3, 9)]
    table = ends["fault list"].stdout
    assert re.search(r"4 .*verify#2 .*before_delivery .*tear .*waiting", table)
    codes = {words: end.returncode for words, end in ends.items()}
    assert codes.pop("fault list --check") == REFUSED
    assert set(codes.values()) == {0}
    assert listed(control) == []


def test_the_requests_of_the_document(control: Path) -> None:
    (requests,) = examples("json")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(control))
        with connection.makefile("rwb") as stream:
            answers = []
            for line in requests.splitlines():
                stream.write(line.encode() + b"\n")
                stream.flush()
                answers.append(json.loads(stream.readline()))
    added, shown, cleared = answers
    assert added == {"ok": True, "id": 3}
    assert shown["faults"][-1] == {
        "id": 3,
        "state": "waiting",
        "seq": None,
        "active": False,
        "at": "verify",
        "point": "after_delivery",
        "kind": "mute",
    }
    assert cleared == {"ok": True, "cleared": 3}


def test_the_document_names_everything() -> None:
    for name in (*persona.names(), *Kind, *Point, *STEP_NAMES):
        assert f"`{name}`" in DOCUMENT, name
    for field in msgspec.structs.fields(persona.Persona):
        if not field.required:
            assert f"`{field.name}`" in DOCUMENT, field.name


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("add", "verified", "tear"), "no command 'verified'; there are: apdu, tries_left, verify"),
        (("add", "verify", "delay"), "delay needs `seconds`"),
        (("add", "verify", "swap", "--other", "third"), "no card third; there are: locked, second"),
        (("add", "verify", "tear", "--slot", "desk"), "no slot desk; there are: kiosk"),
        (("release",), "no card is held mute"),
        (("release", "7"), "no card is held mute by fault 7"),
    ],
)
def test_what_is_refused(control: Path, words: tuple[str, ...], complaint: str) -> None:
    refusal = cardsim("fault", *words, control=control)
    assert refusal.returncode == REFUSED
    assert refusal.stderr.startswith("cardsim: ")
    assert complaint in refusal.stderr


def test_wrong_usage_and_no_simulator(tmp_path: Path) -> None:
    assert cardsim("fault", "add", "verify", "explode", control=tmp_path / "none").returncode == USAGE
    assert cardsim("fault", "list", control=tmp_path / "none").returncode == UNREACHABLE


def test_a_script_with_a_mistake_is_refused_with_its_place(site: Site, tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    words: list[str | Path] = ["run", site.cards / "locked.json", "--slot", f"kiosk={KIOSK_PORT}"]
    words += ["--control", tmp_path / "c", "--ledger", tmp_path / "l", "--faults", script]
    for text, complaint in (
        ('[[fault]]\nat = "verify"\nkind = "delay"\n', "delay needs `seconds` - at `$.fault[0]`"),
        ('[[fault]]\nat = "verify"\nkind = "swap"\nother = "third"\n', "no card third; there are: locked"),
    ):
        script.write_text(text)
        refusal = cardsim(*words)
        assert refusal.returncode == REFUSED
        assert complaint in refusal.stderr
    assert not (tmp_path / "c").exists()
