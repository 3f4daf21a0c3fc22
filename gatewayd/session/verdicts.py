"""What the centre's verdict on a report means for what this kiosk has said."""

from __future__ import annotations

import logging

from gatewayd.central.port import Acknowledged, Verdict
from gatewayd.journal.port import JournalPort, OutboxItem

log = logging.getLogger(__name__)


class Verdicts:
    """Keeps what the centre learnt after an attempt had ended."""

    def __init__(self, journal: JournalPort) -> None:
        self._journal = journal

    async def keep(self, item: OutboxItem, answer: Acknowledged) -> None:
        """Resolve an unknown attempt on a valid receipt; alarm on one that is refused. Raises JournalUnavailable."""
        if answer.verdict is Verdict.INVALID:
            log.error("the centre refuses the card's receipt", extra={"attempt_id": item.attempt_id, "n": item.n})
        if answer.verdict is not Verdict.VALID:
            return
        record = await self._journal.attempt(item.attempt_id)
        if record is not None and record.outcome == "unknown":
            await self._journal.resolve(item.attempt_id, "done")
            log.info("resolved", extra={"attempt_id": item.attempt_id, "resolution": "done"})
