"""What each part is distributed as: a wheel that carries the licence, and nothing that is not its own."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[2]
# Folder of each part → the packages that it installs.
PARTS = {
    ".": {"gatewayd", "gatewayctl"},
    "centrald": {"centrald"},
    "cardsim": {"cardsim"},
    "clients/kiosk": {"jpki_kiosk"},
    "clients/phone": {"jpki_phone"},
    "protos": {"jpkireset"},
}


@pytest.mark.parametrize("part", PARTS)
def test_a_wheel_has_the_licence_and_its_own_packages_only(part: str, tmp_path: Path) -> None:
    source = ROOT / part
    if part == "protos":  # its build makes the stubs anew, which other tests are using
        source = shutil.copytree(source, tmp_path / part, ignore=shutil.ignore_patterns("gen", "gen.*"))
    (built,) = WheelBuilder(str(source)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        names = wheel.namelist()
        (licence,) = (name for name in names if name.endswith("LICENSE"))
        assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert licence.partition("/")[2] == "licenses/LICENSE"
    installed = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert installed == PARTS[part]
    assert not [name for name in names if name.endswith(("pyproject.toml", ".pyc"))]
