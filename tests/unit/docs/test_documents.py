"""Holds the documents to the repository: what they name must exist.

In backticks: paths, `make` targets, and names of the code. In ```sh blocks: programs and targets. Links have a test of
their own, and tests/system/test_documents.py runs the commands.
"""

from __future__ import annotations

import ast
import fnmatch
import functools
import itertools
import re
import shlex
import shutil
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

from centrald.config import Config

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(str(page.relative_to(ROOT)) for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
OF_THEIR_OWN = {  # too full of names of cards, libraries and measurements, which no source of ours has
    "docs/CARD-PROTOCOL.md",
    "docs/CARDSIM.md",
    "docs/METRICS.md",
    "docs/PERFORMANCE.md",
}
DOCUMENTS = [page for page in PAGES if page not in OF_THEIR_OWN]
PARTS = ("gatewayd", "clients", "centrald", "cardsim", "protos", "docs", "tests/rig")
SCRIPTS = (
    "Makefile",
    "pyproject.toml",
    "centrald/pyproject.toml",
    "cardsim/pyproject.toml",
    "clients/phone/pyproject.toml",
)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
FILE_NAME = re.compile(r"[\w.*-]+\.(py|pyi|md|toml|svg|json|jsonl|proto|sh|db|txt|pem|key|yaml|service)")
PATH = re.compile(r"[\w.*-]*/[\w./*-]*")
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
MACHINE = re.compile(r"(?<![\w./])/(home|root|work|mnt|Users)\b|\b[A-Z]:\\")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
PACKAGE = re.compile(r"jpkireset\.\w+\.v1\b\.?")
FOREIGN = ("google.rpc.", "grpc.health.", "ErrorInfo.")  # messages of others' protos
BUILTINS = {".", "cd", "export", "set"}


def prose(text: str) -> str:
    return FENCE.sub("", text)


@functools.cache
def ignored() -> set[str]:
    """Patterns for what comes to be when something is run."""
    return {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}


@functools.cache
def targets() -> set[str]:
    return set(TARGET.findall((ROOT / "Makefile").read_text()))


@functools.cache
def sources() -> dict[Path, str]:
    found = [path for part in PARTS for suffix in ("py", "proto") for path in (ROOT / part).rglob(f"*.{suffix}")]
    written = [path for path in found if "gen" not in path.parts]
    installed = [path for path in (ROOT / "systemd").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path: path.read_text() for path in [*written, *installed, *(ROOT / name for name in SCRIPTS)]}


@functools.cache
def settings() -> set[str]:
    """The keys of the daemon's and of the centre's configuration, each with its section."""
    reference = tomllib.loads((ROOT / "systemd/gatewayd.toml").read_text())
    sections = {name: set(keys) for name, keys in reference.items()}
    for field in msgspec.structs.fields(Config):
        sections[field.name] = sections.get(field.name, set()) | {
            key.name for key in msgspec.structs.fields(field.type)
        }
    return {f"{section}.{key}" for section, keys in sections.items() for key in keys}


@functools.cache
def words() -> set[str]:
    return {word for text in sources().values() for word in re.findall(r"\w+", text)}


@functools.cache
def members() -> dict[str, set[str]]:
    """What belongs to each class, module, package, message, enum and service, by the owner's bare name."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, text in sources().items():
        if path.suffix == ".py":
            owner = path.parent.name if path.stem == "__init__" else path.stem
            found[path.parent.name if owner == path.stem else path.parent.parent.name].add(owner)
            collect(found, owner, ast.parse(text).body)
        elif path.suffix == ".proto":
            for kind, body in re.findall(r"^(?:service|message|enum) (\w+) \{(.*?)^\}", text, re.MULTILINE | re.DOTALL):
                found[kind] |= set(re.findall(r"\w+", re.sub(r"//.*", "", body)))
    return found


def collect(found: dict[str, set[str]], owner: str, body: list[ast.stmt]) -> None:
    for node in body:
        match node:
            case ast.ClassDef(name=name, body=inner):
                found[owner].add(name)
                collect(found, name, inner)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[owner].add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[owner].add(name)
            case _:
                pass


def problem_of(code: str) -> str | None:
    """Say what is wrong with something in backticks; None when it holds, or names nothing of ours."""
    if code.startswith("make "):
        target = code.split()[1]
        return None if target in targets() else f"no such target: {target}"
    if PATH.fullmatch(code) or FILE_NAME.fullmatch(code):
        return path_problem(code)
    if NAME.fullmatch(code) and code not in settings():
        return name_problem(code)
    return None


def path_problem(path: str) -> str | None:
    if path.startswith("/"):
        known = any(path in text or f'"{path.strip("/")}' in text for text in sources().values())
    elif any(fnmatch.fnmatch(path.partition("/")[0], pattern) for pattern in ignored()):
        return None
    else:
        known = any(ROOT.glob(path.rstrip("/"))) or ("/" not in path and any(path in t for t in sources().values()))
    return None if known else f"no such path: {path}"


def name_problem(name: str) -> str | None:
    """Each part must belong to the one before it; a single word must occur in the sources."""
    name = PACKAGE.sub("", name)
    if not name or name.startswith(FOREIGN):
        return None
    parts = name.split(".")
    if len(parts) == 1:
        plain = name.islower() and "_" not in name
        return None if plain or name in words() else f"no such name: {name}"
    broken = [f"{owner}.{part}" for owner, part in itertools.pairwise(parts) if part not in members().get(owner, set())]
    return f"no such name: {', '.join(broken)}" if broken else None


def commands(script: str) -> list[list[str]]:
    """Split the lines of a shell block into commands, without their assignments."""
    found = []
    for line in script.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.wordchars += ":$,"
        command: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|"):
                found.append(command)
                command = []
            elif command or not ASSIGNMENT.match(word):
                command.append(word)
    return [command for command in found if command]


def program_exists(name: str) -> bool:
    name = name.removeprefix("/opt/jpki-kiosk/bin/")  # an environment that INSTALL.md makes
    beside = Path(sys.executable).parent / name
    return name in BUILTINS or beside.exists() or shutil.which(name) is not None


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_named_exists(name: str) -> None:
    found = CODE.findall(prose((ROOT / name).read_text()))
    assert not [problem for code in found if (problem := problem_of(code))]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_can_be_typed(name: str) -> None:
    scripts = [body for language, body in FENCE.findall((ROOT / name).read_text()) if language == "sh"]
    typed = [command for script in scripts for command in commands(script)]
    assert not [command for command in typed if not program_exists(command[0])]
    made = [command[1] for command in typed if command[0] == "make"]
    assert not [target for target in made if target not in targets()]


@pytest.mark.parametrize("name", PAGES)
def test_no_path_of_a_machine(name: str) -> None:
    assert not MACHINE.search((ROOT / name).read_text())


def test_the_counts_of_commands_agree() -> None:
    architecture, readme = (ROOT / "ARCHITECTURE.md").read_text(), (ROOT / "README.md").read_text()
    counts = [int(count) for count in re.findall(r"^\| `jpki\.\w+` \|.*\| (\d+) \|$", architecture, re.MULTILINE)]
    assert f"A whole reset: {sum(counts)} APDUs" in architecture
    assert f"the card saw {sum(counts)} commands" in readme, "as the demo's output has it"


def test_every_contract_of_the_imports_is_explained() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    explained = (ROOT / "ARCHITECTURE.md").read_text()
    assert not [contract["name"] for contract in contracts if f"| {contract['name']} |" not in explained]
    assert f"Contracts: {len(contracts)} kept, 0 broken." in (ROOT / "README.md").read_text()


def test_the_picture_can_be_drawn() -> None:
    picture = ET.parse(ROOT / "docs" / "overview.svg").getroot()
    assert picture.get("viewBox")
    assert "href" not in (ROOT / "docs" / "overview.svg").read_text(), "it needs no other file"


@pytest.mark.parametrize(
    "code",
    [
        "make nothing",
        "gatewayd/nothing.py",
        "nothing.md",
        "Journal.nothing",
        "jpki.nothing",
        "NoSuchName",
        "no_such_name",
    ],
)
def test_what_does_not_exist_is_found(code: str) -> None:
    assert problem_of(code)


@pytest.mark.parametrize(
    "code",
    [
        "make demo",
        "gatewayd/card/",
        ".run/env",
        "Journal.intend",
        "ResetService.ResetPassword",
        "gatewayd.card.jpki",
        "00 A4",
    ],
)
def test_what_exists_is_left_alone(code: str) -> None:
    assert problem_of(code) is None
