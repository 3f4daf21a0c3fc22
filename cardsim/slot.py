"""The slots of the virtual readers, and the cards that are moved between them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from cardsim.device import CardInSlot
from cardsim.fault import Fault
from cardsim.ledger import Ledger
from cardsim.striking import Faults
from cardsim.vpcd import Departed, VpcdLink

CONNECT_SECONDS = 1.0


class SlotError(Exception):
    """What was asked for cannot be done with these cards and slots."""


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
        faults: Faults | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.ports = ports
        self.cards = cards
        self._ledger = ledger
        self._tasks = tasks
        self._sleep = sleep
        self.faults = faults or Faults(ledger)
        self._insertions: dict[str, _Insertion] = {}
        self._returns: dict[str, tuple[str, asyncio.Task[None]]] = {}

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
        self._forget_return(slot)
        link = self._link(card, slot, port)
        self._hold(card, slot, link)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(link.connected.wait(), CONNECT_SECONDS)
        return link.connected.is_set()

    async def remove(self, slot: str) -> str:
        """Take out the card of a slot, or the one a fault would bring there, and return its name. Raises SlotError."""
        self._port(slot)
        awaited = self._forget_return(slot)
        insertion = self._insertions.pop(slot, None)
        if insertion is None and awaited is not None:
            return awaited
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
        for slot in tuple(self._returns):
            self._forget_return(slot)
        for slot in tuple(self._insertions):
            await self.remove(slot)

    def plan(self, fault: Fault) -> int:
        """Plan a fault and return its number. Raises SlotError for a card or slot that is not there."""
        if fault.other is not None:
            self._card(fault.other)
        if fault.slot is not None:
            self._port(fault.slot)
        return self.faults.add(fault)

    def show(self, card_name: str | None = None) -> list[dict[str, object]]:
        """Describe one card, or all of them: place, state, and every secret's value and counter. Raises SlotError."""
        shown = [self._card(card_name)] if card_name else list(self.cards.values())
        return [self._describe(card) for card in shown]

    def _link(self, card: CardInSlot, slot: str, port: int) -> VpcdLink:
        return VpcdLink(
            port,
            card,
            lambda connected: self._connection_changed(card, connected),
            lambda departure: self._leave(card, slot, departure),
        )

    def _hold(self, card: CardInSlot, slot: str, link: VpcdLink, after: asyncio.Task[None] | None = None) -> None:
        card.slot = slot
        task = self._tasks.create_task(self._run(card, slot, link, after))
        self._insertions[slot] = _Insertion(card, link, task)

    async def _run(self, card: CardInSlot, slot: str, link: VpcdLink, after: asyncio.Task[None] | None) -> None:
        """Run a link, after the one before it in this slot, until the card departs."""
        if after:
            await asyncio.wait([after])
            card.slot = slot
        try:
            await link.run()
        except Departed:
            card.slot = ""

    async def _leave(self, card: CardInSlot, slot: str, departure: Departed) -> None:
        """Prepare what comes after a card that departs; it is gone when this returns."""
        del self._insertions[slot]
        if departure.seconds is None:
            return
        successor = self._card(departure.successor or card.name)
        if departure.seconds:
            returning = self._tasks.create_task(self._return(successor.name, slot, departure.seconds))
            self._returns[slot] = (successor.name, returning)
            return
        if successor.slot not in ("", slot):
            await self.remove(successor.slot)
        link = self._link(successor, slot, self.ports[slot])
        with contextlib.suppress(ConnectionError):  # no reader any more: it is tried again
            await link.queue()
        self._hold(successor, slot, link, after=asyncio.current_task())

    async def _return(self, card_name: str, slot: str, seconds: float) -> None:
        await self._sleep(seconds)
        del self._returns[slot]
        if other := self.cards[card_name].slot:
            await self.remove(other)
        await self.insert(card_name, slot)

    def _forget_return(self, slot: str) -> str | None:
        """Let the card that is awaited in a slot not come, and return its name."""
        name, returning = self._returns.pop(slot, (None, None))
        if returning:
            returning.cancel()
        return name

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
