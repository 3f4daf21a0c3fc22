"""Looks after the certificate files: new ones are taken into use without a restart, bad ones never."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from gatewayd.central.client import CentralClient
from gatewayd.clock import Clock, pause
from gatewayd.errors import CentralUnavailable, ConfigError

POLL_S = 10.0

log = logging.getLogger(__name__)


class Renewal:
    """Asks the client from time to time. `on_renewed` is told the new ends: role → Unix time."""

    def __init__(
        self,
        client: CentralClient,
        clock: Clock,
        on_renewed: Callable[[Mapping[str, float]], None],
        wake: asyncio.Event,
    ) -> None:
        self._client = client
        self._clock = clock
        self._on_renewed = on_renewed
        self._wake = wake
        self._complaint = ""

    async def run(self) -> None:
        """Look when woken and every 10 s, for as long as the daemon runs."""
        while True:
            self._wake.clear()
            await self.look()
            await pause(self._clock, POLL_S, self._wake)

    async def look(self) -> None:
        """Look once. What is wrong with new files is said once, not each time."""
        try:
            renewed = await self._client.renew()
        except (ConfigError, CentralUnavailable) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("certificates not renewed, the old ones stay in use", extra={"why": self._complaint})
            return
        self._complaint = ""
        if renewed:
            expiry = self._client.certificate_expiry
            self._on_renewed(expiry)
            log.info("certificates renewed", extra={f"{role}_expires": int(end) for role, end in expiry.items()})
