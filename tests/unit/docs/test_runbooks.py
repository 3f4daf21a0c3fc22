"""Each alert leads to a page that says what to do, in words and commands that hold."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gatewayd.session.readiness import KNOWN
from tests.unit.docs.our_commands import PROGRAMS, command_of

ROOT = Path(__file__).resolve().parents[3]
ALERTS = sorted((ROOT / "systemd/alerts").glob("*.yml"))
PAGE = ROOT / "docs/RUNBOOKS.md"
TEXT = PAGE.read_text(encoding="utf-8")

LABELS = ["Means", "Citizens", "Look", "Do", "Escalate"]
# What only looks: the first words of a command, as far as they decide that.
HARMLESS = {
    ("df",),
    ("journalctl",),
    ("ls",),
    ("openssl", "s_client"),
    ("openssl", "x509"),
    ("promtool", "check"),
    ("ss",),
    ("systemctl", "status"),
    ("timedatectl",),
}
LOOKS_ONLY = {"doubts", "list", "show", "verify", "status", "attempts", "attempt", "doctor"}  # of our own commands

SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", TEXT, flags=re.MULTILINE | re.DOTALL))


class Rule(NamedTuple):
    """What is read of a rule; promtool has judged its form."""

    alert: str
    severity: str
    runbook_url: str


def rules() -> Iterator[Rule]:
    for path in ALERTS:
        for text in re.split(r"^ +- alert: ", path.read_text(), flags=re.MULTILINE)[1:]:
            severity = re.search(r"severity: (\w+)", text)
            url = re.search(r'runbook_url: "(.+)"$', text, flags=re.MULTILINE)
            yield Rule(text.split()[0], severity[1] if severity else "", url[1] if url else "")


def commands(section: str) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule.alert)
def test_an_alert_leads_to_its_page(rule: Rule) -> None:
    path, _, anchor = rule.runbook_url.partition("#")
    assert ROOT / path == PAGE
    assert anchor == rule.alert.lower(), "the anchor of a heading is its text in lower case"
    assert rule.alert in SECTIONS
    assert rule.severity in ("page", "ticket")


def test_each_page_has_its_alert() -> None:
    assert set(SECTIONS) == {rule.alert for rule in rules()}


@pytest.mark.parametrize("name", SECTIONS)
def test_a_page_says_all_there_is_to_say(name: str) -> None:
    section = SECTIONS[name]
    assert re.findall(r"^\*\*(\w+)\.\*\*(?= \S|\n\n```sh)", section, flags=re.MULTILINE) == LABELS
    typed = commands(section)
    assert typed
    for words in typed:
        if words[0] in PROGRAMS:
            assert command_of(words) in LOOKS_ONLY, "a look changes nothing"
        else:
            assert any(tuple(words[: len(known)]) == known for known in HARMLESS), " ".join(words)


def test_each_problem_of_readiness_has_its_way() -> None:
    told = SECTIONS["GatewaydNotReady"]
    on_purpose = {"out_of_hours", "maintenance", "kiosk_not_enabled"}
    assert not [name for name in set(KNOWN) - on_purpose if f"`{name}`" not in told]


def test_what_is_searched_in_the_log_is_logged() -> None:
    """Each pattern after `--grep` stands in a text of the program whose log is searched, or is systemd's own."""
    of_systemd = {"watchdog", "Main process"}
    for words in (words for section in SECTIONS.values() for words in commands(section) if "--grep" in words):
        unit = words[words.index("-u") + 1]
        source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / unit).rglob("*.py"))
        for pattern in set(words[words.index("--grep") + 1].split("|")) - of_systemd:
            assert re.search(rf'"[^"\n]*{pattern}', source), f"{unit} never logs `{pattern}`: {shlex.join(words)}"
