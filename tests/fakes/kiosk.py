"""A whole kiosk in process: the daemon's own session layer and journal, a simulated card, a fake reader and centre.

`Citizen` does what a view asks for, and counts every press. Time is the test's; it is moved on when nothing happens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry

from cardsim.card import Card
from cardsim.memory import ReferenceName
from gatewayd.dialogue.events import ClientGone
from gatewayd.dialogue.vocabulary import CardRequest, Outcome, State
from gatewayd.journal.store import Journal
from gatewayd.metrics import Metrics
from gatewayd.session.manager import Manager
from gatewayd.session.outbox import Outbox
from gatewayd.session.ports import Ports
from gatewayd.session.readiness import Readiness
from gatewayd.session.resolution import Resolution
from gatewayd.session.session import Session
from gatewayd.session.view import View
from tests.fakes.cards import CardFactory, MadeCard
from tests.fakes.central import FakeCentral
from tests.fakes.clock import FakeClock
from tests.fakes.reader import FakeReader

PIN = b"1357"
NEW_PASSWORD = b"NEWPASS2"
PATIENCE_S = 20.0  # real seconds for anything that must come
LULL_S = 0.004  # real seconds without news after which time moves on
TICK_S = 1.0  # by which it then moves


class Kiosk:
    """The parts, put together as the daemon does it."""

    def __init__(self, journal: Journal, clock: FakeClock, factory: CardFactory, central: FakeCentral) -> None:
        self.clock = clock
        self.journal = journal
        self.factory = factory
        self.reader = FakeReader(clock)
        self.central = central
        self.metrics = Metrics(CollectorRegistry(), clock)
        self.moved = asyncio.Event()
        self.outbox = Outbox(journal, self.central, clock, self.metrics.receipt_refused, self.moved.set)
        ports = Ports(self.reader, self.central, journal, self.outbox, self.metrics, clock, self.spawn)
        self.manager = Manager(ports)
        self.readiness = Readiness(self.manager, ports, asyncio.Event())
        self.resolution = Resolution(journal, self.central, clock, self.moved.set)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, directory: Path, factory: CardFactory, master_key: bytes, *, central: FakeCentral | None = None
    ) -> AsyncIterator[Self]:
        """A kiosk whose reader is watched and whose outbox is sent, until the end of the block.

        The end of the block is a power cut: what runs is cut off. The same directory is the same kiosk, started again;
        it then takes the centre it had, and that centre's clock. Another kiosk takes `central.seen_by(…)`.
        """
        central = central or FakeCentral(FakeClock(), master_key)
        clock = central.clock
        assert isinstance(clock, FakeClock)
        journal = await Journal.open(directory / "journal.db", clock)
        await journal.recover()
        kiosk = cls(journal, clock, factory, central)
        kiosk.spawn(kiosk.manager.watch_reader())
        kiosk.spawn(kiosk.outbox.run())
        await asyncio.sleep(0)
        try:
            yield kiosk
            for task in kiosk._tasks:
                if task.done() and not task.cancelled() and task.exception():
                    raise AssertionError("a background task died") from task.exception()
        finally:
            for task in kiosk._tasks:
                task.cancel()
            await asyncio.gather(*kiosk._tasks, return_exceptions=True)
            await journal.close()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    def card(self, persona: str = "locked", *, reserved: bool = True, in_doubt: bool = False) -> MadeCard:
        """A card the centre knows, with or without a reservation."""
        made = self.factory.make(self.clock.now(), persona)
        self.know(made, reserved=reserved, in_doubt=in_doubt)
        return made

    def know(self, made: MadeCard, *, reserved: bool = True, in_doubt: bool = False) -> None:
        """Tell the centre of a card."""
        certificate = self.central.register(made.entry)
        if reserved:
            self.central.reserve(certificate, in_doubt=in_doubt)

    async def open(self, attempt_id: str = "attempt-1") -> Session:
        session = await self.manager.open(attempt_id)
        assert isinstance(session, Session)
        return session

    async def until(self, holds: Callable[[], object]) -> None:
        """Return once it holds, moving time on whenever nothing happens. Fails after 20 real seconds."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(LULL_S)
                if not holds():
                    await self.clock.advance(TICK_S)

    async def settled(self) -> None:
        """Return once the centre has everything."""

        async def empty() -> bool:
            return not await self.journal.pending()

        async with asyncio.timeout(PATIENCE_S):
            while not await empty():
                await self.clock.advance(TICK_S)
                await asyncio.sleep(LULL_S)


