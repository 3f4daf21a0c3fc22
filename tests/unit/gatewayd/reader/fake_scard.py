# ruff: noqa: N802 - the names are PC/SC's
"""pyscard's thin layer without pcscd: one reader, one card, and any return code at any call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from smartcard import scard as real

READER = "Kiosk 00 00"
OK = [0x90, 0x00]


class Poison:
    """What stands beside an error code: nobody may look at it."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"stale data was touched: {name}")

    def __iter__(self) -> Any:
        raise AssertionError("stale data was touched")

    def __len__(self) -> int:
        raise AssertionError("stale data was touched")

    def __index__(self) -> int:
        raise AssertionError("stale data was touched")


POISON: Any = Poison()


class FakeScard:
    """Stands in for the module `smartcard.scard`; its constants are the real ones."""

    def __init__(self) -> None:
        self.readers = [READER]
        self.state = real.SCARD_STATE_EMPTY
        self.codes: dict[str, list[int | Exception]] = {}  # by function, or "thread function"; used up one by one
        self.standing: dict[str, int | Exception] = {}  # by function; stays
        self.before: dict[str, Callable[[], object]] = {}  # by function; done first
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.threads: dict[str, set[str]] = {}
        self.contexts: set[int] = set()
        self.answer: Callable[[list[int]], list[int]] = lambda _command: OK
        self.protocol = real.SCARD_PROTOCOL_T1
        self._next = 100
        self._changed = threading.Condition()

    def __getattr__(self, name: str) -> Any:
        return getattr(real, name)

    # Control

    def set_card(self, *, present: bool, events: int = 1) -> None:
        with self._changed:
            counter = (self.state >> 16) + events
            self.state = counter << 16 | (real.SCARD_STATE_PRESENT if present else real.SCARD_STATE_EMPTY)
            self._changed.notify_all()

    def fail(self, function: str, *codes: int | Exception) -> None:
        self.codes.setdefault(function, []).extend(codes)

    def count(self, function: str) -> int:
        return sum(name == function for name, _ in self.calls)

    def arguments(self, function: str) -> list[tuple[Any, ...]]:
        return [arguments for name, arguments in self.calls if name == function]

    # smartcard.scard

    def SCardEstablishContext(self, *arguments: Any) -> tuple[int, int]:
        if code := self._enter("SCardEstablishContext", arguments):
            return code, POISON
        self._next += 1
        self.contexts.add(self._next)
        return 0, self._next

    def SCardReleaseContext(self, context: int) -> int:
        code = self._enter("SCardReleaseContext", (context,))
        self.contexts.discard(context)
        return code

    def SCardListReaders(self, *arguments: Any) -> tuple[int, list[str]]:
        if code := self._enter("SCardListReaders", arguments):
            return code, POISON
        return (0, self.readers) if self.readers else (real.SCARD_E_NO_READERS_AVAILABLE, POISON)

    def SCardGetStatusChange(self, *arguments: Any) -> tuple[int, Any]:
        if code := self._enter("SCardGetStatusChange", arguments):
            return code, POISON
        _, milliseconds, states = arguments
        known = dict(states).get(READER)
        with self._changed:
            news = known not in (None, self.state)
            if not news and (not milliseconds or not self._changed.wait(milliseconds / 1000)):
                return real.SCARD_E_TIMEOUT, POISON
            return 0, [(name, self.state if name == READER else 0, []) for name, _ in states]

    def SCardConnect(self, *arguments: Any) -> tuple[int, int, int]:
        if code := self._enter("SCardConnect", arguments):
            return code, POISON, POISON
        return 0, 7, self.protocol

    def SCardReconnect(self, *arguments: Any) -> tuple[int, int]:
        code = self._enter("SCardReconnect", arguments)
        return (code, POISON) if code else (0, self.protocol)

    def SCardTransmit(self, *arguments: Any) -> tuple[int, list[int]]:
        if code := self._enter("SCardTransmit", arguments):
            return code, POISON
        return 0, self.answer(arguments[2])

    def SCardDisconnect(self, *arguments: Any) -> int:
        return self._enter("SCardDisconnect", arguments)

    def _enter(self, function: str, arguments: tuple[Any, ...]) -> int:
        self.calls.append((function, arguments))
        thread = threading.current_thread().name
        self.threads.setdefault(function, set()).add(thread)
        self.before.get(function, lambda: None)()
        scripted = self.codes.get(f"{thread} {function}") or self.codes.get(function)
        code = scripted.pop(0) if scripted else self.standing.get(function, 0)
        if isinstance(code, Exception):
            raise code
        return code
