"""The fault script: which planned fault strikes at which command, and what it makes of the answer. Nothing here waits.

A fault is named by command and moment, never by time, so that a test is the same in every run; each is listed as
waiting or fired, so that a test can insist that its fault happened.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from cardsim.apdu import HEADER_LENGTH, STATUS_LENGTH
from cardsim.commands import INS_VERIFY, NAMES, command_name

ANY_COMMAND: Final = "apdu"
TRIES_LEFT: Final = "tries_left"  # VERIFY without data, which asks for the counter
STEP: Final = re.compile(r"(?P<name>[a-z0-9_]+)(?:#(?P<number>[1-9][0-9]{0,5}))?")
STATUS_DIGITS: Final = re.compile(r"[0-9A-Fa-f]{4}")
INSTRUCTION_DIGITS: Final = re.compile(r"[0-9a-f]{2}")
ONE_BYTE: Final = b"\x90"  # the first half of a status word that says "done"
MAC_LENGTH: Final = 8  # GPC_SPE_014, S8 mode


class FaultError(Exception):
    """A fault that cannot be planned, or is not there."""


class Point(StrEnum):
    """The moment within one command."""

    BEFORE_DELIVERY = "before_delivery"  # the card never sees it
    AFTER_DELIVERY = "after_delivery"  # the card has it, and has done nothing yet
    AFTER_EFFECT = "after_effect"  # carried out and kept, nothing has been answered
    INSIDE_ANSWER = "inside_answer"  # a part of the answer has left
    AFTER_ANSWER = "after_answer"  # all of it has left


class Kind(StrEnum):
    """What goes wrong."""

    TEAR = "tear"  # the card is gone; with `seconds`, back by itself
    SWAP = "swap"  # another card takes its place
    MUTE = "mute"  # no answer until the fault is released or the card is lifted
    DELAY = "delay"  # the answer is late
    EMPTY = "empty"  # an answer of no bytes
    ONE_BYTE = "one_byte"
    STATUS = "status"  # a status word instead of the answer
    GARBAGE = "garbage"  # 32 bytes that mean nothing
    MAC_MISSING = "mac_missing"
    MAC_WRONG = "mac_wrong"


EVERYWHERE: Final = frozenset(Point)
NOTHING_LEFT_YET: Final = frozenset({Point.BEFORE_DELIVERY, Point.AFTER_DELIVERY, Point.AFTER_EFFECT})
POINTS: Final[Mapping[Kind, frozenset[Point]]] = {
    Kind.TEAR: EVERYWHERE,
    Kind.SWAP: EVERYWHERE,
    Kind.MUTE: EVERYWHERE,
    Kind.DELAY: EVERYWHERE - {Point.AFTER_ANSWER},
    Kind.EMPTY: NOTHING_LEFT_YET,
    Kind.ONE_BYTE: NOTHING_LEFT_YET,
    Kind.STATUS: NOTHING_LEFT_YET,
    Kind.GARBAGE: NOTHING_LEFT_YET,
    Kind.MAC_MISSING: frozenset({Point.AFTER_EFFECT}),
    Kind.MAC_WRONG: frozenset({Point.AFTER_EFFECT}),
}
DEPARTURES: Final = frozenset({Kind.TEAR, Kind.SWAP})
PAUSES: Final = frozenset({Kind.MUTE, Kind.DELAY})


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One planned fault.

    `at`: a command's name in small letters, as `verify` or `reset_retry_counter`, `tries_left` for a VERIFY without
    data, two hex digits for another instruction, or `apdu` for any; `#3` after it means the third from now on.
    `seconds`: how late a DELAY is, or after how long a TEAR or SWAP brings a card; 0 is faster than PC/SC looks.
    `slot`: only commands in this slot count. `other`: the card of a SWAP. `status`: four hex digits.
    """

    at: str
    kind: Kind
    point: Point = Point.AFTER_EFFECT
    seconds: float | None = None
    status: str | None = None
    other: str | None = None
    slot: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could never strike, or would not mean anything."""
        parse_step(self.at)
        if self.point not in POINTS[self.kind]:
            possible = ", ".join(point for point in Point if point in POINTS[self.kind])
            raise ValueError(f"{self.kind} is possible at {possible}")
        timed = self.kind in DEPARTURES or self.kind is Kind.DELAY
        _demand(self.seconds is None or (timed and self.seconds >= 0), f"{self.kind} takes no such `seconds`")
        _demand(self.seconds is not None or self.kind is not Kind.DELAY, "delay needs `seconds`")
        _demand((self.other is not None) == (self.kind is Kind.SWAP), "swap and nothing else needs `other`, a card")
        _demand((self.status is not None) == (self.kind is Kind.STATUS), "status and nothing else needs `status`")
        _demand(self.status is None or bool(STATUS_DIGITS.fullmatch(self.status)), "`status` is four hex digits")


def parse_step(text: str) -> tuple[str, int]:
    """Return the command's name and which one of that name from now on, from 1. Raises ValueError."""
    match = STEP.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a command's name, or a name and #number")
    name = match["name"]
    nameless = INSTRUCTION_DIGITS.fullmatch(name) and int(name, 16) not in NAMES
    if name not in STEP_NAMES and not nameless:
        raise ValueError(f"no command {name!r}; there are: {', '.join(STEP_NAMES)}")
    return name, int(match["number"] or 1)


