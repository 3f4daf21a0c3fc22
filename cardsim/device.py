"""A card as what the reader holds: between the link to the reader and the card itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from cardsim import store
from cardsim.card import ATR, Card
from cardsim.ledger import Ledger
from cardsim.striking import Faults
from cardsim.vpcd import Interrupted


class CardInSlot:
    """A card as the reader's device: keeps its memory on disk and every exchange in the ledger.

    `transmit` is the one place where an APDU passes between reader and card, so faults strike there.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        card: Card,
        ledger: Ledger,
        sleep: Callable[[float], Awaitable[None]],
        faults: Faults | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.card = card
        self.slot = ""
        self._ledger = ledger
        self._sleep = sleep
        self._faults = faults or Faults(ledger)

    def power_on(self) -> None:
        """See `vpcd.Device`."""
        self.card.power_on()
        self._record("power_on")

    def power_off(self) -> None:
        """See `vpcd.Device`."""
        if self.card.powered:
            self.card.power_off()
            self._record("power_off")

    def reset(self) -> None:
        """See `vpcd.Device`."""
        self.card.reset()
        self._record("reset")

    def atr(self) -> bytes:
        """See `vpcd.Device`."""
        return ATR

    async def transmit(self, apdu: bytes) -> bytes | Interrupted:
        """See `vpcd.Device`. The memory is on disk before the answer leaves. Raises Departed for a card that left."""
        return await self._faults.transmit(self, apdu)

    async def carry_out(self, apdu: bytes) -> bytes:
        """See `striking.Victim`."""
        card = self.card
        before, memory_before = card.snapshot(), card.memory.mutable_state()
        answer = card.transmit(apdu)
        if card.memory.mutable_state() != memory_before:
            store.save(card.memory, self.path)
        self._ledger.exchange(self.name, self.slot, apdu, answer, before, card.snapshot())
        if card.delay:
            await self._sleep(card.delay)
        if card.powered and card.memory.habits.mute:
            await asyncio.Event().wait()  # until the card is lifted, or the reader is gone
        return answer

    def receive(self, apdu: bytes) -> None:
        """See `striking.Victim`."""
        unchanged = self.card.snapshot()
        self._ledger.exchange(self.name, self.slot, apdu, b"", unchanged, unchanged)

    def _record(self, event: str) -> None:
        self._ledger.event(event, card=self.name, slot=self.slot)
