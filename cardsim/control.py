"""The control socket of a running simulator: one JSON object a line, in and out.

    {"command": "insert", "card": "card", "slot": "kiosk"}    → {"ok": true, "connected": true}
    {"command": "remove", "slot": "kiosk"}                    → {"ok": true, "card": "card"}
    {"command": "move", "source": "phone", "target": "kiosk"} → {"ok": true, "connected": true}
    {"command": "show"} or {"command": "show", "card": "card"} → {"ok": true, "cards": [...]}
    {"command": "ledger"}                                     → {"ok": true, "path": "/.../ledger.jsonl"}
    {"command": "fault_add", "fault": {"at": "verify", "kind": "tear", ...}} → {"ok": true, "id": 1}
    {"command": "fault_list"}                                 → {"ok": true, "faults": [...]}
    {"command": "fault_clear"}                                → {"ok": true, "cleared": 1}
    {"command": "fault_release"}, also with "id": 1           → {"ok": true, "released": [1]}

What cannot be carried out is answered {"ok": false, "error": "why"}. A connection takes any number of requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec

from cardsim.fault import Fault, FaultError
from cardsim.slot import SlotError, Slots

REQUEST_LIMIT = 65_536  # bytes of one line
CALL_SECONDS = 5.0


class ControlError(Exception):
    """The simulator refused; the message says why."""


class UnreachableError(Exception):
    """No simulator answers on the socket."""


class Insert(msgspec.Struct, tag_field="command", tag="insert", forbid_unknown_fields=True):
    """Put a card into a slot."""

    card: str
    slot: str


class Remove(msgspec.Struct, tag_field="command", tag="remove", forbid_unknown_fields=True):
    """Take the card out of a slot."""

    slot: str


class Move(msgspec.Struct, tag_field="command", tag="move", forbid_unknown_fields=True):
    """Move a card from slot to slot."""

    source: str
    target: str


class Show(msgspec.Struct, tag_field="command", tag="show", forbid_unknown_fields=True):
    """Describe one card or all."""

    card: str | None = None


class ShowLedger(msgspec.Struct, tag_field="command", tag="ledger", forbid_unknown_fields=True):
    """Say where the ledger is."""


class FaultAdd(msgspec.Struct, tag_field="command", tag="fault_add", forbid_unknown_fields=True):
    """Plan a fault."""

    fault: Fault


class FaultList(msgspec.Struct, tag_field="command", tag="fault_list", forbid_unknown_fields=True):
    """List the faults, waiting and fired."""


class FaultClear(msgspec.Struct, tag_field="command", tag="fault_clear", forbid_unknown_fields=True):
    """Forget all faults and let go what they hold."""


class FaultRelease(msgspec.Struct, tag_field="command", tag="fault_release", forbid_unknown_fields=True):
    """Let a mute card go on: of one fault, or of all."""

    id: int | None = None


Request = Insert | Remove | Move | Show | ShowLedger | FaultAdd | FaultList | FaultClear | FaultRelease
Answer = dict[str, Any]

_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


@contextlib.asynccontextmanager
async def serving(path: Path, slots: Slots, ledger_path: Path) -> AsyncIterator[None]:
    """Serve the control socket, mode 0600, while the context lasts. Raises ControlError when another simulator does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            while line := await _line(reader):
                writer.write(msgspec.json.encode(await _respond(slots, ledger_path, line)) + b"\n")
                await writer.drain()

    with _bound(path) as listener:
        server = await asyncio.start_unix_server(serve, sock=listener, limit=REQUEST_LIMIT)
        try:
            yield
        finally:
            server.close()


@contextlib.contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    """Bind the socket, in the place of one that nobody serves any more, and take it away in the end."""
    if _answers(path):
        raise ControlError(f"another simulator serves {path}")
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return the next request; b"" at the end, and for one that is too long, after which nothing can be made out."""
    try:
        return await reader.readline()
    except ValueError:
        return b""


async def _respond(slots: Slots, ledger_path: Path, line: bytes) -> Answer:
    try:
        return {"ok": True, **await _perform(slots, ledger_path, _decoder.decode(line))}
    except (SlotError, FaultError, msgspec.DecodeError) as error:
        return {"ok": False, "error": str(error)}


async def _perform(slots: Slots, ledger_path: Path, request: Request) -> Answer:
    match request:
        case Insert(card, slot):
            return {"connected": await slots.insert(card, slot)}
        case Remove(slot):
            return {"card": await slots.remove(slot)}
        case Move(source, target):
            return {"connected": await slots.move(source, target)}
        case Show(card_name):
            return {"cards": slots.show(card_name)}
        case ShowLedger():
            return {"path": str(ledger_path)}
        case FaultAdd(fault):
            return {"id": slots.plan(fault)}
        case FaultList():
            return {"faults": slots.faults.describe()}
        case FaultClear():
            return {"cleared": slots.faults.clear()}
        case FaultRelease(number):
            return {"released": slots.faults.release(number)}


def call(path: Path, request: Request) -> Answer:
    """Ask a running simulator, and return its answer without "ok". Raises ControlError or UnreachableError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CALL_SECONDS)
            connection.connect(str(path))
            connection.sendall(msgspec.json.encode(request) + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
    except OSError as error:
        raise UnreachableError(f"no simulator answers on {path}: {error.strerror or error}") from error
    if not line:
        raise UnreachableError(f"the simulator on {path} closed the connection")
    answer: Answer = msgspec.json.decode(line, type=dict[str, Any])
    if not answer.pop("ok"):
        raise ControlError(str(answer["error"]))
    return answer


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(CALL_SECONDS)
            probe.connect(str(path))
    except OSError:
        return False
    return True
