"""The configuration: one TOML file, every key known, every unit in its name or comment."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from gatewayd.errors import ConfigError

Said = Annotated[str, msgspec.Meta(min_length=1)]


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The local socket for front-ends."""

    socket: str = "/run/gatewayd/api.sock"  # path, at most 107 bytes
    group: str = ""  # group that may connect (mode 0660); empty: the daemon's own user only (0600)


class Operators(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The local socket for operators: what front-ends have no business with."""

    socket: str = "/run/gatewayd/operators/api.sock"  # path, at most 107 bytes
    group: str = ""  # group that may connect (mode 0660); empty: the daemon's own user only (0600)


class Reader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The card reader."""

    name: Said  # full PC/SC name, or the name without its " XX YY" suffix when only one reader has it
    # A reader that has been stuck for so long stops the feeding of the service manager's watchdog, whose business it is
    # to start the daemon anew. Longer than a citizen is given to lift a mute card.
    stuck_limit_s: Annotated[float, msgspec.Meta(gt=0)] = 150.0
    # A file that asks the service manager to restart pcscd, made when the reader has been unusable for so long: before
    # the last resort above, so that a reader that a restart mends costs the citizen no daemon. Empty: never asked.
    pcscd_restart_request: str = ""  # path; the package's unit watches /run/gatewayd/restart-pcscd
    pcscd_restart_after_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0  # seconds; again after twice as long each time


class Central(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The central reservation service."""

    address: Said  # host:port
    # A file's name without a leading slash is that of a credential of the service manager's (systemd.exec(5)).
    certificate: Said  # PEM file of this kiosk's certificate
    key: Said  # PEM file of its private key
    authority: Said  # PEM file of the authority that signs the centre's certificate
    server_name: str = ""  # name expected in the centre's certificate; empty: the host of the address


class JournalFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What survives a power cut."""

    path: Said = "/var/lib/gatewayd/journal.db"


class MetricsAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Prometheus scrapes."""

    address: str = "127.0.0.1:9464"  # port 0: chosen, and told in the log line "serving"
    # PEM files, read at the start; all three or none. Without them only a loopback address is served.
    certificate: str = ""
    key: str = ""
    client_authority: str = ""  # whose certificates Prometheus may come with


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is logged."""

    level: str = "info"  # debug, info, warning or error; no level shows a secret


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    reader: Reader
    central: Central
    api: Api = Api()
    operators: Operators = Operators()
    journal: JournalFile = JournalFile()
    metrics: MetricsAddress = MetricsAddress()
    log: Log = Log()


_LONGEST_SOCKET_PATH = 107  # sun_path of unix(7), less its final zero byte


def load(path: Path) -> Config:
    """Read and check the file. Raises ConfigError with the file, the key's path and what is wrong with it."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        config = msgspec.convert(raw, Config)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    for key, address in (("central.address", config.central.address), ("metrics.address", config.metrics.address)):
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ConfigError(f"{path}: `{address}` is not host:port - at `$.{key}`")
    metrics = config.metrics
    files = {"certificate": metrics.certificate, "key": metrics.key, "client_authority": metrics.client_authority}
    missing = [key for key, file in files.items() if not file]
    if 0 < len(missing) < len(files):
        raise ConfigError(f"{path}: TLS needs it, too - at `$.metrics.{missing[0]}`")
    if missing and metrics.address.rpartition(":")[0] not in ("127.0.0.1", "[::1]", "localhost"):
        raise ConfigError(f"{path}: only a loopback address is served without TLS - at `$.metrics.address`")
    for section, socket in (("api", config.api.socket), ("operators", config.operators.socket)):
        if len(socket.encode()) > _LONGEST_SOCKET_PATH:
            raise ConfigError(f"{path}: longer than {_LONGEST_SOCKET_PATH} bytes - at `$.{section}.socket`")
    if config.api.socket == config.operators.socket:
        raise ConfigError(f"{path}: front-ends and operators have a socket each - at `$.operators.socket`")
    if config.reader.pcscd_restart_request and config.reader.pcscd_restart_after_s >= config.reader.stuck_limit_s:
        raise ConfigError(f"{path}: not before `stuck_limit_s` - at `$.reader.pcscd_restart_after_s`")
    if config.log.level not in ("debug", "info", "warning", "error"):
        raise ConfigError(f"{path}: `{config.log.level}` is not a level - at `$.log.level`")
    return config
