"""Whether an attempt could begin now, and if not, why. Each problem clears by itself."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from gatewayd import __version__
from gatewayd.central.circuit import CircuitState
from gatewayd.central.port import Refusal, ServiceStatus
from gatewayd.clock import pause
from gatewayd.dialogue.vocabulary import State
from gatewayd.errors import CentralUnavailable, JournalUnavailable
from gatewayd.session.manager import Manager
from gatewayd.session.ports import Ports

POLL_S = 30.0  # while the centre answers
POLL_AGAIN_S = 3.0  # while it does not

log = logging.getLogger(__name__)


class Problem(Enum):
    """Why no attempt could begin; the names are those of `jpkireset.gateway.v1.ReadinessProblem`."""

    PCSC_UNAVAILABLE = "pcsc_unavailable"
    READER_UNAVAILABLE = "reader_unavailable"
    READER_STUCK = "reader_stuck"
    CENTRAL_UNAVAILABLE = "central_unavailable"
    OUT_OF_HOURS = "out_of_hours"
    MAINTENANCE = "maintenance"
    KIOSK_NOT_ENABLED = "kiosk_not_enabled"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    CARD_LEFT_BEHIND = "card_left_behind"
    DRAINING = "draining"


KNOWN = tuple(problem.value for problem in Problem)


@dataclass(frozen=True, slots=True)
class Status:
    """What the daemon knows of itself."""

    problems: tuple[Problem, ...]
    reader: str
    card_present: bool
    running_attempt_id: str
    running_state: State | None
    unresolved: int
    pending: int
    kiosk_id: str
    opens_at: datetime.datetime | None
    closes_at: datetime.datetime | None
    central_detail: str = ""  # why the centre cannot be used
    version: str = __version__


class Readiness:
    """Asks centre and journal from time to time, at once when woken, and puts the status together."""

    def __init__(self, manager: Manager, ports: Ports, wake: asyncio.Event) -> None:
        self._manager = manager
        self._ports = ports
        self._service: ServiceStatus | None = None
        self._central_word = ""  # why it did not answer
        self._journal_writable = True
        self._unresolved = 0
        self._pending = 0
        self._wake = wake
        self._told: tuple[Problem, ...] | None = None
        self._changes = 0
        self._news = asyncio.Condition()
        self._over = False

    @property
    def status(self) -> Status:
        """The status as of now."""
        session, reader = self._manager.session, self._ports.reader.state
        service = self._service
        return Status(
            problems=self._problems(),
            reader=reader.name,
            card_present=reader.card_present,
            running_attempt_id=session.attempt_id if session else "",
            running_state=session.view.shown.state if session else None,
            unresolved=self._unresolved,
            pending=self._pending,
            kiosk_id=self._ports.central.kiosk_id,
            opens_at=service.opens_at if service else None,
            closes_at=service.closes_at if service else None,
            central_detail=self._central_detail(),
        )

    async def statuses(self) -> AsyncIterator[Status]:
        """Yield the status now, and after every change, until `end_watches`."""
        last = None
        while True:
            seen = self._changes
            if (status := self.status) != last:
                yield status
                last = status
            if self._over:
                return
            async with self._news:
                await self._news.wait_for(lambda: self._changes != seen)  # noqa: B023 - evaluated in this turn only

    async def end_watches(self) -> None:
        """Let every watch end with the status of now: the daemon stops, and would wait for them."""
        self._over = True
        self._changes += 1
        async with self._news:
            self._news.notify_all()

    async def poll(self) -> None:
        """Ask centre and journal, for as long as the daemon runs."""
        while True:
            self._wake.clear()
            await self._ask()
            self._manager.changed.set()
            seconds = POLL_S if self._service and self._journal_writable else POLL_AGAIN_S
            await pause(self._ports.clock, seconds, self._wake)

    async def count(self, moved: asyncio.Event) -> None:
        """Count what the journal holds open, now and at once when told, for as long as the daemon runs."""
        while True:
            moved.clear()
            with contextlib.suppress(JournalUnavailable):  # the poll says so
                await self._count()
            self._manager.changed.set()
            await moved.wait()

    async def announce(self, tell: Callable[[tuple[Problem, ...]], Awaitable[None]]) -> None:
        """Pass changes on to metrics, log, `tell` and watchers, for as long as the daemon runs."""
        while True:
            self._manager.changed.clear()
            problems = self._problems()
            if problems != self._told:
                self._told = problems
                names = [problem.value for problem in problems]
                self._ports.metrics.ready(set(names), KNOWN)
                await tell(problems)
                log.info("ready" if not names else "not ready", extra={"problems": names})
            self._changes += 1
            async with self._news:
                self._news.notify_all()
            await self._manager.changed.wait()

    async def _ask(self) -> None:
        try:
            self._service, word = await self._ports.central.service_status(), ""
        except CentralUnavailable as error:
            self._service, word = None, error.detail
        if word != self._central_word:
            self._central_word = word
            log.info("central service", extra={"problem": word or "none"})
        if self._ports.central.clock_skew_s is not None:
            self._ports.metrics.clock_skew(self._ports.central.clock_skew_s)
        try:
            await self._ports.journal.probe()
            await self._count()
        except JournalUnavailable:
            self._journal_writable = False
        else:
            self._journal_writable = True

    async def _count(self) -> None:
        """Raises JournalUnavailable."""
        pending = await self._ports.journal.pending()
        self._pending, self._unresolved = len(pending), len(await self._ports.journal.unresolved())
        now = self._ports.clock.now()
        # By the wall clock, which alone outlives a restart; one that was set back makes nothing younger than new.
        ages = [(now - item.queued_at).total_seconds() for item in pending if item.queued_at]
        self._ports.metrics.outbox(len(pending), max([0.0, *ages]))
        self._ports.metrics.unresolved(self._unresolved)

    def _central_detail(self) -> str:
        if not self._central_word or self._ports.central.circuit is CircuitState.CLOSED:
            return self._central_word
        return f"{self._central_word}, circuit {self._ports.central.circuit.value}"

    def _problems(self) -> tuple[Problem, ...]:
        found = []
        if self._ports.reader.state.problem:
            found.append(Problem[self._ports.reader.state.problem.name])
        if self._service is None:
            found.append(Problem.CENTRAL_UNAVAILABLE)
        elif self._service.refusal in _CLOSED:
            found.append(Problem[self._service.refusal.name])
        if not self._journal_writable:
            found.append(Problem.JOURNAL_UNAVAILABLE)
        if self._manager.card_left_behind:
            found.append(Problem.CARD_LEFT_BEHIND)
        if self._manager.draining:
            found.append(Problem.DRAINING)
        return tuple(found)


_CLOSED = (Refusal.OUT_OF_HOURS, Refusal.MAINTENANCE, Refusal.KIOSK_NOT_ENABLED)
