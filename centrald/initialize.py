"""Makes what a new service needs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from centrald import pki
from centrald.cardkeys import FileMasterKey
from centrald.certificates import load_roots
from centrald.clock import Clock, SystemClock
from centrald.config import CONFIG_NAME, Config, Storage, template
from centrald.errors import AlreadyThere
from centrald.files import write_new
from centrald.revocation import SUFFIX
from centrald.storage.database import Database, parse

_FOLDERS = ("keys", "authority", "tls")
KIOSK_AUTHORITY = ("tls/kiosk-ca.pem", "tls/kiosk-ca.key")
SERVER_AUTHORITY = "tls/server-ca.pem"
SERVER_AUTHORITY_KEY = "tls/server-ca.key"


def initialize(
    directory: Path,
    server_names: list[str],
    *,
    always_open: bool,
    clock: Clock | None = None,
    storage_url: str = Storage().url,
) -> list[str]:
    """Make keys, test authority, TLS certificates, tables and configuration; raises AlreadyThere, ConfigError.

    Returns the files, relative to the directory. The configuration is written last: without it nothing serves. A second
    service on one PostgreSQL begins with a copy of the first one's directory: tables that are there are refused.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise AlreadyThere(f"{directory} is not empty")
    parse(storage_url)
    for folder in _FOLDERS:
        (directory / folder).mkdir(mode=0o700)
    config = Config()
    FileMasterKey.create(directory / config.keys.master)
    clock = clock or SystemClock()
    now = clock.now()
    for name, unit in (("user", "JPKI for user authentication"), ("sign", "JPKI for digital signature")):
        issued = pki.card_authority(unit, now)
        issued.write(directory / f"authority/{name}-ca.pem", directory / f"authority/{name}-ca.key")
        (key_id,) = load_roots(directory / f"authority/{name}-ca.pem")
        empty = pki.empty_revocation_list(issued)
        write_new(directory / f"authority/{key_id}{SUFFIX}", empty, mode=0o600)  # where `crl import` puts the next
    server_authority = pki.tls_authority("centrald server authority", now)
    server_authority.write(directory / SERVER_AUTHORITY, directory / SERVER_AUTHORITY_KEY)
    server = pki.server_certificate(server_authority, server_names, now)
    server.write(directory / config.tls.certificate, directory / config.tls.key)
    kiosk_authority = pki.tls_authority("centrald kiosk authority", now)
    kiosk_authority.write(*(directory / name for name in KIOSK_AUTHORITY))
    before = os.umask(0o077)  # the database file, and by it the files beside it, are the owner's
    try:
        asyncio.run(_make_tables(storage_url, directory))
    finally:
        os.umask(before)
    write_new(directory / CONFIG_NAME, template(always_open=always_open, storage_url=storage_url).encode(), mode=0o600)
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


async def _make_tables(url: str, directory: Path) -> None:
    database = Database.open(url, directory, service=True)
    try:
        if await database.revision() is not None:
            raise AlreadyThere("the database holds tables already")
        await database.migrate()
    finally:
        await database.close()
