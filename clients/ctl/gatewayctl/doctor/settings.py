"""The daemon's configuration, as far as the doctor needs it: read leniently, so that a bad key hides nothing else."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULTS: dict[tuple[str, str], str] = {  # the daemon's own; a test holds them equal
    ("api", "socket"): "/run/gatewayd/api.sock",
    ("api", "group"): "",
    ("operators", "socket"): "/run/gatewayd/operators/api.sock",
    ("operators", "group"): "",
    ("central", "server_name"): "",
    ("journal", "path"): "/var/lib/gatewayd/journal.db",
    ("metrics", "address"): "127.0.0.1:9464",
}


@dataclass(frozen=True)
class Settings:
    """What the file says. A required key that is missing is an empty text."""

    api_socket: Path
    api_group: str
    operators_socket: Path
    operators_group: str
    reader: str
    central_address: str
    certificate: Path
    key: Path
    authority: Path
    server_name: str
    journal: Path
    metrics_address: str
    wrong: tuple[str, ...] = ()  # keys whose value is none: the default stands in its place here, not in the daemon


class Unreadable(Exception):
    """The configuration cannot be used; the text says why. `hidden` when only the right to read it is missing."""

    def __init__(self, why: str, *, hidden: bool = False) -> None:
        super().__init__(why)
        self.hidden = hidden


def read(path: Path) -> Settings:
    """Read the file. Raises Unreadable."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except PermissionError:
        raise Unreadable(f"{path} may not be read by this user.", hidden=True) from None
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path} is not TOML: {error}.") from None

    wrong: list[str] = []

    def text(section: str, key: str) -> str:
        table: Any = tables.get(section, {})
        value = table.get(key) if isinstance(table, dict) else table
        default = DEFAULTS.get((section, key), "")
        if value is None:
            return default
        if isinstance(value, str) and "\0" not in value and (value or not default):
            return value
        wrong.append(f"{section}.{key}" if isinstance(table, dict) else section)
        return default

    settings = Settings(
        api_socket=Path(text("api", "socket")),
        api_group=text("api", "group"),
        operators_socket=Path(text("operators", "socket")),
        operators_group=text("operators", "group"),
        reader=text("reader", "name"),
        central_address=text("central", "address"),
        certificate=Path(text("central", "certificate")),
        key=Path(text("central", "key")),
        authority=Path(text("central", "authority")),
        server_name=text("central", "server_name"),
        journal=Path(text("journal", "path")),
        metrics_address=text("metrics", "address"),
    )
    required = (("reader", "name"), *(("central", key) for key in ("address", "certificate", "key", "authority")))
    missing = [f"{section}.{key}" for section, key in required if not text(section, key)]
    if missing:
        raise Unreadable(f"{path} lacks {', '.join(missing)}.")
    return dataclasses.replace(settings, wrong=tuple(dict.fromkeys(wrong)))
