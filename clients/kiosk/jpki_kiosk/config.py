"""The configuration: a TOML file, every key of which may be given on the command line instead."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

Panel = Literal["1024x768", "1280x800", "1080x1920"]
PANELS: tuple[str, ...] = get_args(Panel)
LOG_LEVELS = ("debug", "info", "warning", "error")
LOOPBACK = ("127.0.0.1", "[::1]")


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. The example is systemd/kiosk/jpki-kiosk.toml."""

    gateway: str = "unix:/run/gatewayd/api.sock"  # the daemon's socket for front-ends
    listen: str = "127.0.0.1:8180"  # loopback only; port 0: chosen, and told in the line "serving"
    state_directory: str = "/var/lib/jpki-kiosk"  # holds the id of a running attempt, and nothing else
    panel: str = "1024x768"  # pixels; the sizes of the panels are in the style sheet
    log_level: str = "info"  # no level shows a secret

    @property
    def host(self) -> str:
        """Where it listens, without the port."""
        return self.listen.rpartition(":")[0]

    @property
    def port(self) -> int:
        """0: chosen when it starts."""
        return int(self.listen.rpartition(":")[2])


def load(path: Path | None, **given: str | None) -> Config:
    """Return the file's configuration, with what was given beside it. Raises ConfigError."""
    values: dict[str, Any] = {}
    source = str(path) if path else "command line"
    try:
        if path is not None:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        values |= {key: value for key, value in given.items() if value is not None}
        config = msgspec.convert(values, Config)
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source}: not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from error
    if problem := _problem(config):
        raise ConfigError(f"{source}: {problem}")
    return config


def _problem(config: Config) -> str:
    host, _, port = config.listen.rpartition(":")
    if host not in LOOPBACK:
        return f"only {' and '.join(LOOPBACK)} are served - at `$.listen`"
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        return f"`{config.listen}` is not host:port - at `$.listen`"
    if not config.gateway.startswith("unix:"):
        return f"`{config.gateway}` is not unix:PATH - at `$.gateway`"
    if config.panel not in PANELS:
        return f"`{config.panel}` is none of {', '.join(PANELS)} - at `$.panel`"
    if config.log_level not in LOG_LEVELS:
        return f"`{config.log_level}` is not a level - at `$.log_level`"
    return ""
