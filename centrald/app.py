"""The composition root of the service."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from centrald.cardkeys import FileMasterKey
from centrald.certificates import UserAuthority
from centrald.clock import Clock
from centrald.config import Config
from centrald.errors import ConfigError
from centrald.rpc.server import Listeners, TlsFiles
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
        self._listeners: Listeners | None = None

    async def start(self) -> tuple[str, str]:
        """Serve both listeners; returns the kiosks' and the phones' address. Raises ConfigError."""
        config = self._config
        await self.database.check_revision()
        master = FileMasterKey.load(self._directory / config.keys.master)
        authority = UserAuthority.load(self._directory / config.keys.user_authority)
        tls = TlsFiles(
            certificate=self._read(config.tls.certificate),
            key=self._read(config.tls.key),
            kiosk_authority=self._read(config.tls.kiosk_authority),
        )
        self._listeners = Listeners(
            KioskCalls(self.database, master, authority, config.service.hours()),
            PhoneCalls(self.database, authority, config.limits.open_challenges),
            config.limits.concurrent_calls,
        )
        return await self._listeners.start(config.listen.kiosks, config.listen.phones, tls)

    async def stop(self) -> None:
        """Finish what runs, then close the database. Safe to call after a failed start."""
        try:
            if self._listeners is not None:
                await self._listeners.stop(self._config.limits.stop_seconds)
        finally:
            await self.database.close()

    def _read(self, name: str) -> bytes:
        path = self._directory / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error


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
