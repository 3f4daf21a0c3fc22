"""The slots of the virtual readers, and the cards that are moved between them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cardsim import store
from cardsim.card import ATR, Card
from cardsim.ledger import Ledger
from cardsim.vpcd import VpcdLink

CONNECT_SECONDS = 1.0


class SlotError(Exception):
    """What was asked for cannot be done with these cards and slots."""


class CardInSlot:
    """A card as the reader's device: keeps its memory on disk and every exchange in the ledger.

    `transmit` is the one place where an APDU passes between reader and card; faults belong there, too.
    """

    def __init__(
        self, name: str, path: Path, card: Card, ledger: Ledger, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self.name = name
        self.path = path
        self.card = card
        self.slot = ""
        self._ledger = ledger
        self._sleep = sleep

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

    async def transmit(self, apdu: bytes) -> bytes:
        """See `vpcd.Device`. The memory is on disk before the answer leaves."""
        card = self.card
        before, memory_before = card.snapshot(), card.memory.mutable_state()
        answer = card.transmit(apdu)
        if card.memory.mutable_state() != memory_before:
            store.save(card.memory, self.path)
        self._ledger.exchange(self.name, self.slot, apdu, answer, before, card.snapshot())
        if card.delay:
            await self._sleep(card.delay)
        return answer

    def _record(self, event: str) -> None:
        self._ledger.event(event, card=self.name, slot=self.slot)


@dataclass(slots=True)
class _Insertion:
    card: CardInSlot
    link: VpcdLink
    task: asyncio.Task[None]


class Slots:
    """Which card is in which slot. A card is in one slot at a time, and a slot holds one card.

    `tasks` runs the links: a link that fails, because a card's memory cannot be kept, fails the whole simulator.
    """

    def __init__(
        self,
        ports: Mapping[str, int],
        cards: Mapping[str, CardInSlot],
        ledger: Ledger,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.ports = ports
        self.cards = cards
        self._ledger = ledger
        self._tasks = tasks
        self._insertions: dict[str, _Insertion] = {}

    async def insert(self, card_name: str, slot: str) -> bool:
        """Put a card into a slot and return whether the reader has taken it within a second.

        It goes on trying afterwards. Raises SlotError.
        """
        card = self._card(card_name)
        port = self._port(slot)
        if slot in self._insertions:
            raise SlotError(f"slot {slot} holds {self._insertions[slot].card.name}")
        if card.slot:
            raise SlotError(f"{card_name} is in slot {card.slot}")
        card.slot = slot
        link = VpcdLink(port, card, lambda connected: self._connection_changed(card, connected))
        self._insertions[slot] = _Insertion(card, link, self._tasks.create_task(link.run()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(link.connected.wait(), CONNECT_SECONDS)
        return link.connected.is_set()

    async def remove(self, slot: str) -> str:
        """Take the card out of a slot and return its name. Raises SlotError when there is none."""
        self._port(slot)
        insertion = self._insertions.pop(slot, None)
        if insertion is None:
            raise SlotError(f"slot {slot} is empty")
        insertion.task.cancel()
        await asyncio.wait([insertion.task])
        insertion.card.slot = ""
        return insertion.card.name

    async def move(self, source: str, target: str) -> bool:
        """Move the card of one slot to another and return whether the reader has taken it. Raises SlotError."""
        self._port(target)
        if target in self._insertions:
            raise SlotError(f"slot {target} holds {self._insertions[target].card.name}")
        return await self.insert(await self.remove(source), target)

    async def empty(self) -> None:
        """Take every card out."""
        for slot in tuple(self._insertions):
            await self.remove(slot)

    def show(self, card_name: str | None = None) -> list[dict[str, object]]:
        """Describe one card, or all of them: place, state, and every secret's value and counter. Raises SlotError."""
        shown = [self._card(card_name)] if card_name else list(self.cards.values())
        return [self._describe(card) for card in shown]

    def _describe(self, card: CardInSlot) -> dict[str, object]:
        insertion = self._insertions.get(card.slot)
        references = {
            each.name.value: {"value": each.value.decode("ascii"), "tries": each.tries, "limit": each.limit}
            for each in card.card.memory.references()
        }
        return {
            "card": card.name,
            "path": str(card.path),
            "slot": card.slot or None,
            "connected": bool(insertion and insertion.link.connected.is_set()),
            "references": references,
            "state": card.card.snapshot(),
        }

    def _card(self, name: str) -> CardInSlot:
        if name not in self.cards:
            raise SlotError(f"no card {name}; there are: {', '.join(self.cards)}")
        return self.cards[name]

    def _port(self, slot: str) -> int:
        if slot not in self.ports:
            raise SlotError(f"no slot {slot}; there are: {', '.join(self.ports)}")
        return self.ports[slot]

    def _connection_changed(self, card: CardInSlot, connected: bool) -> None:
        self._ledger.event("insert" if connected else "remove", card=card.name, slot=card.slot)