def step_name(apdu: bytes) -> str:
    """Return a command's name as faults use it; "" for less than a header."""
    if len(apdu) < HEADER_LENGTH:
        return ""
    if apdu[1] == INS_VERIFY and len(apdu) == HEADER_LENGTH:
        return TRIES_LEFT
    return small(command_name(apdu[1]))


def altered(fault: Fault, apdu: bytes, answer: bytes) -> bytes:
    """Return what a fault that changes the answer makes of it; `answer` is b"" when the card was not asked."""
    match fault.kind:
        case Kind.EMPTY:
            return b""
        case Kind.ONE_BYTE:
            return ONE_BYTE
        case Kind.STATUS:
            return bytes.fromhex(fault.status or "")
        case Kind.GARBAGE:
            return hashlib.sha256(apdu).digest()
        case Kind.MAC_MISSING:
            return answer[MAC_LENGTH:]
        case Kind.MAC_WRONG:
            return bytes(byte ^ 0xFF for byte in answer[:MAC_LENGTH]) + answer[MAC_LENGTH:]
        case _:
            return answer


def bytes_sent(fault: Fault, answer: bytes) -> int:
    """Return how many bytes of the answer leave before the fault: 0, about half, or all."""
    if fault.point is Point.INSIDE_ANSWER:
        return len(answer) // 2
    return len(answer) if fault.point is Point.AFTER_ANSWER else 0


def fits(fault: Fault, answer: bytes) -> bool:
    """Whether there is anything the fault could change: only an answer with a MAC can lack it."""
    return fault.kind not in (Kind.MAC_MISSING, Kind.MAC_WRONG) or len(answer) == MAC_LENGTH + STATUS_LENGTH


class Planned:
    """A fault in the script: its number, the commands it has yet to let pass, and the ledger's entry once it fired."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.name, self.left = parse_step(fault.at)
        self.fired: int | None = None
        self.active = False  # holds the card right now

    def describe(self) -> dict[str, object]:
        """Return it as plain values."""
        state = "waiting" if self.fired is None else "fired"
        facts: dict[str, object] = msgspec.to_builtins(self.fault)
        point = self.fault.point.value
        return {"id": self.number, "state": state, "seq": self.fired, "active": self.active, **facts, "point": point}


class Script:
    """All planned faults, in the order they were added."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._planned: list[Planned] = []
        self._numbers = 0
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> Planned:
        """Plan one more; its count begins now."""
        self._numbers += 1
        planned = Planned(self._numbers, fault)
        self._planned.append(planned)
        return planned

    def all(self) -> tuple[Planned, ...]:
        """Return all of them, waiting and fired."""
        return tuple(self._planned)

    def clear(self) -> tuple[Planned, ...]:
        """Forget all of them, and return what was forgotten."""
        forgotten, self._planned = tuple(self._planned), []
        return forgotten

    def due(self, slot: str, apdu: bytes) -> Planned | None:
        """Count this command, and return the fault that strikes at it.

        Of several due at one command the first strikes, and the others at the next command of their name.
        """
        name = step_name(apdu)
        struck: Planned | None = None
        for planned in self._planned:
            if planned.fired is not None or planned.fault.slot not in (None, slot):
                continue
            if planned.name not in (ANY_COMMAND, name):
                continue
            planned.left = max(0, planned.left - 1)
            if planned.left == 0 and struck is None:
                struck = planned
        return struck


class _ScriptFile(msgspec.Struct, forbid_unknown_fields=True):
    fault: list[Fault] = []


def load(path: Path) -> list[Fault]:
    """Read a script, TOML with one [[fault]] table for each. Raises FaultError."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=_ScriptFile).fault
    except OSError as error:
        raise FaultError(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise FaultError(f"{path}: {error}") from error


def small(name: str) -> str:
    """Return a command's name of the ledger as the script writes it."""
    return name.lower().replace(" ", "_")


def _demand(condition: bool, complaint: str) -> None:
    if not condition:
        raise ValueError(complaint)


STEP_NAMES: Final = (ANY_COMMAND, TRIES_LEFT, *(small(name) for name in NAMES.values()))
