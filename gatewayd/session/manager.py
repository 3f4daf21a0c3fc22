"""Admission and the lease: one attempt at a time, from admission until its card is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gatewayd.central.port import ServiceStatus
from gatewayd.dialogue import events as ev
from gatewayd.dialogue.machine import Shown
from gatewayd.dialogue.vocabulary import CardRequest, Outcome, Reason, State
from gatewayd.errors import JournalUnavailable
from gatewayd.journal.port import AttemptRecord, TimelineRecord
from gatewayd.logs import attempt_id as log_attempt_id
from gatewayd.reader.port import ReaderState
from gatewayd.session.performer import Performer
from gatewayd.session.ports import Ports
from gatewayd.session.reasons import reason_of
from gatewayd.session.session import Session
from gatewayd.session.view import View

SIGNING_PASSWORD = "signing_password"  # noqa: S105 - the name of the only procedure

log = logging.getLogger(__name__)


class AttemptKnown(Exception):
    """An attempt of this id has been accepted before; it is never begun again."""


class Manager:
    """Owns the lease, the running attempt and the watch over the reader."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._known: ReaderState | None = None  # the last state in which the reader could be seen
        self.session: Session | None = None
        self.card_left_behind = False  # a card lies there without an attempt that asked for it
        self.draining = False
        self.changed = asyncio.Event()  # set after every change of what the status shows

    async def open(self, attempt_id: str) -> Session | View:
        """Admit an attempt: its session, or the only view of one that was refused.

        A caller that is cancelled meanwhile is a client that went away. Raises AttemptKnown when the id was accepted
        before.
        """
        try:
            known = self._runs(attempt_id) or await self._ports.journal.attempt(attempt_id) or self._runs(attempt_id)
        except JournalUnavailable:
            log.exception("journal unavailable", extra={"attempt_id": attempt_id})
            return self._refused(attempt_id, Reason.JOURNAL_UNAVAILABLE)
        if known:
            raise AttemptKnown
        if self._ports.outbox.is_to_end(attempt_id):  # told "not done" before: this ending is not another attempt's
            return self._refused(attempt_id, Reason.JOURNAL_UNAVAILABLE)
        if reason := self._lease_refusal():
            return self._refused(attempt_id, reason)
        session = self.session = self._make_session(attempt_id)  # the lease is taken here, with no wait between
        accepting = asyncio.create_task(self._accept(session))
        try:
            opened = await asyncio.shield(accepting)  # a lease that is taken is run, or given back
        except asyncio.CancelledError:
            session.tell(ev.ClientGone())
            raise
        if opened is None:
            raise AttemptKnown
        return opened

    async def _accept(self, session: Session) -> Session | View | None:
        """Make a new attempt durable and run it; None when its id was accepted before."""
        try:
            accepted = await self._ports.journal.accept(session.attempt_id, SIGNING_PASSWORD)
        except JournalUnavailable:
            log.exception("journal unavailable", extra={"attempt_id": session.attempt_id})
            self.session = None
            # It may have become durable after all.
            self._ports.outbox.finish_later(session.attempt_id, "not_done", Reason.JOURNAL_UNAVAILABLE.name.lower())
            return self._refused(session.attempt_id, Reason.JOURNAL_UNAVAILABLE)
        if not accepted:
            self.session = None
            return None
        self._ports.spawn(self._run(session))
        return session

    async def attempt(self, attempt_id: str) -> AttemptRecord | None:
        """Return what the journal knows of an attempt. Raises JournalUnavailable."""
        return await self._ports.journal.attempt(attempt_id)

    async def attempts(self, *, unresolved_only: bool, limit: int, before: str | None) -> list[AttemptRecord]:
        """Return `limit` attempts older than the one of id `before`, newest first. Raises JournalUnavailable."""
        return await self._ports.journal.attempts(unresolved_only=unresolved_only, limit=limit, before=before)

    async def timeline(self, attempt_id: str) -> list[TimelineRecord]:
        """Return what the journal holds of an attempt, step by step. Raises JournalUnavailable."""
        return await self._ports.journal.timeline(attempt_id)

    def running_state(self, attempt_id: str) -> State | None:
        """Return the state of this attempt while it runs, else None."""
        return self.session.view.shown.state if self.session and self._runs(attempt_id) else None

    def drain(self) -> None:
        """Refuse new attempts, and end or finish the running one by its state."""
        self.draining = True
        if self.session:
            self.session.tell(ev.DrainAsked())
        self.changed.set()

    async def watch_reader(self) -> None:
        """Tell the running attempt of every card placed and lifted, for as long as the daemon runs."""
        state = self._ports.reader.state
        while True:
            self._ports.metrics.reader(up=state.problem is None, card_present=state.card_present)
            if state.problem is None:
                self._see(state)
                self._known = state
            self.changed.set()
            state = await self._ports.reader.changed(state)

    def _see(self, now: ReaderState) -> None:
        before = self._known
        if before is None:
            self.card_left_behind = now.card_present
            if now.card_present:
                log.warning("a card lies on the reader since before the start")
            return
        swapped = now.insertions != before.insertions
        if before.card_present and (swapped or not now.card_present):
            # Nobody saw a card go that was to be taken: as far as is known it lies there still, as after a restart of
            # pcscd, and whoever comes next would type the PIN for it.
            self.card_left_behind = now.card_present and (self.card_left_behind or self._blocks_with_card)
            self._tell(ev.CardLifted())
        if now.card_present and (swapped or not before.card_present):
            self._tell(ev.CardPlaced())

    @property
    def _blocks_with_card(self) -> bool:
        return self.session is not None and self.session.blocks_with_card

    def _runs(self, attempt_id: str) -> bool:
        return self.session is not None and self.session.attempt_id == attempt_id

    def _tell(self, event: ev.Event) -> None:
        if self.session:
            self.session.tell(event)

    def _lease_refusal(self) -> Reason | None:
        if self.draining:
            return Reason.DRAINING
        if self.session:
            return Reason.CARD_LEFT_BEHIND if self.session.blocks_with_card else Reason.BUSY
        return Reason.CARD_LEFT_BEHIND if self.card_left_behind else None

    def _refused(self, attempt_id: str, reason: Reason) -> View:
        self._ports.metrics.lease_refused(reason.name.lower())
        log.info("attempt refused", extra={"attempt_id": attempt_id, "reason": reason.name.lower()})
        shown = Shown(
            state=State.FINISHED,
            card_request=CardRequest.NONE,
            busy=False,
            reminder_stage=0,
            user_pin_tries=None,
            input_problem=None,
            expires_at=None,
            in_doubt=False,
            cancellable=False,
            outcome=Outcome.NOT_DONE,
            reason=reason,
        )
        return View(1, attempt_id, shown, None)

    def _make_session(self, attempt_id: str) -> Session:
        service = asyncio.create_task(self._ports.central.service_status())  # while the attempt is made durable
        service.add_done_callback(_heard)

        def make_performer(late_receipt: Callable[[], None]) -> Performer:
            return Performer(attempt_id, self._ports, admit=lambda: self._admit(service), late_receipt=late_receipt)

        return Session(
            attempt_id,
            make_performer=make_performer,
            card_present=self._ports.reader.state.card_present,
            on_view=self.changed.set,
            metrics=self._ports.metrics,
            clock=self._ports.clock,
        )

    async def _admit(self, service: asyncio.Task[ServiceStatus]) -> Reason | None:
        """Ask reader, journal and centre, all of them. Raises CentralUnavailable, JournalUnavailable."""
        if self._ports.reader.state.problem is not None:
            return Reason.READER_UNAVAILABLE
        probe = asyncio.create_task(self._ports.journal.probe())
        try:
            status = await service
        finally:
            await probe
        return None if status.refusal is None else reason_of(status.refusal)

    async def _run(self, session: Session) -> None:
        """Hold the lease for as long as the attempt runs."""
        log_attempt_id.set(session.attempt_id)
        since = self._ports.clock.monotonic()
        self._ports.metrics.lease_taken()
        self.changed.set()
        try:
            await session.run()
        finally:
            self.session = None
            self._ports.metrics.lease_released(self._ports.clock.monotonic() - since)
            self.changed.set()


def _heard(service: asyncio.Task[ServiceStatus]) -> None:
    """Take the answer although nobody may be left who wants it."""
    if not service.cancelled():
        service.exception()
