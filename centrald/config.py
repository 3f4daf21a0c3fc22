"""The service's configuration: one TOML file in its directory, unknown keys refused with their path."""

from __future__ import annotations

import datetime
import json
import tomllib
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from centrald.errors import ConfigError
from centrald.rules.hours import Hours, minutes
from centrald.rules.limits import Rate
from centrald.rules.retention import KEEP, SHORTEST

CONFIG_NAME = "centrald.toml"

_LOOPBACK = ("127.0.0.1", "[::1]", "localhost")  # metrics are served without TLS

_Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class Listen(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the two listeners bind: address:port, port 0 takes a free one."""

    kiosks: str = "127.0.0.1:0"
    phones: str = "127.0.0.1:0"


class Service(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Opening hours, "HH:MM" to "HH:MM" in the time zone, every day; maintenance windows are in the database."""

    opens: str = "06:30"
    closes: str = "23:00"
    timezone: str = "Asia/Tokyo"

    def hours(self) -> Hours:
        """Return the hours as the rules need them; raises ConfigError."""
        try:
            opens, closes, zone = minutes(self.opens), minutes(self.closes), ZoneInfo(self.timezone)
        except (ValueError, ZoneInfoNotFoundError) as error:
            raise ConfigError(f"service: {error}") from None
        if opens >= closes:
            raise ConfigError("service.opens must be before service.closes")
        return Hours(opens, closes, zone)


class Storage(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The database, as a URL of SQLAlchemy; a relative SQLite file lies in the service's directory."""

    url: str = "sqlite+aiosqlite:///centrald.db"  # or postgresql+asyncpg://USER@/DATABASE?host=/run/postgresql
    connections: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10  # to PostgreSQL, at most; SQLite has one


class Keys(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Files, relative to the service's directory."""

    master: str = "keys/master.key"
    ring: str = "keys/ring.toml"
    user_authority: str = "authority/user-ca.pem"
    signing_authority: str = "authority/sign-ca.pem"


class Revocation(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The authorities' revocation lists: one *.crl for each."""

    folder: str = "authority"
    required: bool = True  # an authority without a list: no attempt begins
    grace_hours: Annotated[int, msgspec.Meta(ge=0, le=720)] = 24
    look_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 10.0


class Retention(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How long what is over is kept, and how often the service looks for what may be forgotten."""

    keep_days: Annotated[int, msgspec.Meta(ge=SHORTEST.days, le=36_500)] = KEEP.days
    every_hours: Annotated[float, msgspec.Meta(ge=0, le=720)] = 24.0  # 0: never by itself

    def keep(self) -> datetime.timedelta:
        """Return for how long."""
        return datetime.timedelta(days=self.keep_days)

    def every(self) -> datetime.timedelta | None:
        """Return how often; None: never."""
        return datetime.timedelta(hours=self.every_hours) if self.every_hours else None


class Tls(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Files, relative to the service's directory."""

    certificate: str = "tls/server.pem"
    key: str = "tls/server.key"
    kiosk_authority: str = "tls/kiosk-ca.pem"


class Limits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much the service takes on at once."""

    concurrent_calls: _Count = 256  # per listener
    open_challenges: _Count = 10_000  # of phones
    address_burst: _Count = 120  # calls of one phone's address at once
    address_per_minute: _Count = 60  # and after that
    certificate_burst: _Count = 5  # reservations of one certificate at once
    certificate_per_hour: _Count = 10  # and after that
    stop_seconds: Annotated[float, msgspec.Meta(gt=0, le=300)] = 5.0  # grace for running calls

    def address(self) -> Rate:
        """Return how often one address may call."""
        return Rate(self.address_burst, datetime.timedelta(minutes=1) / self.address_per_minute)

    def certificate(self) -> Rate:
        """Return how often one certificate may reserve."""
        return Rate(self.certificate_burst, datetime.timedelta(hours=1) / self.certificate_per_hour)


class MetricsAddress(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where Prometheus scrapes: address:port of this machine only, port 0 takes a free one."""

    address: str = "127.0.0.1:0"


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file."""

    listen: Listen = Listen()
    service: Service = Service()
    storage: Storage = Storage()
    keys: Keys = Keys()
    revocation: Revocation = Revocation()
    retention: Retention = Retention()
    tls: Tls = Tls()
    limits: Limits = Limits()
    metrics: MetricsAddress = MetricsAddress()

    def certificates(self) -> dict[str, str]:
        """Return the files whose certificates somebody has to renew in time, by what they are for."""
        return {
            "server": self.tls.certificate,
            "kiosk_authority": self.tls.kiosk_authority,
            "user_authority": self.keys.user_authority,
            "signing_authority": self.keys.signing_authority,
        }


def load(directory: Path) -> Config:
    """Read DIRECTORY/centrald.toml; raises ConfigError naming file and key."""
    path = directory / CONFIG_NAME
    try:
        config = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Config)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; is this a directory of `centrald init`?") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from None
    config.service.hours()
    if config.metrics.address.rpartition(":")[0] not in _LOOPBACK:
        raise ConfigError(f"{path}: metrics are served on a loopback address only - at `$.metrics.address`")
    return config


def template(*, always_open: bool, storage_url: str = Storage().url) -> str:
    """Return the text of a new configuration file."""
    opens, closes = ("00:00", "24:00") if always_open else (Service().opens, Service().closes)
    return f"""\
# The central reservation service. Relative files lie in this directory.

[listen]
kiosks = "{Listen().kiosks}"  # mutual TLS; port 0 takes a free one
phones = "{Listen().phones}"  # server TLS

[service]
opens = "{opens}"  # 00:00 to 24:00 is always open
closes = "{closes}"
timezone = "{Service().timezone}"
# Maintenance windows are announced with `centrald maintenance`.

[storage]
url = {json.dumps(storage_url)}  # or postgresql+asyncpg://USER@/DATABASE?host=/run/postgresql
connections = {Storage().connections}  # to PostgreSQL, at most

[keys]
master = "{Keys().master}"  # mode 0600; more of them: `centrald keys add`
ring = "{Keys().ring}"
user_authority = "{Keys().user_authority}"  # who issues the cards' user certificates
signing_authority = "{Keys().signing_authority}"  # and their signing certificates

[revocation]
folder = "{Revocation().folder}"  # one *.crl for each authority; `centrald crl import`
required = true  # without every authority's list no attempt begins; `init` makes empty ones for its test authority
grace_hours = {Revocation().grace_hours}  # how long a list counts on when the next one is late
look_seconds = {Revocation().look_seconds}  # how often the files are looked at

[retention]
keep_days = {Retention().keep_days}  # reservations that have been over for so long are forgotten; the ledger stays
every_hours = {Retention().every_hours}  # by one of the services; 0: only by `centrald purge`

[tls]
certificate = "{Tls().certificate}"
key = "{Tls().key}"
kiosk_authority = "{Tls().kiosk_authority}"  # who issues the kiosks' client certificates

[limits]
concurrent_calls = {Limits().concurrent_calls}  # per listener
open_challenges = {Limits().open_challenges}  # of phones, unanswered
address_burst = {Limits().address_burst}  # calls of one phone's address at once,
address_per_minute = {Limits().address_per_minute}  # and after that
certificate_burst = {Limits().certificate_burst}  # reservations of one certificate at once,
certificate_per_hour = {Limits().certificate_per_hour}  # and after that
stop_seconds = {Limits().stop_seconds}  # grace for running calls

[metrics]
address = "{MetricsAddress().address}"  # this machine only
"""
