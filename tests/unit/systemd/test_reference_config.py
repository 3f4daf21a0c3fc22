"""The reference configuration has every key there is, each with what it is, its unit and its default."""

from __future__ import annotations

import json
import re
import tomllib

import msgspec
import pytest

from gatewayd.config import Config, load
from tests.rig.process import ROOT

REFERENCE = ROOT / "systemd/gatewayd.toml"
KINDS = re.compile(r"\b(Text|Path|PEM file|host:port|Seconds|debug, info, warning or error)\b")


def described() -> dict[str, str]:
    """Return the comment above each key, by `section.key`."""
    found: dict[str, str] = {}
    section, comment = "", ""
    for line in REFERENCE.read_text().splitlines():
        if line.startswith("["):
            section, comment = line.strip("[]"), ""
        elif line.startswith("#"):
            comment += line.lstrip("# ") + "\n"
        elif key := re.match(r"(\w+) = ", line):
            found[f"{section}.{key[1]}"] = comment
            comment = ""
    return found


def keys() -> dict[str, msgspec.structs.FieldInfo]:
    """Return every key of the configuration, by `section.key`."""
    return {
        f"{section.encode_name}.{field.encode_name}": field
        for section in msgspec.structs.fields(Config)
        for field in msgspec.structs.fields(section.type)
    }


def test_it_is_good() -> None:
    config = load(REFERENCE)
    assert config.api.group == "gatewayd-clients"


def test_it_has_every_key_and_no_other() -> None:
    sections = tomllib.loads(REFERENCE.read_text())
    written = {f"{section}.{key}" for section, values in sections.items() for key in values}
    assert written == set(keys()) == set(described())


@pytest.mark.parametrize("key", sorted(keys()))
def test_each_key_says_what_it_is_and_what_it_is_without_being_set(key: str) -> None:
    comment, default = described()[key], keys()[key].default
    assert KINDS.search(comment), comment
    if key.endswith("_s"):
        assert "Seconds" in comment
    if default is msgspec.NODEFAULT:
        assert "No default." in comment
    else:
        shown = f"{default:g}" if isinstance(default, float) else json.dumps(default)
        assert f"Default {shown}." in comment
