"""The configuration file and registry entries: what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from centrald import registry
from centrald.config import CONFIG_NAME, Config, load, template
from centrald.errors import ConfigError
from centrald.rules.model import Procedure

ENTRY: dict[str, Any] = {
    "user_certificate_serial": "0A0B0C0D",
    "user_authority_key_id": "AA" * 20,
    "signing_certificate_serial": "00000001",
    "signing_not_before": "2026-01-01T00:00:00Z",
    "signing_not_after": "2031-01-01T00:00:00+09:00",
    "diversification_data": "00" * 10,
    "key_versions": {"signing_password": 49},
}


def write(directory: Path, text: str) -> Path:
    (directory / CONFIG_NAME).write_text(text)
    return directory


def test_the_template_is_the_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, template(always_open=False))) == Config()
    always = load(write(tmp_path, template(always_open=True)))
    assert (always.service.opens, always.service.closes) == ("00:00", "24:00")
    assert load(write(tmp_path, "")) == Config()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[service]\nopen = '06:30'", "`open` - at `$.service`"),
        ("[listen]\nkiosks = 1", "$.listen.kiosks"),
        ("[limits]\nconcurrent_calls = 0", "$.limits.concurrent_calls"),
        ("[service]\nopens = '25:00'", "25:00"),
        ("[service]\nopens = '12:00'\ncloses = '12:00'", "before"),
        ("[service]\ntimezone = 'Asia/Nowhere'", "Nowhere"),
        ("nonsense", CONFIG_NAME),
    ],
)
def test_a_wrong_file_is_named_with_the_key(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(write(tmp_path, text))
    assert named in str(raised.value)


def test_a_directory_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="centrald init"):
        load(tmp_path)


def test_a_registry_entry_one_or_many() -> None:
    (card,) = registry.parse(json.dumps(ENTRY, indent=2))
    assert (card.certificate.serial, card.certificate.authority_key_id) == ("a0b0c0d", "aa" * 20)
    assert card.key_versions == {Procedure.SIGNING_PASSWORD: 49}
    other = ENTRY | {"user_certificate_serial": "2"}
    lines = f"{json.dumps(ENTRY)}\n\n{json.dumps(other)}\n"
    assert [one.certificate.serial for one in registry.parse(lines)] == ["a0b0c0d", "2"]


@pytest.mark.parametrize(
    "change",
    [
        {"diversification_data": "00"},
        {"diversification_data": "0" * 19},
        {"key_versions": {"signing_password": 0}},
        {"key_versions": {"signing_password": 128}},
        {"key_versions": {}},
        {"user_certificate_serial": "x"},
        {"signing_not_after": "2031-01-01T00:00:00"},
        {"surplus": 1},
    ],
)
def test_a_broken_registry_entry_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        registry.parse(json.dumps(ENTRY | change))
    with pytest.raises(ConfigError, match="line 2"):
        registry.parse(f"{json.dumps(ENTRY)}\n{json.dumps(ENTRY | change)}")


def test_no_entry_at_all() -> None:
    with pytest.raises(ConfigError):
        registry.parse("")
