"""The only use of pyscard in the daemon: one blocking PC/SC call each, errors in our own words.

The thin layer, because its high-level neighbour connects in three steps, watches readers with a thread that ends on the
first error, and calls into PC/SC from destructors. Rules that hold for every call:

* The return code is looked at first; beside an error code the other values are undefined (a failed transmit returns
  65,548 bytes of old memory), so nothing looks at them.
* A context belongs to one thread, as the library locks it for the whole call. SCardCancel is not used: it is lost when
  it comes just before the wait, and it asks pcscd itself, so that a pcscd that hangs would hang its caller too.
* A context that lost pcscd never recovers, also not when pcscd is back, and SCardIsValidContext says it is fine.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from smartcard import scard

from gatewayd.errors import CardAbsent, LinkError, ReaderHeld, ReaderMissing, ServiceLost, TransmitFailed

R = TypeVar("R")

# Establishing holds the library's own global lock, for ever when pcscd hangs; and pyscard frees the list of readers,
# which takes that lock, while it holds the interpreter's. Together they would stop every thread of the process. So the
# two never run at the same time; waiting here leaves the interpreter alone.
_LIBRARY = threading.Lock()

PNP_READER = "\\\\?PnP?\\Notification"  # pseudo reader: a change of the list of readers

_COUNTER_SHIFT = 16  # pcsc-lite: the upper half of a state counts insertions and removals
_MILLISECONDS = 1000
_INDEX_AND_SLOT = re.compile(r" [0-9A-F]{2} [0-9A-F]{2}$")  # pcsc-lite, src/readerfactory.c
# Some calls retry a sharing violation for ever inside the library unless this is set (pcsc-lite, src/winscard_clnt.c).
_NO_BLOCKING = "PCSCLITE_NO_BLOCKING"

_PROTOCOLS = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
_PCI = {scard.SCARD_PROTOCOL_T0: scard.SCARD_PCI_T0, scard.SCARD_PROTOCOL_T1: scard.SCARD_PCI_T1}

_ERRORS: dict[int, type[LinkError]] = {
    # Which code says that pcscd is gone depends on its version and on the moment.
    scard.SCARD_E_NO_SERVICE: ServiceLost,
    scard.SCARD_E_SERVICE_STOPPED: ServiceLost,
    scard.SCARD_F_COMM_ERROR: ServiceLost,
    scard.SCARD_E_INVALID_HANDLE: ServiceLost,
    scard.SCARD_E_UNKNOWN_READER: ReaderMissing,
    scard.SCARD_E_READER_UNAVAILABLE: ReaderMissing,
    scard.SCARD_E_NO_READERS_AVAILABLE: ReaderMissing,
    scard.SCARD_E_SHARING_VIOLATION: ReaderHeld,
    scard.SCARD_E_NO_SMARTCARD: CardAbsent,
    scard.SCARD_W_REMOVED_CARD: CardAbsent,
    # A card that lies badly, or is none of ours: it has to be placed again.
    scard.SCARD_W_UNRESPONSIVE_CARD: TransmitFailed,
    scard.SCARD_W_UNPOWERED_CARD: TransmitFailed,
    scard.SCARD_W_RESET_CARD: TransmitFailed,
    scard.SCARD_E_NOT_TRANSACTED: TransmitFailed,
    scard.SCARD_E_PROTO_MISMATCH: TransmitFailed,
    scard.SCARD_W_UNSUPPORTED_CARD: TransmitFailed,
}


@dataclass(frozen=True, slots=True)
class SlotState:
    """What pcscd says of one reader; `raw` goes back whole into the next wait, so that no change is missed."""

    raw: int

    @property
    def card_present(self) -> bool:
        """Whether a card lies there, readable or not."""
        return bool(self.raw & scard.SCARD_STATE_PRESENT)

    @property
    def is_unanswering(self) -> bool:
        """Whether pcscd believes in a card that did not answer its last reset: a bad one, or none."""
        return bool(self.raw & scard.SCARD_STATE_MUTE)

    @property
    def counter(self) -> int:
        """Insertions and removals so far, modulo 65,536: a quick swap shows here only."""
        return self.raw >> _COUNTER_SHIFT


UNAWARE = SlotState(scard.SCARD_STATE_UNAWARE)


class Card:
    """An exclusive connection to the card in a reader."""

    def __init__(self, handle: int, protocol: int) -> None:
        self._handle = handle
        self._protocol = protocol

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU and return whatever came, 0-65,538 bytes. Blocks as long as the card is silent.

        Raises ServiceLost or TransmitFailed; the card may have executed the command in both cases.
        """
        code, answer = _call(scard.SCardTransmit, self._handle, _PCI[self._protocol], list(command))
        if code != scard.SCARD_S_SUCCESS:
            # Whatever the code says of the card now, this command got no answer.
            error = ServiceLost if _ERRORS.get(code) is ServiceLost else TransmitFailed
            raise error(_describe("transmit", code))
        return bytes(answer)

    def reset(self) -> None:
        """Reset the card and stay connected. Raises LinkError."""
        code, protocol = _call(
            scard.SCardReconnect, self._handle, scard.SCARD_SHARE_EXCLUSIVE, _PROTOCOLS, scard.SCARD_RESET_CARD
        )
        _check("reset", code)
        self._protocol = protocol

    def disconnect(self, *, leave: bool) -> None:
        """Reset the card and give the reader back. Raises LinkError; the handle is void in any case.

        `leave` is for a card known to be gone: a reset would then keep pcscd from seeing the next card for seconds.
        """
        disposition = scard.SCARD_LEAVE_CARD if leave else scard.SCARD_RESET_CARD
        _check("disconnect", _call(scard.SCardDisconnect, self._handle, disposition))


