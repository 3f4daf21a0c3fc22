"""The packages that the kiosk's package carries: what its distributions need, in the versions that are tested."""

from __future__ import annotations

import re
import tomllib

from tests.rig.process import ROOT

LOCKED = re.compile(r"^(\S+)==(\S+)", flags=re.MULTILINE)
NAME = re.compile(r"^[a-z][a-z0-9-]*")


def names(lines: list[str]) -> set[str]:
    return {found[0] for line in lines if (found := NAME.match(line))}


def test_it_names_what_the_distributions_need() -> None:
    needed: set[str] = set()
    for project in (ROOT / "pyproject.toml", ROOT / "protos/pyproject.toml"):
        needed |= names(tomllib.loads(project.read_text())["project"]["dependencies"])
    assert names((ROOT / "requirements/kiosk.in").read_text().splitlines()) == needed - {"jpkireset"}


def test_it_has_the_versions_that_are_tested() -> None:
    kiosk, tested = (dict(LOCKED.findall((ROOT / f"requirements/{name}.txt").read_text())) for name in ("kiosk", "dev"))
    assert kiosk
    assert {name: version for name, version in kiosk.items() if tested.get(name) != version} == {}
