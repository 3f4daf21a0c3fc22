"""Looks after the database all the time: health checks and metrics say what it finds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from cryptography import x509

from centrald.clock import Clock
from centrald.errors import StorageFailed
from centrald.metrics import Metrics
from centrald.revocation import Revocations
from centrald.service.guards import CryptogramGuard, PhoneGuard
from centrald.storage.database import Database

_log = logging.getLogger(__name__)

_ROUNDS = 15  # checks from one look at the rest to the next
_DOUBTS = 10_000  # counted at most; that many are a catastrophe anyway


class Monitor:
    """Tells metrics and health, until it is cancelled."""

    check_seconds = 1.0
    patience_seconds = 3.0  # a kiosk waits so long for a call, too

    def __init__(self, database: Database, metrics: Metrics, serving: Callable[[bool], Awaitable[None]]) -> None:
        self._database = database
        self._metrics = metrics
        self._serving = serving
        self._up: bool | None = None
        self.looks: list[Callable[[], Awaitable[None]]] = [self._count]

    async def run(self) -> None:
        """Check the database, and look at the rest from time to time."""
        left = 0
        while True:
            await self._check()
            if self._up and not left:
                for look in self.looks:
                    await self._try(look)
            left = _ROUNDS if not left else left - 1
            await asyncio.sleep(self.check_seconds)

    async def _check(self) -> None:
        up = await self._try(self._database.check)
        self._metrics.database(up=up)
        if up is self._up:
            return
        if not up:
            _log.error("the database takes no writes")
        elif self._up is not None:
            _log.info("the database takes writes again")
        self._up = up
        await self._serving(up)

    async def _count(self) -> None:
        async with self._database.transaction() as tx:
            counts, now = await tx.overview.counts(_DOUBTS), tx.now
        self._metrics.counts(counts, now)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do the work in time; tells whether that was possible."""
        try:
            async with asyncio.timeout(self.patience_seconds):
                await work()
        except (StorageFailed, TimeoutError):
            return False
        except Exception:  # noqa: BLE001 - whatever it is, the next look comes
            _log.exception("unhandled")
            return False
        return True


def look_at_certificates(metrics: Metrics, files: Mapping[str, Path]) -> Callable[[], Awaitable[None]]:
    """Return a look at the certificates' ends, by role; of several in a file the first end counts."""

    def look() -> None:
        for role, path in files.items():
            try:
                found = x509.load_pem_x509_certificates(path.read_bytes())
            except (OSError, ValueError):
                _log.warning("a certificate cannot be read", extra={"file": str(path)})
            else:
                metrics.certificate(role, min(one.not_valid_after_utc for one in found))

    async def apart() -> None:
        await asyncio.to_thread(look)

    return apart


def look_at_guards(
    metrics: Metrics, phones: PhoneGuard, cryptograms: CryptogramGuard, revocations: Revocations, clock: Clock
) -> Callable[[], Awaitable[None]]:
    """Return a look at who has to wait, and at the revocation lists."""

    async def look() -> None:
        now = clock.now()
        for of, total in (*phones.refused.items(), ("cryptogram", cryptograms.refused_total)):
            metrics.limited(of, total)
        metrics.paused("card", cryptograms.cards.paused(now))
        metrics.paused("kiosk", cryptograms.kiosks.paused(now))
        states = revocations.states(now)
        lists = [(one.role.value, one.authority_key_id, one.known.next_update if one.known else None) for one in states]
        metrics.revocation(lists, reliable=revocations.reliable(now))

    return look