class Context:
    """One connection to pcscd."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def readers(self) -> list[str]:
        """Return the names of all readers; none is a normal answer. Raises ServiceLost."""
        with _LIBRARY:
            code, names = _call(scard.SCardListReaders, self._handle, [])
        if code == scard.SCARD_E_NO_READERS_AVAILABLE:
            return []
        _check("list readers", code)
        return list(names)

    def slot(self, reader: str) -> SlotState:
        """Return the reader's state now. Raises ReaderMissing or ServiceLost."""
        return self.wait(reader, UNAWARE, 0)

    def wait(self, reader: str | None, known: SlotState, seconds: float) -> SlotState:
        """Return the reader's state once it differs from `known`, the list of readers changes, or time is over.

        Without a reader only the list is waited for. Raises ReaderMissing or ServiceLost.
        """
        watched = [] if reader is None else [(reader, known.raw)]
        states = [*watched, (PNP_READER, scard.SCARD_STATE_UNAWARE)]
        code, answers = _call(scard.SCardGetStatusChange, self._handle, int(seconds * _MILLISECONDS), states)
        if code == scard.SCARD_E_TIMEOUT:
            return known
        _check("wait", code)
        if not watched:
            return known
        raw = answers[0][1]
        if raw & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE):
            raise ReaderMissing("the reader went away")
        return SlotState(raw)

    def connect(self, reader: str) -> Card:
        """Connect exclusively, in one step.

        Raises ReaderHeld, CardAbsent, ReaderMissing, TransmitFailed (a card is there, but mute) or ServiceLost.
        """
        code, handle, protocol = _call(
            scard.SCardConnect, self._handle, reader, scard.SCARD_SHARE_EXCLUSIVE, _PROTOCOLS
        )
        _check("connect", code)
        return Card(handle, protocol)

    def look_again(self, reader: str) -> None:
        """Have pcscd ask the reader itself whether a card lies there, by a reset that needs no card.

        A card lifted while pcscd resets it can stay in pcscd's memory until the next card is lifted: the reset that
        fails writes "present" over what its poll has just seen (pcsc-lite 1.9.9 to 2.5.1, SCardDisconnect in
        src/winscard.c). Raises LinkError.
        """
        code, handle, _ = _call(scard.SCardConnect, self._handle, reader, scard.SCARD_SHARE_DIRECT, _PROTOCOLS)
        _check("look again", code)
        _check("look again", _call(scard.SCardDisconnect, handle, scard.SCARD_RESET_CARD))

    def release(self) -> None:
        """Give the context back; never raises, as a lost one cannot be released in any other way."""
        try:
            _call(scard.SCardReleaseContext, self._handle)
        except ServiceLost:
            return


def establish() -> Context:
    """Connect to pcscd: at once or not at all, unless it hangs. Raises ServiceLost."""
    os.environ.setdefault(_NO_BLOCKING, "1")
    with _LIBRARY:
        code, handle = _call(scard.SCardEstablishContext, scard.SCARD_SCOPE_SYSTEM)
    if code != scard.SCARD_S_SUCCESS:
        raise ServiceLost(_describe("establish", code))
    return Context(handle)


def choose_reader(names: Sequence[str], configured: str) -> str:
    """Return the one reader that the configured name means. Raises ReaderMissing for none, and for several.

    PC/SC appends index and slot, two hexadecimal pairs that depend on the order of plugging, so the name without them
    will do as long as only one reader has it.
    """
    if configured in names:
        return configured
    matching = [name for name in names if _INDEX_AND_SLOT.sub("", name) == configured]
    if len(matching) != 1:
        raise ReaderMissing(f"{len(matching)} of {len(names)} readers are called {configured!r}")
    return matching[0]


def _call(function: Callable[..., R], *arguments: object) -> R:
    """Call into the binding; its bare SystemError for a bad handle means that the handle is void."""
    try:
        return function(*arguments)
    except SystemError as error:
        raise ServiceLost("the PC/SC handle is void") from error


def _check(what: str, code: int) -> None:
    """Raise what the code means. An unknown one costs the context: only a new one can tell whether pcscd is well."""
    if code != scard.SCARD_S_SUCCESS:
        raise _ERRORS.get(code, ServiceLost)(_describe(what, code))


def _describe(what: str, code: int) -> str:
    return f"{what}: PC/SC code {code & 0xFFFFFFFF:08X}"
