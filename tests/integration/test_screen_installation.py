"""The kiosk's screen as an operator installs it: from wheels, in a virtual environment of its own."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from tests.rig.process import ROOT, run
from tests.rig.screen import KioskScreen
from tests.rig.screen_installed import make_environment

STATIC = ROOT / "clients/kiosk/jpki_kiosk/static"
PROGRAM = "import jpki_kiosk, jpkireset; print(jpki_kiosk.__file__, jpkireset.__path__[0])"


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """An environment that has our two wheels, and of everything else only what the list names, in those versions."""
    environment = tmp_path / "environment"
    make_environment(environment, tmp_path, lambda source, target: target.symlink_to(source))
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