class Citizen:
    """Does what the views ask for."""

    def __init__(self, kiosk: Kiosk, card: MadeCard, *, pins: list[bytes] | None = None) -> None:
        self.kiosk = kiosk
        self.card = card.link.card
        self.pins = pins if pins is not None else [PIN]
        self.presses = 0
        self.views: list[View] = []

    async def do(self, session: Session) -> View:
        """Go through the whole attempt; return its last view."""
        async with asyncio.timeout(PATIENCE_S):
            news: asyncio.Queue[View | None] = asyncio.Queue()
            listener = asyncio.create_task(self._listen(session, news))
            try:
                while True:
                    try:
                        view = await asyncio.wait_for(news.get(), LULL_S)
                    except TimeoutError:
                        if self.kiosk.reader.state.problem is not None:
                            self.kiosk.reader.restore()  # somebody looks after the kiosk
                        await self.kiosk.clock.advance(TICK_S)
                        continue
                    if view is None:
                        return self.views[-1]
                    self.views.append(view)
                    if news.empty():
                        self.answer(session, view)
            finally:
                listener.cancel()
                session.tell(ClientGone())

    @staticmethod
    async def _listen(session: Session, news: asyncio.Queue[View | None]) -> None:
        async for view in session.views():
            news.put_nowait(view)
        news.put_nowait(None)

    def answer(self, session: Session, view: View) -> None:
        """Do what this view asks for; at most one thing."""
        shown = view.shown
        lies_there = self.kiosk.reader.card is not None
        if shown.card_request is CardRequest.LIFT and lies_there:
            self.kiosk.reader.remove()
        elif shown.card_request in (CardRequest.PLACE, CardRequest.PLACE_SAME) and not lies_there:
            self.kiosk.reader.insert(self.card)
        elif shown.state is State.ENTER_USER_PIN and not shown.busy and shown.card_request is CardRequest.NONE:
            self.presses += 1
            pin = self.pins.pop(0) if len(self.pins) > 1 else self.pins[0]
            session.submit_user_pin(view.number, pin, last_try_confirmed=shown.user_pin_tries == 1)
        elif shown.state is State.ENTER_NEW_PASSWORD:
            session.submit_new_password(view.number, NEW_PASSWORD)

    # --- the truth ----------------------------------------------------------------------------------------------------

    @property
    def password(self) -> bytes:
        """What is on the card."""
        return self.card.memory.reference(ReferenceName.SIGNING_PASSWORD).value

    @property
    def changed(self) -> bool:
        return self.password == NEW_PASSWORD

    def check(self, last: View) -> None:
        """No wrong claim, and nothing spent that was not ordered."""
        outcome = last.shown.outcome
        if outcome is Outcome.DONE:
            assert self.changed, "said done, and the card is not changed"
        if outcome is Outcome.NOT_DONE:
            assert not self.changed, "said not done, and the card is changed"
        assert self.verifications() <= self.presses, "a VERIFY that was not ordered"

    def verifications(self) -> int:
        """VERIFY commands with data that reached the card."""
        return sum(1 for exchange in self.kiosk.reader.exchanges if is_verify(exchange.command))


def is_verify(command: bytes) -> bool:
    return command[1] == 0x20 and len(command) > 4  # INS VERIFY, ISO/IEC 7816-4:2013, 11.5.6


def references(card: Card) -> dict[str, tuple[bytes, int]]:
    """Value and tries of every secret of a card."""
    return {one.name.value: (one.value, one.tries) for one in card.memory.references()}
