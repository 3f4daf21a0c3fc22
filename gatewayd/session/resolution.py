"""Asks the centre what became of the attempts that ended unknown, until it knows."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from gatewayd.central.port import ABSENT, SILENT_IN_A_ROW, CentralPort, ReservationState
from gatewayd.clock import Clock
from gatewayd.errors import CentralUnavailable, JournalUnavailable
from gatewayd.journal.port import JournalPort

INTERVAL_S = 3600.0
AGAIN_S = 60.0  # after a centre or a journal that did not answer

# What the state of its reservation says of an attempt. Any other state says nothing yet.
RESOLUTIONS = {
    ReservationState.USED: "done",
    ReservationState.RESERVED: "not_done",
    ReservationState.CLOSED_UNKNOWN: "closed_unknown",
}

log = logging.getLogger(__name__)


class Resolution:
    """The hourly question; the same card placed at any kiosk is what answers it. `on_moved` is told of each answer."""

    def __init__(
        self, journal: JournalPort, central: CentralPort, clock: Clock, on_moved: Callable[[], None] = lambda: None
    ) -> None:
        self._journal = journal
        self._central = central
        self._clock = clock
        self._on_moved = on_moved

    async def run(self) -> None:
        """Ask at once and then every hour, for as long as the daemon runs."""
        while True:
            pause = INTERVAL_S
            try:
                await self.ask()
            except (CentralUnavailable, JournalUnavailable) as error:
                log.warning("unresolved attempts not asked for", extra={"why": str(error)})
                pause = AGAIN_S
            await self._clock.sleep(pause)

    async def ask(self) -> None:
        """Ask once for each unresolved attempt. Raises CentralUnavailable when nobody is there, JournalUnavailable."""
        silent = list[CentralUnavailable]()
        for record in await self._journal.unresolved():
            try:
                state = await self._central.get_attempt(record.attempt_id)
            except CentralUnavailable as error:
                silent = [*silent, error] if error.detail in ABSENT else []
                if len(silent) == SILENT_IN_A_ROW:
                    break
                # The trouble of one attempt keeps no other waiting.
                log.warning("not told of an attempt", extra={"attempt_id": record.attempt_id, "why": error.detail})
                continue
            silent = []
            if resolution := RESOLUTIONS.get(state):
                with contextlib.suppress(ValueError):  # a receipt that arrived meanwhile has resolved it, for good
                    await self._journal.resolve(record.attempt_id, resolution)
                    log.info("resolved", extra={"attempt_id": record.attempt_id, "resolution": resolution})
                self._on_moved()
        if silent:
            raise silent[-1]
