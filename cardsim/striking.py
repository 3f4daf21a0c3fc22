"""What a planned fault does to a card in a slot: waiting, leaving, and the entry in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from cardsim.fault import (
    DEPARTURES,
    PAUSES,
    Fault,
    FaultError,
    Kind,
    Planned,
    Point,
    Script,
    altered,
    bytes_sent,
    fits,
)
from cardsim.ledger import Ledger
from cardsim.vpcd import Departed, Interrupted

Sleep = Callable[[float], Awaitable[None]]


class Victim(Protocol):
    """The card a fault strikes."""

    @property
    def name(self) -> str:
        """What the ledger calls it."""

    @property
    def slot(self) -> str:
        """Where it is."""

    async def carry_out(self, apdu: bytes) -> bytes:
        """Let the card have its command, keep what it changed, and return the answer."""

    def receive(self, apdu: bytes) -> None:
        """Record that the card got the command and came to nothing more."""


class Faults:
    """The fault script of a running simulator."""

    def __init__(self, ledger: Ledger, script: Script | None = None, sleep: Sleep = asyncio.sleep) -> None:
        self._ledger = ledger
        self._script = script or Script()
        self._sleep = sleep
        self._held: dict[int, asyncio.Event] = {}

    def add(self, fault: Fault) -> int:
        """Plan a fault and return its number; commands count for it from now on."""
        return self._script.add(fault).number

    def describe(self) -> list[dict[str, object]]:
        """Return every fault, whether it has fired, and as which entry of the ledger."""
        return [planned.describe() for planned in self._script.all()]

    def clear(self) -> int:
        """Forget all faults, let go what they hold, and return how many there were."""
        for event in self._held.values():
            event.set()
        return len(self._script.clear())

    def release(self, number: int | None = None) -> Sequence[int]:
        """Let a mute card go on, or all, and return the faults' numbers. Raises FaultError when none is mute."""
        released = [held for held in self._held if number in (None, held)]
        if not released:
            raise FaultError("no card is held mute" + ("" if number is None else f" by fault {number}"))
        for held in released:
            self._held[held].set()
        return released

    async def transmit(self, card: Victim, apdu: bytes) -> bytes | Interrupted:
        """Pass one command to the card, with the fault that is due. Raises Departed when the card has left."""
        planned = self._script.due(card.slot, apdu)
        if planned is None:
            return await card.carry_out(apdu)
        if planned.fault.point in (Point.BEFORE_DELIVERY, Point.AFTER_DELIVERY):
            return await self._strike_before_effect(planned, card, apdu)
        return await self._strike_after_effect(planned, card, apdu)

    async def _strike_before_effect(self, planned: Planned, card: Victim, apdu: bytes) -> bytes:
        fault = planned.fault
        if fault.kind in PAUSES:
            return await self._postpone(planned, card, apdu)
        if fault.point is Point.AFTER_DELIVERY:
            card.receive(apdu)
        instead = altered(fault, apdu, b"")
        self._record(planned, card, apdu, instead)
        await self._hold(planned)
        return instead

    async def _postpone(self, planned: Planned, card: Victim, apdu: bytes) -> bytes:
        self._record(planned, card, apdu, b"")
        try:
            await self._hold(planned)
        except asyncio.CancelledError:
            if planned.fault.point is Point.AFTER_DELIVERY:
                card.receive(apdu)  # lifted before it came to anything
            raise
        return await card.carry_out(apdu)

    async def _strike_after_effect(self, planned: Planned, card: Victim, apdu: bytes) -> bytes | Interrupted:
        fault = planned.fault
        answer = await card.carry_out(apdu)
        if not fits(fault, answer):
            return answer
        instead = altered(fault, apdu, answer)
        self._record(planned, card, apdu, instead)
        if sent := bytes_sent(fault, answer):
            return Interrupted(answer, sent, partial(self._hold, planned))
        await self._hold(planned)
        return instead

    async def _hold(self, planned: Planned) -> None:
        """Wait as long as the fault lasts. Raises Departed when it takes the card away."""
        fault = planned.fault
        if fault.kind in DEPARTURES:
            raise Departed(fault.other, 0.0 if fault.other and fault.seconds is None else fault.seconds)
        if fault.kind not in PAUSES:
            return
        planned.active = True
        try:
            if fault.kind is Kind.MUTE:
                self._held[planned.number] = asyncio.Event()
                await self._held[planned.number].wait()
            else:
                await self._sleep(fault.seconds or 0.0)
        finally:
            planned.active = False
            self._held.pop(planned.number, None)

    def _record(self, planned: Planned, card: Victim, apdu: bytes, instead: bytes) -> None:
        fault = planned.fault
        facts = {"fault": planned.number, "at": fault.at, "kind": fault.kind, "point": fault.point}
        if fault.kind not in DEPARTURES | PAUSES:
            facts["instead"] = instead.hex().upper()
        planned.fired = self._ledger.fault(card.name, card.slot, apdu, facts)
