"""The composition root of the service."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import json
import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from centrald.certificates import UserAuthority, load_roots
from centrald.clock import Clock, SystemClock
from centrald.config import Config
from centrald.errors import ConfigError
from centrald.logs import tell_loop_fault
from centrald.masterkeys import KeyRing
from centrald.metrics import Metrics
from centrald.monitor import Monitor, look_at_certificates, look_at_guards
from centrald.revocation import Revocations, Role, all_roots
from centrald.rpc.refusal import ErrorReason
from centrald.rpc.server import Listeners
from centrald.rpc.tls import TlsFiles
from centrald.service.cards import Trust
from centrald.service.guards import CryptogramGuard, PhoneGuard
from centrald.service.kiosks import KioskCalls
from centrald.service.phones import PhoneCalls
from centrald.service.purge import Purge, look_at_purge
from centrald.storage.database import Database

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running service is."""

    kiosk_address: str
    phone_address: str
    metrics_address: str


class Centrald:
    """One running service; `start` gives its addresses, `stop` ends it."""

    def __init__(self, directory: Path, config: Config, clock: Clock | None = None) -> None:
        self._directory = directory
        self._config = config
        storage = config.storage
        self.database = Database.open(storage.url, directory, clock, service=True, connections=storage.connections)
        self._clock = clock or SystemClock()
        self._ring: KeyRing | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: Listeners | None = None
        self._metrics = make_metrics()
        self._scrapes: Scrapes | None = None
        self.database.watcher = self._metrics

    async def start(self) -> Addresses:
        """Serve both listeners and the metrics; returns where. Raises ConfigError."""
        config = self._config
        await self.database.check_revision()
        keys, limits = config.keys, config.limits
        self._ring = await asyncio.to_thread(KeyRing.open, self._directory, keys.master, keys.ring)
        users = UserAuthority.load(self._directory / keys.user_authority)
        revocations = revocations_of(self._directory, config)
        await asyncio.to_thread(revocations.load, self._clock.now())
        self._tasks = [asyncio.create_task(revocations.watch(self._clock.now, config.revocation.look_seconds))]
        trust = Trust(users, revocations)
        guard = PhoneGuard(limits.address(), limits.certificate())
        cryptograms = CryptogramGuard()
        self._listeners = Listeners(
            KioskCalls(self.database, self._ring, trust, config.service.hours(), cryptograms),
            PhoneCalls(self.database, trust, limits.open_challenges, guard, self._clock),
            limits.concurrent_calls,
            self._metrics,
        )
        kiosks, phones = await self._listeners.start(config.listen.kiosks, config.listen.phones, self._tls())
        monitor = Monitor(self.database, self._metrics, self._listeners.serving)
        monitor.looks += [
            look_at_certificates(self._metrics, self._certificates()),
            look_at_guards(self._metrics, guard, cryptograms, revocations, self._clock),
        ]
        monitor.looks.append(look_at_purge(self.database, self._metrics.purge_done))
        self._tasks.append(asyncio.create_task(monitor.run()))
        if (every := config.retention.every()) is not None:
            purge = Purge(self.database, config.retention.keep(), every, self._metrics.forgotten)
            self._tasks.append(asyncio.create_task(purge.run()))
        self._scrapes = Scrapes(self._metrics, config.metrics.address)
        return Addresses(kiosks, phones, self._scrapes.address)

    async def stop(self) -> None:
        """Finish what runs, then close the database. Safe to call after a failed start."""
        try:
            if self._listeners is not None:
                await self._listeners.stop(self._config.limits.stop_seconds)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._scrapes is not None:
                self._scrapes.close()
            if self._ring is not None:
                self._ring.close()
            await self.database.close()

    def _tls(self) -> TlsFiles:
        tls, directory = self._config.tls, self._directory
        return TlsFiles(directory / tls.certificate, directory / tls.key, directory / tls.kiosk_authority)

    def _certificates(self) -> dict[str, Path]:
        return {role: self._directory / name for role, name in self._config.certificates().items()}


class Scrapes:
    """Serves the metrics on a thread of its own, which answers while the loop is stuck."""

    def __init__(self, metrics: Metrics, address: str) -> None:
        """Raises ConfigError."""
        host, _, port = address.rpartition(":")
        try:
            self._server, self._thread = start_http_server(int(port), host.strip("[]"), registry=metrics.registry)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot serve metrics on {address}: {error} - at `$.metrics.address`") from error
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Serve them no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def make_metrics() -> Metrics:
    """Return the metrics on a registry of their own, with those of process and interpreter."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return Metrics(registry, version("jpki-centrald"), [reason.name for reason in ErrorReason])


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
    asyncio.get_running_loop().set_exception_handler(tell_loop_fault)
    with stop_signals() as stopping:
        service = Centrald(directory, config)
        try:
            addresses = asdict(await service.start())
            gc.collect()
            gc.freeze()  # what is there by now stays: the collector need not look at it again and again
            _log.info("serving", extra=addresses)
            announce(json.dumps({"event": "serving", **addresses}))
            await stopping.wait()
            _log.info("stopping")
        finally:
            await service.stop()
        _log.info("stopped")


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set; afterwards both are ignored for the rest of the process's life.

    A loop's own handlers give a signal its default back when the loop is closed: one more signal would then kill a
    process that has done all its work.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if not asked:  # a flood of signals would leave the loop no time for the stop
            asked = True
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
