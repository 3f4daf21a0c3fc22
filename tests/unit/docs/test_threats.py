"""THREATS.md names a test for every mitigation, and each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TESTS = ROOT / "tests"
TEXT = (ROOT / "docs/THREATS.md").read_text(encoding="utf-8")

NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)))
TESTS_OF_A_ROW = re.compile(r"`[\w/]+\.py::\w+`(, `[\w/]+\.py::\w+`)*")
ATTACKERS = re.findall(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", TEXT, flags=re.MULTILINE | re.DOTALL)


def functions(path: Path) -> set[str]:
    found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("file", "function"), NAMED, ids=[f"{file}::{function}" for file, function in NAMED])
def test_the_named_test_exists(file: str, function: str) -> None:
    assert function.startswith("test_"), "not run by itself"
    assert (TESTS / file).is_file(), f"no such file: tests/{file}"
    assert function in functions(TESTS / file)


def test_every_attacker_is_there() -> None:
    names = [name for name, _ in ATTACKERS]
    assert len(names) == 6
    for word in ("citizen", "card", "front-end", "local user", "false centre", "disk"):
        assert any(word in name for name in names), word


@pytest.mark.parametrize(("name", "section"), ATTACKERS, ids=[name for name, _ in ATTACKERS])
def test_every_mitigation_has_its_test(name: str, section: str) -> None:
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 4
    assert not [row for row in rows if not TESTS_OF_A_ROW.fullmatch(row.rstrip("| ").rpartition(" | ")[2])]


def test_what_is_not_defended_is_said() -> None:
    said = TEXT.partition("## What is not defended")[2]
    for word in (
        "CPython cannot promise wiped memory",
        "do not invent status words",
        "face match",
        "Root on the kiosk",
    ):
        assert word in said
