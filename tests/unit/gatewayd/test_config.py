from __future__ import annotations

from pathlib import Path

import pytest

from gatewayd.config import load
from gatewayd.errors import ConfigError

GOOD = """
[reader]
name = "Kiosk 00 00"
[central]
address = "central.example:7443"
certificate = "kiosk.pem"
key = "kiosk.key"
authority = "server-ca.pem"
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "gatewayd.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_not_said_has_its_default(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    assert config.reader.name == "Kiosk 00 00"
    assert config.api.socket == "/run/gatewayd/api.sock"
    assert config.operators.socket == "/run/gatewayd/operators/api.sock"
    assert config.metrics.address == "127.0.0.1:9464"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "\n[journal]\npaht = 'x'\n", "unknown field `paht` - at `$.journal`"),
        (GOOD + "\n[jurnal]\n", "unknown field `jurnal`"),
        (GOOD.replace('"Kiosk 00 00"', "7"), "Expected `str`, got `int` - at `$.reader.name`"),
        (GOOD.replace("[reader]\nname", "[reader]\n#name").replace('name = "Kiosk 00 00"', ""), "`name`"),
        (GOOD.replace("central.example:7443", "central.example"), "`$.central.address`"),
        (GOOD.replace(":7443", ":70000"), "`$.central.address`"),
        (GOOD.replace(":7443", ":²"), "`$.central.address`"),
        (GOOD.replace('"Kiosk 00 00"', '""'), "`$.reader.name`"),
        (GOOD.replace('"kiosk.key"', '""'), "`$.central.key`"),
        (GOOD + '\n[metrics]\naddress = "0.0.0.0:9464"\n', "`$.metrics.address`"),
        (GOOD + '\n[metrics]\ncertificate = "m.pem"\nkey = "m.key"\n', "`$.metrics.client_authority`"),
        (GOOD + f'\n[api]\nsocket = "/{"x" * 107}"\n', "`$.api.socket`"),
        (GOOD + f'\n[operators]\nsocket = "/{"x" * 107}"\n', "`$.operators.socket`"),
        (GOOD + '\n[operators]\nsocket = "/run/gatewayd/api.sock"\n', "a socket each - at `$.operators.socket`"),
        (GOOD + '\n[log]\nlevel = "loud"\n', "`$.log.level`"),
        (
            GOOD.replace("[central]", 'pcscd_restart_request = "/r"\npcscd_restart_after_s = 150\n[central]'),
            "`$.reader.pcscd_restart_after_s`",
        ),
        (GOOD + "\nbroken", "not TOML: "),
    ],
)
def test_a_mistake_is_told_with_its_file_and_place(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "nowhere.toml")
