"""Takes the configuration anew when the service manager says so (SIGHUP): what can change at once does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import msgspec

from gatewayd.clock import Clock
from gatewayd.config import Config
from gatewayd.errors import ConfigError
from gatewayd.notify import notify

log = logging.getLogger(__name__)

AT_ONCE = "log.level"


class Reload:
    """The log's level changes at once; every other key that changed is named, and waits for a restart.

    Certificates are no part of it: their files are looked at when this is woken, and every 10 s (`Renewal`).
    """

    def __init__(self, running: Config, reread: Callable[[], Config], clock: Clock) -> None:
        self._running = running
        self._reread = reread
        self._clock = clock

    async def run(self, asked: asyncio.Event, then: Callable[[], None]) -> None:
        """Reload whenever the event is set, then call `then`; for as long as the daemon runs."""
        while True:
            await asked.wait()
            asked.clear()
            # sd_notify(3): with the time, systemd 253 and later know which reload has begun
            notify("RELOADING=1", f"MONOTONIC_USEC={self._clock.monotonic() * 1_000_000:.0f}")
            self.take()
            then()
            notify("READY=1")

    def take(self) -> None:
        """Read the file again. A bad one changes nothing."""
        try:
            wanted = self._reread()
        except ConfigError as error:
            log.error("configuration not reloaded: %s", error)  # noqa: TRY400 - the message says it all
            return
        logging.getLogger().setLevel(wanted.log.level.upper())
        waiting = [key for key in changed(self._running, wanted) if key != AT_ONCE]
        log.info("configuration reloaded", extra={"log_level": wanted.log.level, "waiting_for_restart": waiting})


def changed(old: msgspec.Struct, new: msgspec.Struct, prefix: str = "") -> Iterator[str]:
    """Yield the keys, as `section.key`, that have different values."""
    for name in old.__struct_fields__:
        one, other = getattr(old, name), getattr(new, name)
        if isinstance(one, msgspec.Struct):
            yield from changed(one, other, f"{prefix}{name}.")
        elif one != other:
            yield prefix + name
