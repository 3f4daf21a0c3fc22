"""The link to the virtual reader: vsmartcard's vpcd driver inside pcscd, which listens; the card is the TCP client.

Messages are a length of 2 bytes, big-endian, and so many bytes. One byte is a control code, anything else a command
APDU. Being connected is being present (vsmartcard 3.3, virtualsmartcard/src/vpcd).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

HOST = "127.0.0.1"
LENGTH_BYTES = 2
POWER_OFF, POWER_ON, RESET, GET_ATR = 0, 1, 2, 4  # control codes
RECEIVE_BYTES = 65_536
AT_ONCE = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER: on, for 0 seconds
RETRY_SECONDS = 0.02  # a pcscd that restarts is found again at once

Result = TypeVar("Result")


class Departed(Exception):
    """The card leaves the reader within a command.

    `seconds` later `successor`, or without a name the same card, is put in its place; None: nothing is. After 0 seconds
    the next link waits at the reader before this one ends, so that PC/SC does not miss a card.
    """

    def __init__(self, successor: str | None = None, seconds: float | None = None) -> None:
        super().__init__(successor, seconds)
        self.successor = successor
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An answer of which `sent` bytes leave at once, and the others when `pause` returns; it may raise Departed."""

    answer: bytes
    sent: int
    pause: Callable[[], Coroutine[Any, Any, None]]


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

    async def transmit(self, apdu: bytes) -> bytes | Interrupted:
        """Return the response APDU; b"" for an answer of no bytes. Cancelled when the reader is gone."""


async def _nothing(_: Departed) -> None:
    pass


class VpcdLink:
    """Keeps one card in one reader until `run` is cancelled, through restarts of pcscd.

    `connected` is set while the reader holds the connection. `changed` is told of both ends of it, and `leaving` of a
    card that departs, while the reader still holds it.
    """

    def __init__(
        self,
        port: int,
        device: Device,
        changed: Callable[[bool], None] = lambda _: None,
        leaving: Callable[[Departed], Awaitable[None]] = _nothing,
    ) -> None:
        self.connected = asyncio.Event()
        self._port = port
        self._device = device
        self._changed = changed
        self._leaving = leaving
        self._queued: socket.socket | None = None

    async def queue(self) -> None:
        """Connect ahead of `run`: the reader turns to this card as soon as the one before is gone.

        Raises ConnectionError when there is no reader.
        """
        self._queued = await self._connect()

    async def run(self) -> None:
        """Connect, serve, and connect again; ends by cancellation. Raises Departed and what the device raises."""
        while True:
            with contextlib.suppress(ConnectionError):
                await self._serve_one_insertion()
            await asyncio.sleep(RETRY_SECONDS)

    async def _connect(self) -> socket.socket:
        link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            link.setblocking(False)
            await asyncio.get_running_loop().sock_connect(link, (HOST, self._port))
        except BaseException:
            link.close()
            raise
        if link.getsockname() == link.getpeername():
            # Nobody listens, and of a port that the kernel hands out to clients one try in thousands gets just that
            # port as its own end: TCP then connects it to itself. Kept, it would keep the port from the reader, and so
            # would what TCP remembers of a connection that ends in order.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            link.close()
            raise ConnectionRefusedError(f"nobody listens on port {self._port}")
        return link

    async def _serve_one_insertion(self) -> None:
        queued, self._queued = self._queued, None
        successor: socket.socket | None = queued or await self._connect()
        self.connected.set()
        self._changed(True)
        if queued:
            self._device.power_on()  # the reader has not noticed a change, so it has not taken the power away
        try:
            while successor:
                with successor as link:
                    successor = await self._serve(link)
        finally:
            self.connected.clear()
            self._device.power_off()
            self._changed(False)

    async def _serve(self, link: socket.socket) -> socket.socket | None:
        """Serve one connection and return the one that takes its place; None when the reader is gone."""
        loop = asyncio.get_running_loop()
        pending = b""
        while True:
            # vpcd sends length and body apart. The kernel goes back to delayed acknowledgements by itself, and each
            # message then waits 40 ms for Nagle's algorithm on the other side: so this is set before every receive.
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            received = await loop.sock_recv(link, RECEIVE_BYTES)
            if not received:
                return None
            pending += received
            while (message := _first_message(pending)) is not None:
                pending = pending[LENGTH_BYTES + len(message) :]
                answer = await self._answer(link, message)
                if answer == b"":
                    # vpcd does not take a length of 0 for an answer but goes on waiting. It gives its caller an answer
                    # of no bytes when the connection ends; the card is behind the next one and still has its power.
                    return await self._connect()
                await self._send(link, answer)

    async def _answer(self, link: socket.socket, message: bytes) -> bytes | Interrupted | None:
        """Return what is sent back; None for nothing."""
        if len(message) > 1:
            return await self._while_connected(link, self._device.transmit(message))
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

    async def _send(self, link: socket.socket, answer: bytes | Interrupted | None) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(answer, Interrupted):
            message = _framed(answer.answer)
            sent = LENGTH_BYTES + answer.sent
            await loop.sock_sendall(link, message[:sent])
            await self._while_connected(link, answer.pause())
            await loop.sock_sendall(link, message[sent:])
        elif answer is not None:
            await loop.sock_sendall(link, _framed(answer))

    async def _while_connected(self, link: socket.socket, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for the work. Raises ConnectionError when the reader goes: a card that waits would never notice it."""
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)
        gone = False

        def readable() -> None:
            nonlocal gone
            loop.remove_reader(link)
            try:
                gone = not link.recv(1, socket.MSG_PEEK)
            except OSError:
                gone = True
            if gone:
                task.cancel()

        loop.add_reader(link, readable)
        try:
            return await task
        except asyncio.CancelledError:
            if gone:
                raise ConnectionError from None
            raise
        except Departed as departure:
            await self._leaving(departure)
            raise
        finally:
            loop.remove_reader(link)
            task.cancel()


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


def _first_message(pending: bytes) -> bytes | None:
    length = int.from_bytes(pending[:LENGTH_BYTES], "big")
    end = LENGTH_BYTES + length
    return pending[LENGTH_BYTES:end] if len(pending) >= max(end, LENGTH_BYTES) else None
