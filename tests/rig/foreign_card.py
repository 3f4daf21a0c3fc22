"""A card that is none of ours: it knows no application, as a transport card or an old resident card would answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from cardsim.card import ATR
from cardsim.vpcd import VpcdLink

FILE_NOT_FOUND = bytes.fromhex("6A82")
CONNECT_SECONDS = 5.0


class ForeignCard:
    """See `cardsim.vpcd.Device`. `commands` holds what it was sent."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def power_on(self) -> None:
        """See `cardsim.vpcd.Device`."""

    def power_off(self) -> None:
        """See `cardsim.vpcd.Device`."""

    def reset(self) -> None:
        """See `cardsim.vpcd.Device`."""

    def atr(self) -> bytes:
        """See `cardsim.vpcd.Device`."""
        return ATR

    async def transmit(self, apdu: bytes) -> bytes:
        """See `cardsim.vpcd.Device`."""
        self.commands.append(apdu)
        return FILE_NOT_FOUND


@contextlib.asynccontextmanager
async def inserted(card: ForeignCard, port: int) -> AsyncIterator[None]:
    """Keep the card in the reader that listens on this port."""
    link = VpcdLink(port, card)
    task = asyncio.create_task(link.run())
    try:
        await asyncio.wait_for(link.connected.wait(), CONNECT_SECONDS)
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
