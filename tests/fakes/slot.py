"""A card in the virtual reader of a real pcscd, in this process, with the same planned faults as the fake reader's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cardsim.card import ATR
from cardsim.vpcd import VpcdLink
from tests.fakes.faults import Exchange, Fault, SimulatedCard


@dataclass
class VirtualSlot:
    """What lies in one slot. `kill_service` is called, on the loop, for the faults that need it."""

    port: int
    kill_service: Callable[[], None]
    exchanges: list[Exchange] = field(default_factory=list)
    resets: int = 0
    card: SimulatedCard | None = None
    _task: asyncio.Task[None] | None = None
    _faults: dict[int, Fault] = field(default_factory=dict)
    _sent: int = 0
    _answer: asyncio.Event | None = None

    async def insert(self, card: SimulatedCard) -> None:
        """Put a card in; pcscd sees it within 0.4 s."""
        assert self.card is None, "a card lies there"
        self.card = card
        link = self._connect()
        await asyncio.wait_for(link.connected.wait(), 5)

    async def remove(self) -> None:
        """Lift the card."""
        task, self._task, self.card = self._task, None, None
        assert task is not None, "no card lies there"
        task.cancel()
        await asyncio.wait([task])

    async def close(self) -> None:
        if self._task:
            await self.remove()

    def plan(self, number: int, fault: Fault) -> None:
        self._faults[self._sent + number] = fault

    @property
    def is_mute(self) -> bool:
        return self._answer is not None

    def answer(self) -> None:
        assert self._answer is not None, "no command waits"
        self._answer.set()

    # cardsim.vpcd.Device

    def power_on(self) -> None:
        if self.card:
            self.card.power_on()

    def power_off(self) -> None:
        if self.card:
            self.card.power_off()

    def reset(self) -> None:
        self.resets += 1
        if self.card:
            self.card.reset()

    def atr(self) -> bytes:
        return ATR

    async def transmit(self, apdu: bytes) -> bytes:
        card = self.card
        assert card is not None
        self._sent += 1
        fault = self._faults.pop(self._sent, None)
        if fault is Fault.TORN_BEFORE:
            self._lift()
        if fault is Fault.SERVICE_LOST_BEFORE:
            self.kill_service()
            raise ConnectionError
        answer = card.transmit(apdu)
        self.exchanges.append(Exchange(apdu, answer if fault in (None, Fault.MUTE_AFTER) else None))
        match fault:
            case Fault.TORN_AFTER:
                self._lift()
            case Fault.SLIPPED_AFTER:
                old = self._task
                # Queued at the reader before the old connection ends, so that no poll of pcscd finds the slot empty.
                await asyncio.wait_for(self._connect().connected.wait(), 5)
                assert old is not None
                old.cancel()
                raise OSError
            case Fault.SERVICE_LOST_AFTER:
                self.kill_service()
                raise ConnectionError
            case Fault.MUTE_AFTER:
                self._answer = asyncio.Event()
                with contextlib.ExitStack() as stack:
                    stack.callback(setattr, self, "_answer", None)
                    await self._answer.wait()
        return answer

    def _lift(self) -> None:
        task, self._task, self.card = self._task, None, None
        assert task is not None
        task.cancel()
        raise OSError

    def _connect(self) -> VpcdLink:
        link = VpcdLink(self.port, self)
        self._task = asyncio.create_task(link.run())
        self._task.add_done_callback(_forget)
        return link


def _forget(task: asyncio.Task[None]) -> None:
    """Take the planned OSError, which the loop would otherwise report from the garbage collector."""
    if not task.cancelled():
        task.exception()
