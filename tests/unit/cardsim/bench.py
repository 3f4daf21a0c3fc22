"""Readers made of a TCP listener, and the cards that are put into them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cardsim import store
from cardsim.device import CardInSlot
from cardsim.ledger import Ledger
from cardsim.slot import Slots
from cardsim.striking import Faults
from tests.unit.cardsim.making import NOW, MakeCard
from tests.unit.cardsim.test_ledger import lines

SECONDS = 5.0
POWER_OFF, POWER_ON, RESET, GET_ATR = b"\x00", b"\x01", b"\x02", b"\x04"


class Reader:
    """The driver's side of vpcd: listens, and talks to the card that connects."""

    def __init__(self) -> None:
        self.port = 0
        self._connections: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[Reader]:
        """Listen, on a port of the system's choice or on a given one."""

        writers: list[asyncio.StreamWriter] = []

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            await self._connections.put((reader, writer))

        server = await asyncio.start_server(accept, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in writers:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    async def card(self) -> None:
        """Wait for a card."""
        self._reader, self._writer = await asyncio.wait_for(self._connections.get(), SECONDS)

    async def pull(self) -> None:
        """Close the connection, as a pcscd that dies does."""
        self._writer.close()
        await self._writer.wait_closed()

    def send(self, message: bytes) -> None:
        """Send one message, length and body apart as the driver does."""
        self._writer.write(len(message).to_bytes(2, "big"))
        self._writer.write(message)

    async def ask(self, message: bytes) -> bytes:
        """Send one message and return the answer."""
        self.send(message)
        answer, complete = await self.receive()
        assert complete
        return answer

    async def receive(self) -> tuple[bytes, bool]:
        """Return an answer, or what came of it before the card left, and whether that is all of it."""
        try:
            async with asyncio.timeout(SECONDS):
                length = int.from_bytes(await self._reader.readexactly(2), "big")
                return await self._reader.readexactly(length), True
        except asyncio.IncompleteReadError as torn:
            return torn.partial, False

    async def first_byte(self) -> bytes:
        """Return the first byte of an answer of which the rest has not come yet."""
        return (await asyncio.wait_for(self._reader.readexactly(3), SECONDS))[2:]

    async def next_byte(self) -> bytes:
        """Return one byte more."""
        return await asyncio.wait_for(self._reader.readexactly(1), SECONDS)

    async def gone(self) -> bool:
        """Wait until the card has left."""
        return await asyncio.wait_for(self._reader.read(), SECONDS) == b""


class Bench:
    """Two readers, two cards, the faults planned for them, and what was slept."""

    def __init__(self, make_card: MakeCard, directory: Path) -> None:
        self.kiosk, self.phone = Reader(), Reader()
        self.slept: list[float] = []
        self.path = directory / "card.json"
        self.ledger_path = directory / "ledger.jsonl"
        self.ledger = Ledger(self.ledger_path, lambda: NOW)
        card = make_card()
        card.power_off()
        store.save(card.memory, self.path)
        self.faults = Faults(self.ledger, sleep=self._sleep)
        self.card = CardInSlot("card", self.path, card, self.ledger, self._sleep, self.faults)
        other = make_card()
        other.power_off()
        self.other = CardInSlot("other", directory / "other.json", other, self.ledger, self._sleep, self.faults)
        self.slots: Slots

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Bench]:
        async with self.kiosk.listening(), self.phone.listening():
            ports = {"kiosk": self.kiosk.port, "phone": self.phone.port}
            with contextlib.closing(self.ledger):
                async with asyncio.TaskGroup() as tasks:
                    cards = {"card": self.card, "other": self.other}
                    self.slots = Slots(ports, cards, self.ledger, tasks, self.faults, self._sleep)
                    try:
                        yield self
                    finally:
                        await self.slots.empty()

    def events(self) -> list[str]:
        """Return what happened, without the APDUs."""
        return [f"{each['event']} {each['slot']}" for each in lines(self.ledger_path) if each["event"] != "apdu"]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that other tasks bring about."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0)


async def insert(bench: Bench, slot: str = "kiosk") -> Reader:
    """Insert the card and give it power."""
    reader: Reader = getattr(bench, slot)
    assert await bench.slots.insert("card", slot)
    await reader.card()
    reader.send(POWER_ON)
    await reader.ask(GET_ATR)
    return reader
