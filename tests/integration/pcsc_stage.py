"""The real reader on the private pcscd, with the card's side in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from gatewayd.clock import SystemClock
from gatewayd.reader import pcsc
from gatewayd.reader.hooks import ReaderHooks
from gatewayd.reader.port import ReaderPort, ReaderProblem
from gatewayd.reader.service import PcscReader
from gatewayd.reader.timing import Timing
from tests.contract.reader_contract import until
from tests.fakes.faults import Exchange, Fault, SimulatedCard
from tests.fakes.slot import VirtualSlot
from tests.rig.pcscd import KIOSK, PrivatePcscd
from tests.rig.process import RigError

TIMING = Timing(connect_patience=0.3, retry_pause=0.05, watch_slice=0.1)


@dataclass
class Heard:
    """What the reader told operators."""

    taken: int = 0
    released: int = 0
    waited: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    reconnected: int = 0

    @property
    def hooks(self) -> ReaderHooks:
        return ReaderHooks(
            lock_taken=lambda: self._count("taken"),
            lock_released=lambda: self._count("released"),
            lock_waited=self.waited.append,
            lock_held=self.held.append,
            lock_failed=self.failed.append,
            reconnected=lambda: self._count("reconnected"),
        )

    def _count(self, what: str) -> None:
        setattr(self, what, getattr(self, what) + 1)


@dataclass
class PcscStage:
    """`Stage` of the reader's contract, over PC/SC."""

    pcscd: PrivatePcscd
    slot: VirtualSlot
    real: PcscReader
    heard: Heard
    stranger: pcsc.Card | None = None

    @property
    def reader(self) -> ReaderPort:
        return self.real

    @property
    def exchanges(self) -> list[Exchange]:
        return self.slot.exchanges

    @property
    def resets(self) -> int:
        return self.slot.resets

    @property
    def is_mute(self) -> bool:
        return self.slot.is_mute

    async def insert(self, card: SimulatedCard) -> None:
        await self.slot.insert(card)

    async def remove(self) -> None:
        await self.slot.remove()

    def plan(self, number: int, fault: Fault) -> None:
        self.slot.plan(number, fault)

    def answer(self) -> None:
        self.slot.answer()

    def hold(self) -> None:
        """Connect as another program would."""
        self.stranger = pcsc.establish().connect(self.pcscd.readers[KIOSK].name)

    def let_go(self) -> None:
        if self.stranger:
            with contextlib.suppress(Exception):
                self.stranger.disconnect(leave=True)
            self.stranger = None

    def restore_service(self) -> None:
        self.pcscd.resume()


@contextlib.asynccontextmanager
async def pcsc_stage(
    pcscd: PrivatePcscd, *, name: str = "", timing: Timing = TIMING, expect: ReaderProblem | None = None
) -> AsyncIterator[PcscStage]:
    """Start the reader; at the end close it, empty the slot and leave the service running."""
    heard = Heard()
    slot = VirtualSlot(pcscd.readers[KIOSK].port, pcscd.kill)
    reader = PcscReader(name or pcscd.readers[KIOSK].name, SystemClock(), heard.hooks, timing)
    stage = PcscStage(pcscd, slot, reader, heard)
    reader.start()
    try:
        yield stage
    finally:
        stage.let_go()
        if not _runs(pcscd):
            pcscd.resume()
        await slot.close()
        await until(
            reader, present=False, problem=expect
        )  # a card that comes back before pcscd missed it would not be a new one
        await reader.close()


def _runs(pcscd: PrivatePcscd) -> bool:
    try:
        return bool(pcscd.pid)
    except RigError:
        return False
