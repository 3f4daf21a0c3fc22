"""The ledger: every APDU in order with the card's state before and after, one JSON object a line, for other programs.

It is the simulator's ground truth, so it holds answers in full. The data fields that carry a secret are given by their
length alone: `0020009804[4]` is a VERIFY of four bytes.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from cardsim.apdu import HEADER_LENGTH, STATUS_LENGTH, MalformedCommandError, parse_command
from cardsim.commands import INS_CHANGE_REFERENCE_DATA, INS_RESET_RETRY_COUNTER, INS_VERIFY, command_name


class _Numbered(msgspec.Struct):
    seq: int


MASKED = frozenset({INS_VERIFY, INS_CHANGE_REFERENCE_DATA, INS_RESET_RETRY_COUNTER})


class LedgerError(Exception):
    """The file ends with what is no entry."""


class Ledger:
    """Appends to one file. Numbers go on where an older run of the same file stopped."""

    def __init__(self, path: Path, now: Callable[[], datetime.datetime]) -> None:
        """Open the file, or make it, mode 0600. Raises LedgerError."""
        self.path = path
        self._now = now
        self._sequence = _last_sequence(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._file = os.fdopen(descriptor, "ab", buffering=0)

    def event(self, event: str, **facts: object) -> None:
        """Record that something other than an APDU happened: power_on, reset, insert, remove ..."""
        self._append({"event": event, **facts})

    def fault(self, card: str, slot: str, apdu: bytes, facts: Mapping[str, object]) -> int:
        """Record that a planned fault struck at this APDU, and return the entry's number.

        The names differ from those of an exchange: whoever counts commands must not count this.
        """
        self._append({"event": "fault", "card": card, "slot": slot, "struck": mask(apdu), **facts})
        return self._sequence

    def exchange(
        self,
        card: str,
        slot: str,
        apdu: bytes,
        answer: bytes,
        before: Mapping[str, object],
        after: Mapping[str, object],
    ) -> None:
        """Record one APDU, its answer (b"" for none) and the card's state around it."""
        self._append(
            {
                "event": "apdu",
                "card": card,
                "slot": slot,
                "command": command_name(apdu[1]) if len(apdu) > 1 else "",
                "apdu": mask(apdu),
                "answer": answer[:-STATUS_LENGTH].hex().upper(),
                "status": answer[-STATUS_LENGTH:].hex().upper(),
                "before": before,
                "after": after,
            }
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, entry: Mapping[str, object]) -> None:
        self._sequence += 1
        head = {"seq": self._sequence, "at": self._now()}
        self._file.write(msgspec.json.encode({**head, **entry}) + b"\n")


def mask(apdu: bytes) -> str:
    """Return the APDU in hex, a secret data field as its length in brackets."""
    if len(apdu) <= HEADER_LENGTH + 1 or apdu[1] not in MASKED:
        return apdu.hex().upper()
    try:
        command = parse_command(apdu)
    except MalformedCommandError:
        return f"{apdu[:HEADER_LENGTH].hex().upper()}[{len(apdu) - HEADER_LENGTH}]"
    start = HEADER_LENGTH + (3 if command.extended else 1)  # Lc
    tail = apdu[start + len(command.data) :]
    return f"{apdu[:start].hex().upper()}[{len(command.data)}]{tail.hex().upper()}"


def _last_sequence(path: Path) -> int:
    """Return the last number in the file; 0 for a new one. Raises LedgerError."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return 0
    try:
        return msgspec.json.decode(lines[-1], type=_Numbered).seq if lines else 0
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise LedgerError(
            f"{path}: the last line is no entry of a ledger; take it away, or name another file"
        ) from None
