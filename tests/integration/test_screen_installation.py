"""The kiosk's screen as an operator installs it: from wheels, in a virtual environment of its own."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
import urllib.request
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.rig.process import ROOT, run
from tests.rig.screen import KioskScreen

STATIC = ROOT / "clients/kiosk/jpki_kiosk/static"
LOCK = ROOT / "requirements/screen.txt"
SECTION = re.compile(r"^## \d+\. The screen$.*?(?=^## )", re.MULTILINE | re.DOTALL)
UNITS = ("jpki-kiosk.service", "jpki-screen.service")
PROGRAM = "import jpki_kiosk, jpkireset; print(jpki_kiosk.__file__, jpkireset.__path__[0])"


def locked() -> list[str]:
    """The distributions that are installed beside our own two."""
    lines = LOCK.read_text().splitlines()
    return [
        line.partition("==")[0] for line in lines if re.match(r"\w", line) and "sys_platform == 'win32'" not in line
    ]


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """An environment that has our two wheels, and of everything else only what the list names, in those versions."""
    # The build of the contracts makes the stubs anew, which other tests are using.
    protos = shutil.copytree(ROOT / "protos", tmp_path / "protos", ignore=shutil.ignore_patterns("gen", "gen.*"))
    wheels = [
        next(WheelBuilder(str(part)).build(directory=str(tmp_path / "wheels"), versions=["standard"]))
        for part in (ROOT / "clients/kiosk", protos)
    ]
    environment = tmp_path / "environment"
    run([sys.executable, "-m", "venv", "--without-pip", environment])
    run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            environment / "bin/python",
            "install",
            "--no-index",
            "--no-deps",
            *wheels,
        ]
    )
    (packages,) = environment.glob("lib/python3*/site-packages")
    for name in locked():
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}:
            if not (packages / top).exists():
                (packages / top).symlink_to(str(distribution.locate_file(top)))
    return environment


def test_screen_runs_from_its_wheels(installation: Path, tmp_path: Path) -> None:
    """With every template, catalogue, font, picture and script, and with nothing of the checkout."""
    python: list[str | Path] = [installation / "bin/python", "-I", "-c"]
    for place in run([*python, PROGRAM]).split():
        assert Path(place).is_relative_to(installation)
    program = installation / "bin/jpki-kiosk"
    screen = KioskScreen(tmp_path / "none.sock", state=tmp_path / "state", log=tmp_path / "log", program=(program,))
    screen.start()
    try:
        with urllib.request.urlopen(f"{screen.address}/", timeout=10) as answer:
            page = answer.read().decode()
        assert 'data-name="daemon_down"' in page
        for file in STATIC.rglob("*"):
            if file.is_file():
                address = f"{screen.address}/static/{file.relative_to(STATIC)}"
                with urllib.request.urlopen(address, timeout=10) as answer:
                    assert answer.read() == file.read_bytes()
    finally:
        screen.close()
    package = next(installation.glob("lib/python3*/site-packages/jpki_kiosk"))
    for folder in ("locales", "templates"):
        ours = {file.relative_to(package) for file in (package / folder).rglob("*") if file.is_file()}
        theirs = STATIC.parent
        assert ours == {file.relative_to(theirs) for file in (theirs / folder).rglob("*") if file.is_file()}


def test_what_the_page_says_can_be_typed(tmp_path: Path) -> None:
    """Below another root: whatever the units name is there afterwards."""
    root = tmp_path / "root"
    for folder in ("usr/bin", "etc/systemd/system"):
        (root / folder).mkdir(parents=True)
    (tmp_path / "kiosk").symlink_to(ROOT / "systemd/kiosk")
    section = SECTION.search((ROOT / "docs/INSTALL.md").read_text())
    assert section
    typed = re.findall(r"^(?:install|ln) .+$", section[0], flags=re.MULTILINE)
    for command in typed:
        run(["sh", "-c", f"cd {tmp_path}; " + command.replace(" /", f" {root}/")])
    units = [(root / "etc/systemd/system" / unit).read_text() for unit in UNITS]
    named = re.findall(
        r"(?:^ExecStart=|^ConditionPathExists=| -- )(/(?:usr/(?:bin/jpki|lib)|etc)\S+)", "\n".join(units), re.M
    )
    assert len(named) == 3
    assert all(os.path.lexists(f"{root}{path}") for path in named)
    ours = {file for file in (ROOT / "systemd/kiosk").iterdir() if file.read_text()}
    there = {file.read_text() for file in root.rglob("*") if file.is_file()}
    assert [file.name for file in ours if file.read_text() not in there] == []
