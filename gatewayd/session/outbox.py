"""Moves what the journal has queued to the centre, in order within an attempt, until the centre has recorded it.

What comes before that is what became of a write, and an attempt's outcome: they queue the report and the release. What
the journal cannot take is kept here and entered as soon as the journal can be written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, retry_if_result, wait_random_exponential

from gatewayd.central.port import (
    ABSENT,
    SILENT_IN_A_ROW,
    Acknowledged,
    CentralPort,
    Receipt,
    Report,
    ReservationState,
    Verdict,
    WriteOutcome,
)
from gatewayd.clock import Clock, pause
from gatewayd.errors import CentralRejected, CentralUnavailable, JournalUnavailable
from gatewayd.journal.port import JournalPort, OutboxItem

FLOOR_S = 0.5
CAP_S = 60.0

# A release says "not done" for each write without a report. Behind a report that the centre would not take, that could
# be false; the centre's own time limit makes the reservation doubtful instead.
_WITHHELD = "withheld"
_VERDICTS = {Verdict.NONE: "", Verdict.VALID: "valid", Verdict.INVALID: "invalid"}
_REFUSED = Acknowledged(Verdict.INVALID, ReservationState.NONE)

Enter = Callable[[], Awaitable[object]]  # puts something into the journal; raises JournalUnavailable

log = logging.getLogger(__name__)


class Outbox:
    """The way from the journal to the centre.

    `on_refused` is told of each card's receipt that the centre refuses, `on_moved` whenever there may be another number
    of attempts without a resolution, or of messages without an answer.
    """

    def __init__(
        self,
        journal: JournalPort,
        central: CentralPort,
        clock: Clock,
        on_refused: Callable[[], None],
        on_moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._central = central
        self._clock = clock
        self._on_refused = on_refused
        self._on_moved = on_moved
        self._wake = asyncio.Event()
        self._results: dict[tuple[str, int], Enter] = {}  # by write: what became of it, not durable yet
        self._endings: dict[str, tuple[str, str | None]] = {}  # by attempt: outcome and reason that are not durable yet
        self._heard: dict[int, Acknowledged] = {}  # by item: answers that the journal is still to be told
        self._alarmed: set[int] = set()  # items whose receipt was refused: an answer that comes again is no news
        self._complaints: dict[str, str] = {}  # by attempt: why the loop could not deliver
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def poke(self) -> None:
        """Something was queued, or the centre was heard: try now."""
        self._wake.set()

    async def finish(self, attempt_id: str, outcome: str, reason: str | None) -> None:
        """Record an attempt's outcome, now or as soon as the journal can be written.

        Raises ValueError when the journal knows what contradicts it.
        """
        try:
            await self._journal.finish(attempt_id, outcome, reason)
        except JournalUnavailable:
            log.exception("outcome not durable; it is entered as soon as it can be")
            self.finish_later(attempt_id, outcome, reason)
        else:
            self.poke()

    def finish_later(self, attempt_id: str, outcome: str, reason: str | None) -> None:
        """Record an attempt's outcome when the journal can be written again, if it knows the attempt then."""
        self._endings[attempt_id] = (outcome, reason)
        self.poke()

    def result_later(self, attempt_id: str, n: int, enter: Enter) -> None:
        """Enter what became of write `n` when the journal can be written again: a receipt is sent in any case."""
        self._results[attempt_id, n] = enter
        self.poke()

    def is_to_end(self, attempt_id: str) -> bool:
        """Whether an outcome of this attempt waits for the journal, in which its id stands perhaps."""
        return attempt_id in self._endings

    async def deliver(self, item: OutboxItem) -> Acknowledged | None:
        """Send the item now, after what its attempt had queued before; None when the centre gave no answer.

        A report that the centre rejects comes back as one with an invalid receipt does: heard, and not believed. What
        could not be delivered is left to `run`. So is the journal's entry of a valid receipt: the outcome, which is to
        be shown, comes first. After a stop in between the report is sent again, and answered the same.
        """
        try:
            async with self._lock(item.attempt_id):
                try:
                    answers = await self._send_waiting(item.attempt_id, at_once=True)
                except JournalUnavailable:  # silence of the disk is none of the centre's: the item itself is at hand
                    answers = {}
                # Not among them: `run` was faster. The same content has the same answer and no second effect.
                return answers.get(item.item_id) or await self._send(item)
        except CentralUnavailable as error:
            log.warning("not delivered", extra={"attempt_id": item.attempt_id, "kind": item.kind, "why": str(error)})
            self.poke()
            return None

    async def run(self) -> None:
        """Deliver until cancelled: at once when poked, else with growing pauses of at most 60 s while any is left."""
        while True:
            self._wake.clear()
            pauses = AsyncRetrying(
                retry=retry_if_result(bool),
                wait=wait_random_exponential(multiplier=1, min=FLOOR_S, max=CAP_S),
                sleep=self._rest,
            )
            await pauses(self._drain)
            await self._wake.wait()

    async def flush(self) -> None:
        """Send everything once, without waiting for what was not delivered."""
        await self._drain()

    async def _drain(self) -> bool:
        """Send everything once, oldest attempt first; tell whether something is left to send."""
        self._on_moved()
        try:
            await self._enter_results()
            await self._enter_endings()
            items = await self._journal.pending()
            silent = 0
            for attempt_id in dict.fromkeys(item.attempt_id for item in items if not item.rejected):
                try:
                    async with self._lock(attempt_id):
                        await self._send_waiting(attempt_id)
                    self._complaints.pop(attempt_id, None)
                    silent = 0
                except CentralUnavailable as error:
                    self._complain(attempt_id, str(error))
                    silent = silent + 1 if error.detail in ABSENT else 0
                    if silent == SILENT_IN_A_ROW:  # nothing else is tried now; before that it may be one attempt's own
                        break
            return any(not item.rejected for item in await self._journal.pending())
        except JournalUnavailable:
            return True
        finally:
            self._on_moved()

    async def _enter_results(self) -> None:
        """Enter what could not be. Raises JournalUnavailable, and keeps the rest."""
        for write, enter in list(self._results.items()):
            try:
                await enter()
            except ValueError:
                log.exception("the journal contradicts a result", extra={"attempt_id": write[0], "n": write[1]})
            if self._results.get(write) is enter:  # and not what came of it later
                del self._results[write]

    async def _enter_endings(self) -> None:
        """Enter what could not be. Raises JournalUnavailable, and keeps the rest."""
        for attempt_id, (outcome, reason) in list(self._endings.items()):
            if await self._journal.attempt(attempt_id) is None:
                outcome = "none"  # the attempt itself never became durable
            else:
                try:
                    await self._journal.finish(attempt_id, outcome, reason)
                except ValueError:  # an entry that had failed became durable after all, and says less than was known
                    outcome = "unknown"
                    with contextlib.suppress(ValueError):
                        await self._journal.finish(attempt_id, outcome, "outcome_unresolved")
            self._endings.pop(attempt_id, None)  # the last round before a stop runs beside the loop
            log.info("outcome no longer waits for the journal", extra={"attempt_id": attempt_id, "outcome": outcome})

    async def _send_waiting(self, attempt_id: str, *, at_once: bool = False) -> dict[int, Acknowledged]:
        """Send what the attempt has queued, in order; return the centre's answers by item. The caller has the lock."""
        answers = {}
        queue = [item for item in await self._journal.pending() if item.attempt_id == attempt_id]
        doubtful = any(item.rejected for item in queue if item.kind == "report")
        for item in queue:
            if item.rejected:
                continue
            if doubtful and item.kind == "release":
                await self._reject(item, _WITHHELD)
                continue
            answer = answers[item.item_id] = await self._send(item, at_once=at_once)
            doubtful = doubtful or answer is _REFUSED
        return answers

    async def _send(self, item: OutboxItem, *, at_once: bool = False) -> Acknowledged:
        try:
            answer = self._heard.pop(item.item_id, None) or await self._ask(item)
        except CentralRejected as error:
            await self._reject(item, error.code)
            return _REFUSED
        if answer.verdict is Verdict.INVALID:
            self._refused(item, answer.verdict.value)
        if answer.verdict is Verdict.VALID and at_once:
            self._heard[item.item_id] = answer
            return answer
        try:
            await self._journal.acknowledged(item.item_id, _VERDICTS[answer.verdict])
        except JournalUnavailable:  # it will be sent again, and answered the same
            log.warning("delivered, and not recorded so", extra={"attempt_id": item.attempt_id, "kind": item.kind})
        return answer

    async def _ask(self, item: OutboxItem) -> Acknowledged:
        if item.kind == "release":
            return Acknowledged(Verdict.NONE, await self._central.release_attempt(item.attempt_id))
        return await self._central.report_outcome(_report(item))

    async def _reject(self, item: OutboxItem, code: str) -> None:
        said = "rejected by the centre" if code != _WITHHELD else "withheld, for a report before it was rejected"
        log.error(said, extra={"attempt_id": item.attempt_id, "kind": item.kind, "n": item.n, "code": code})
        if item.outcome == WriteOutcome.DONE.value:
            self._refused(item, code)
        try:
            await self._journal.rejected(item.item_id, code)
        except JournalUnavailable:
            log.warning("rejected, and not recorded so", extra={"attempt_id": item.attempt_id, "kind": item.kind})

    def _refused(self, item: OutboxItem, why: str) -> None:
        """Alarm: a card said that it was changed, and the centre does not believe it. The journal makes it unknown."""
        if item.item_id in self._alarmed:
            return
        self._alarmed.add(item.item_id)
        log.error(
            "the centre refuses the card's receipt", extra={"attempt_id": item.attempt_id, "n": item.n, "why": why}
        )
        self._on_refused()

    def _complain(self, attempt_id: str, why: str) -> None:
        """Say what keeps an attempt's messages here: once, not in each round."""
        if self._complaints.get(attempt_id) != why:
            self._complaints[attempt_id] = why
            log.warning("not delivered", extra={"attempt_id": attempt_id, "why": why})

    async def _rest(self, seconds: float) -> None:
        """Pause, or less when poked."""
        await pause(self._clock, seconds, self._wake)
        self._wake.clear()

    def _lock(self, attempt_id: str) -> asyncio.Lock:
        return self._locks.setdefault(attempt_id, asyncio.Lock())


def _report(item: OutboxItem) -> Report:
    outcome = WriteOutcome(item.outcome)
    receipt = Receipt(item.chaining_value, item.r_mac) if outcome is WriteOutcome.DONE else None
    return Report(item.attempt_id, item.n, outcome, receipt, item.status_word)
