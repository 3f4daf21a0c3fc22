"""The reader in process: the same contract as the real one (tests/contract/test_reader_contract.py), without PC/SC.

Jobs run on the loop and take no time. Faults are planned by the number of the command, counted from the plan on, and
the clock is the test's, so a run is repeatable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar, cast

from gatewayd.clock import Clock
from gatewayd.errors import (
    CardAbsent,
    DeadlineExceeded,
    LinkEnded,
    LinkError,
    ReaderHeld,
    ReaderMissing,
    ServiceLost,
    TransmitFailed,
)
from gatewayd.reader.port import Connection, Job, ReaderProblem, ReaderState
from tests.fakes.faults import Exchange, Fault, SimulatedCard
from tests.fakes.job import Running

T = TypeVar("T")

NAME = "Kiosk 00 00"


class FakeReader:
    """`ReaderPort`, and what happens at the kiosk's reader."""

    def __init__(
        self, clock: Clock, name: str = NAME, *, patience_s: float = 2.0, lift_patience_s: float = 1.0
    ) -> None:
        self.clock = clock
        self._patience_s = patience_s  # for a foreign holder, or a service that is away
        self._lift_patience_s = lift_patience_s
        self.exchanges: list[Exchange] = []
        self.connects = 0
        self.resets = 0  # of the card, those at disconnect included
        self.held_by_another = False
        self.card: SimulatedCard | None = None
        self.current: FakeConnection | None = None  # who holds the reader lock
        self.failed = False  # the card that failed has not been lifted
        self._name = name
        self._present = False
        self._insertions = 0
        self._problem: ReaderProblem | None = None
        self._stuck: dict[object, float] = {}  # since when
        self._faults: dict[int, Fault] = {}
        self._sent = 0
        self._held_answer: Callable[[bool], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # known once somebody waits
        self._changed = asyncio.Event()
        self._state = self._make_state()

    # ReaderPort

    @property
    def state(self) -> ReaderState:
        return self._state

    async def changed(self, since: ReaderState) -> ReaderState:
        self._loop = asyncio.get_running_loop()
        while self._state == since:
            await self._changed.wait()
        return self._state

    @property
    def stuck_for_s(self) -> float:
        return max((self.clock.monotonic() - since for since in self._stuck.values()), default=0.0)

    def connection(self) -> Connection:
        return FakeConnection(self)

    # What happens at the reader

    def insert(self, card: SimulatedCard) -> None:
        assert self.card is None, "a card lies there"
        self.card, self._present = card, True
        self._insertions += 1
        card.power_on()
        self._refresh()

    def remove(self) -> SimulatedCard:
        """Lift the card: power is gone, a suspended command fails."""
        card = self.card
        assert card is not None, "no card lies there"
        card.power_off()
        self.card, self._present, self.failed = None, False, False
        self._fail_current(TransmitFailed("the card was lifted"))
        self._refresh()
        self._release(answered=False)
        return card

    def plan(self, number: int, fault: Fault) -> None:
        """Have the fault befall a command: 1 is the next one."""
        self._faults[self._sent + number] = fault

    @property
    def planned(self) -> int:
        """How many faults have not happened yet."""
        return len(self._faults)

    def answer(self) -> None:
        """Let the mute card answer after all."""
        assert self._held_answer is not None, "no command waits"
        self._release(answered=True)

    @property
    def is_mute(self) -> bool:
        """Whether a command waits for its answer."""
        return self._held_answer is not None

    def lose_service(self) -> None:
        """Stop pcscd; a card that lies there stays."""
        self._fail_current(ServiceLost("pcscd is gone"))
        self._problem = ReaderProblem.PCSC_UNAVAILABLE
        self._refresh()

    def unplug(self) -> None:
        """Take the reader away."""
        self._fail_current(ServiceLost("pcscd is gone"))
        self._problem = ReaderProblem.READER_UNAVAILABLE
        self._refresh()

    def restore(self) -> None:
        """Bring pcscd or the reader back, with whatever card lies there, powered anew."""
        self._problem, self.failed = None, False
        self._insertions += int(self.card is not None)
        self._present = self.card is not None
        if self.card:
            self.card.power_on()
        self._refresh()

    # For the connections

    @property
    def may_suspend(self) -> bool:
        return Fault.MUTE_AFTER in self._faults.values()

    async def connect(self, connection: FakeConnection, until: float) -> None:
        """Take the reader lock. Raises LinkError."""
        while self.is_mute:  # the reader's thread is not free
            if self.clock.monotonic() >= until:
                raise DeadlineExceeded("the reader is stuck")
            await self.clock.sleep(0.1)
        if self.current is not None:
            self.current.end()
        give_up = min(until, self.clock.monotonic() + self._patience_s)
        while error := self._obstacle():
            if not isinstance(error, ReaderHeld | ServiceLost) or self.clock.monotonic() >= give_up:
                raise error
            await self.clock.sleep(0.1)
        if self.failed:
            await self.clock.sleep(self._lift_patience_s)
            if self.failed or self.card is None:
                raise CardAbsent("the card that failed has not been lifted; nothing was sent")
        self.current = connection
        self.connects += 1

    def _obstacle(self) -> LinkError | None:
        if self._problem is ReaderProblem.PCSC_UNAVAILABLE:
            return ServiceLost("no pcscd")
        if self._problem is ReaderProblem.READER_UNAVAILABLE:
            return ReaderMissing("no reader")
        if self.held_by_another:
            return ReaderHeld("held")
        return None if self.card else CardAbsent("no card")

    def exchange(self, connection: FakeConnection, command: bytes, suspend: Callable[[], bool] | None) -> bytes:
        """Send one command to the card, with whatever is planned for it."""
        card = self.card
        assert card is not None
        self._sent += 1
        fault = self._faults.pop(self._sent, None)
        if fault in (Fault.TORN_BEFORE, Fault.SERVICE_LOST_BEFORE):
            answer = None
        else:
            answer = card.transmit(command)
            self.exchanges.append(Exchange(command, answer if fault in (None, Fault.MUTE_AFTER) else None))
        match fault:
            case Fault.TORN_BEFORE | Fault.TORN_AFTER:
                self.remove()
                raise connection.fail(TransmitFailed("an answer of 0 bytes"))
            case Fault.SLIPPED_AFTER:
                card.reset()
                self.failed = True
                raise connection.fail(TransmitFailed("an answer of 0 bytes"))
            case Fault.SERVICE_LOST_BEFORE | Fault.SERVICE_LOST_AFTER:
                self.lose_service()
                raise connection.fail(ServiceLost("pcscd died"))
            case Fault.MUTE_AFTER:
                assert suspend is not None
                if not suspend():
                    raise connection.fail(TransmitFailed("lifted"))
        assert answer is not None
        return answer

    def reset_card(self) -> None:
        if self.card:
            self.card.reset()
        self.resets += 1

    def hold_answer(self, release: Callable[[bool], None]) -> None:
        self._held_answer = release

    def set_stuck(self, who: object, *, stuck: bool) -> None:
        if stuck:
            self._stuck.setdefault(who, self.clock.monotonic())
        else:
            self._stuck.pop(who, None)
        self._refresh()

    def _release(self, *, answered: bool) -> None:
        held, self._held_answer = self._held_answer, None
        if held:
            held(answered)

    def _fail_current(self, error: LinkError) -> None:
        if self.current is not None:
            self.current.lost = error

    def _make_state(self) -> ReaderState:
        problem = ReaderProblem.READER_STUCK if self._stuck else self._problem
        away = self._problem is not None
        return ReaderState(problem, "" if away else self._name, self._present and not away, self._insertions)

    def _refresh(self) -> None:
        state = self._make_state()
        if state != self._state:
            self._state = state
            changed, self._changed = self._changed, asyncio.Event()
            if self._loop:
                self._loop.call_soon_threadsafe(changed.set)  # a job may run aside


class FakeConnection:
    """`Connection`: one generation."""

    def __init__(self, reader: FakeReader) -> None:
        self._reader = reader
        self._ended = False
        self.lost: LinkError | None = None  # what the next command will meet
        self.broken = False  # it has met it

    async def run(
        self, job: Job[T], *, budget_s: float, last: bool = False, late: Callable[[T], None] | None = None
    ) -> T:
        if self._ended:
            raise LinkEnded("ended")
        clock = self._reader.clock
        deadline = clock.monotonic() + budget_s
        try:
            await asyncio.sleep(0)  # the hop
            if self._reader.current is not self:
                await self._reader.connect(self, deadline)
            running = Running(self, self._reader, job, deadline, late)
            value = cast("T", await running.outcome())
        except BaseException:
            self.end()
            raise
        if last or self.broken:
            self.end()
        return value

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.end()

    def end(self) -> None:
        self._ended = True
        if self._reader.current is self and not self._reader.is_mute:
            self._reader.current = None
            self._reader.reset_card()

    def fail(self, error: LinkError) -> LinkError:
        self.broken = True
        return error
