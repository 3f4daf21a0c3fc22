"""The composition root of the service."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from centrald.certificates import UserAuthority, load_roots
from centrald.clock import Clock, SystemClock
from centrald.config import Config
from centrald.errors import ConfigError
from centrald.masterkeys import KeyRing
from centrald.revocation import Revocations, Role, all_roots
from centrald.rpc.server import Listeners, TlsFiles
from centrald.service.cards import Trust
from centrald.service.guards import CryptogramGuard, PhoneGuard
from centrald.service.kiosks import KioskCalls
from centrald.service.phones import PhoneCalls
from centrald.storage.database import Database

_log = logging.getLogger(__name__)


class Centrald:
    """One running service; `start` gives its addresses, `stop` ends it."""

    def __init__(self, directory: Path, config: Config, clock: Clock | None = None) -> None:
        self._directory = directory
        self._config = config
        storage = config.storage
        self.database = Database.open(storage.url, directory, clock, service=True, connections=storage.connections)
        self._clock = clock or SystemClock()
        self._ring: KeyRing | None = None
        self._watch: asyncio.Task[None] | None = None
        self._listeners: Listeners | None = None

    async def start(self) -> tuple[str, str]:
        """Serve both listeners; returns the kiosks' and the phones' address. Raises ConfigError."""
        config = self._config
        await self.database.check_revision()
        keys, limits = config.keys, config.limits
        self._ring = await asyncio.to_thread(KeyRing.open, self._directory, keys.master, keys.ring)
        users = UserAuthority.load(self._directory / keys.user_authority)
        revocations = revocations_of(self._directory, config)
        await asyncio.to_thread(revocations.load, self._clock.now())
        self._watch = asyncio.create_task(revocations.watch(self._clock.now, config.revocation.look_seconds))
        trust = Trust(users, revocations)
        guard = PhoneGuard(limits.address(), limits.certificate())
        tls = TlsFiles(
            certificate=self._read(config.tls.certificate),
            key=self._read(config.tls.key),
            kiosk_authority=self._read(config.tls.kiosk_authority),
        )
        self._listeners = Listeners(
            KioskCalls(self.database, self._ring, trust, config.service.hours(), CryptogramGuard()),
            PhoneCalls(self.database, trust, limits.open_challenges, guard, self._clock),
            config.limits.concurrent_calls,
        )
        return await self._listeners.start(config.listen.kiosks, config.listen.phones, tls)

    async def stop(self) -> None:
        """Finish what runs, then close the database. Safe to call after a failed start."""
        try:
            if self._listeners is not None:
                await self._listeners.stop(self._config.limits.stop_seconds)
        finally:
            if self._watch is not None:
                self._watch.cancel()
                await asyncio.gather(self._watch, return_exceptions=True)
            if self._ring is not None:
                self._ring.close()
            await self.database.close()

    def _read(self, name: str) -> bytes:
        path = self._directory / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error


def revocations_of(directory: Path, config: Config) -> Revocations:
    """Return the revocation lists of the configured authorities, none read yet; raises ConfigError."""
    keys, revocation = config.keys, config.revocation
    roots = all_roots(
        {
            Role.USER: load_roots(directory / keys.user_authority),
            Role.SIGNING: load_roots(directory / keys.signing_authority),
        }
    )
    grace = datetime.timedelta(hours=revocation.grace_hours)
    return Revocations(directory / revocation.folder, roots, required=revocation.required, grace=grace)


async def serve(directory: Path, config: Config, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; announces one JSON line when both listeners serve."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    service = Centrald(directory, config)
    try:
        kiosks, phones = await service.start()
        _log.info("serving", extra={"kiosk_address": kiosks, "phone_address": phones})
        announce(json.dumps({"event": "serving", "kiosk_address": kiosks, "phone_address": phones}))
        await stopping.wait()
        _log.info("stopping")
    finally:
        await service.stop()
    _log.info("stopped")
