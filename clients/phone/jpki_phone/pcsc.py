"""The phone's own slot: the only module that knows PC/SC."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("PCSCLITE_NO_BLOCKING", "1")  # else the library itself retries a held reader for ever

from smartcard import scard

from jpki_phone.card import CardLost, Transmit
from jpki_phone.problems import NotReserved, Problem, not_reserved

SLICE_MS = 1000  # of a wait; a longer one would only delay Ctrl-C
HELD_RETRIES = 20
HELD_PAUSE_S = 0.1

_MISSING_CARD = frozenset({scard.SCARD_E_NO_SMARTCARD, scard.SCARD_W_REMOVED_CARD})
_MISSING_READER = frozenset(
    {scard.SCARD_E_UNKNOWN_READER, scard.SCARD_E_READER_UNAVAILABLE, scard.SCARD_E_NO_READERS_AVAILABLE}
)
_SERVICE_LOST = frozenset(
    {
        scard.SCARD_E_NO_SERVICE,
        scard.SCARD_E_SERVICE_STOPPED,
        scard.SCARD_F_COMM_ERROR,
        scard.SCARD_E_INVALID_HANDLE,
        scard.SCARD_W_SECURITY_VIOLATION,  # polkit's no, and a service without a free context
    }
)


class Slot:
    """One reader; each card session is exclusive and ends with a reset of the card."""

    def __init__(self, context: int, name: str) -> None:
        self._context = context
        self.name = name

    def wait_for_card(self, seconds: int, tell: Callable[[], None]) -> None:
        """Return once a card lies on the reader; `tell` is called when it has to be waited for.

        Raises NotReserved when none came within the seconds.
        """
        code, states = scard.SCardGetStatusChange(self._context, 0, [(self.name, scard.SCARD_STATE_UNAWARE)])
        told = False
        for _ in range(seconds + 1):
            if code not in {scard.SCARD_S_SUCCESS, scard.SCARD_E_TIMEOUT}:
                raise _fault(code)
            state = states[0][1]
            if state & scard.SCARD_STATE_UNKNOWN:
                raise not_reserved(Problem.READER_MISSING)
            if state & scard.SCARD_STATE_PRESENT:
                return
            if not told:
                told = True
                tell()
            known = [(self.name, state & ~scard.SCARD_STATE_CHANGED)]
            code, states = scard.SCardGetStatusChange(self._context, SLICE_MS, known)
        raise not_reserved(Problem.NO_CARD)

    @contextlib.contextmanager
    def card(self) -> Iterator[Transmit]:
        """Connect exclusively, and at the end reset the card and disconnect. Raises NotReserved."""
        handle, protocol = self._connect()
        header = scard.SCARD_PCI_T1 if protocol == scard.SCARD_PROTOCOL_T1 else scard.SCARD_PCI_T0

        def transmit(command: bytes) -> bytes:
            code, answer = scard.SCardTransmit(handle, header, list(command))
            if code != scard.SCARD_S_SUCCESS:  # what came with it is no answer
                raise CardLost
            return bytes(answer)

        try:
            yield transmit
        except CardLost:
            raise not_reserved(Problem.CARD_UNREADABLE) from None
        finally:
            scard.SCardDisconnect(handle, scard.SCARD_RESET_CARD)  # no verified PIN stays behind

    def _connect(self) -> tuple[int, int]:
        protocols = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        for _ in range(HELD_RETRIES):
            code, handle, protocol = scard.SCardConnect(
                self._context, self.name, scard.SCARD_SHARE_EXCLUSIVE, protocols
            )
            if code == scard.SCARD_S_SUCCESS:
                return handle, protocol
            if code != scard.SCARD_E_SHARING_VIOLATION:
                break
            time.sleep(HELD_PAUSE_S)  # noqa: TID251 - a command line has no clock to inject
        raise _fault(code)


@contextlib.contextmanager
def open_slot(name: str | None) -> Iterator[Slot]:
    """Yield the reader of this name, or the only one there is. Raises NotReserved."""
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    if code != scard.SCARD_S_SUCCESS:
        raise not_reserved(Problem.PCSC_UNAVAILABLE, detail=_code(code))
    try:
        code, names = scard.SCardListReaders(context, [])
        if code == scard.SCARD_E_NO_READERS_AVAILABLE:
            names = []
        elif code != scard.SCARD_S_SUCCESS:
            raise _fault(code)
        yield Slot(context, _choose(name, names))
    finally:
        scard.SCardReleaseContext(context)


def _choose(name: str | None, names: list[str]) -> str:
    there = f"There: {', '.join(names)}." if names else "There is none at all."
    if name is None and len(names) > 1:
        raise not_reserved(Problem.READER_NOT_CHOSEN, detail=there)
    if not names or (name is not None and name not in names):
        raise not_reserved(Problem.READER_MISSING, detail=there)
    return name or names[0]


def _fault(code: int) -> NotReserved:
    if code in _SERVICE_LOST:
        problem = Problem.PCSC_UNAVAILABLE
    elif code in _MISSING_READER:
        problem = Problem.READER_MISSING
    elif code in _MISSING_CARD:
        problem = Problem.NO_CARD
    elif code == scard.SCARD_E_SHARING_VIOLATION:
        problem = Problem.READER_HELD
    else:
        problem = Problem.CARD_UNREADABLE
    return not_reserved(problem, detail=_code(code))


def _code(code: int) -> str:
    return f"PC/SC code {code & 0xFFFFFFFF:08X}."
