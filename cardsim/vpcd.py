"""The link to the virtual reader: vsmartcard's vpcd driver inside pcscd, which listens; the card is the TCP client.

Messages are a length of 2 bytes, big-endian, and so many bytes. One byte is a control code, anything else a command
APDU. Being connected is being present (vsmartcard 3.3, virtualsmartcard/src/vpcd).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

HOST = "127.0.0.1"
LENGTH_BYTES = 2
POWER_OFF, POWER_ON, RESET, GET_ATR = 0, 1, 2, 4  # control codes
RECEIVE_BYTES = 65_536
RETRY_SECONDS = 0.02  # a pcscd that restarts is found again at once


class Device(Protocol):
    """What sits in the reader: a card, and whoever drives it."""

    def power_on(self) -> None:
        """The reader gives power."""

    def power_off(self) -> None:
        """Power is gone: by command, or because the link is."""

    def reset(self) -> None:
        """Warm reset."""

    def atr(self) -> bytes:
        """Return the answer to reset."""

    async def transmit(self, apdu: bytes) -> bytes:
        """Return the response APDU."""


class VpcdLink:
    """Keeps one card in one reader until `run` is cancelled, through restarts of pcscd.

    `connected` is set while the reader holds the connection.
    """

    def __init__(self, port: int, device: Device, changed: Callable[[bool], None] = lambda _: None) -> None:
        self.connected = asyncio.Event()
        self._port = port
        self._device = device
        self._changed = changed

    async def run(self) -> None:
        """Connect, serve, and connect again; returns only by cancellation. Raises what the device raises."""
        while True:
            with contextlib.suppress(ConnectionError):
                await self._serve_one_connection()
            await asyncio.sleep(RETRY_SECONDS)

    async def _serve_one_connection(self) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as link:
            link.setblocking(False)
            await loop.sock_connect(link, (HOST, self._port))
            self.connected.set()
            self._changed(True)
            try:
                await self._serve(loop, link)
            finally:
                self.connected.clear()
                self._device.power_off()
                self._changed(False)

    async def _serve(self, loop: asyncio.AbstractEventLoop, link: socket.socket) -> None:
        pending = b""
        while True:
            # vpcd sends length and body apart. The kernel goes back to delayed acknowledgements by itself, and each
            # message then waits 40 ms for Nagle's algorithm on the other side: so this is set before every receive.
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            received = await loop.sock_recv(link, RECEIVE_BYTES)
            if not received:
                return
            pending += received
            while (message := _first_message(pending)) is not None:
                pending = pending[LENGTH_BYTES + len(message) :]
                answer = await self._answer(message)
                if answer is not None:
                    await loop.sock_sendall(link, len(answer).to_bytes(LENGTH_BYTES, "big") + answer)

    async def _answer(self, message: bytes) -> bytes | None:
        """Return what is sent back; None for nothing."""
        if len(message) > 1:
            return await self._device.transmit(message)
        code = message[0] if message else None
        if code == GET_ATR:
            return self._device.atr()
        if code == POWER_ON:
            self._device.power_on()
        elif code == POWER_OFF:
            self._device.power_off()
        elif code == RESET:
            self._device.reset()
        return None


def _first_message(pending: bytes) -> bytes | None:
    length = int.from_bytes(pending[:LENGTH_BYTES], "big")
    end = LENGTH_BYTES + length
    return pending[LENGTH_BYTES:end] if len(pending) >= max(end, LENGTH_BYTES) else None
