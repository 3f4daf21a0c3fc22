"""An exclusive connection by bare PC/SC calls, which shows return codes as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from smartcard.scard import (
    SCARD_LEAVE_CARD,
    SCARD_PCI_T1,
    SCARD_PROTOCOL_T1,
    SCARD_S_SUCCESS,
    SCARD_SCOPE_SYSTEM,
    SCARD_SHARE_EXCLUSIVE,
    SCardConnect,
    SCardDisconnect,
    SCardEstablishContext,
    SCardReleaseContext,
    SCardTransmit,
)

TRANSACTION_FAILED = 0x80100016  # SCARD_E_NOT_TRANSACTED
CARD_REMOVED = 0x80100069  # SCARD_W_REMOVED_CARD


class Exclusive:
    """The card in one reader, until `connected` ends."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def transmit(self, apdu: str) -> bytes | int:
        """Send one command given in hex; return the answer, or the return code of a call that failed."""
        code, answer = SCardTransmit(self.handle, SCARD_PCI_T1, list(bytes.fromhex(apdu)))
        return bytes(answer) if code == SCARD_S_SUCCESS else code & 0xFFFFFFFF

    def close(self) -> None:
        """Give the reader back; harmless when repeated."""
        SCardDisconnect(self.handle, SCARD_LEAVE_CARD)


@contextlib.contextmanager
def connected(reader: str) -> Iterator[Exclusive]:
    """Connect to the card in this reader, which is there already."""
    code, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    assert code == SCARD_S_SUCCESS
    try:
        code, handle, _ = SCardConnect(context, reader, SCARD_SHARE_EXCLUSIVE, SCARD_PROTOCOL_T1)
        assert code == SCARD_S_SUCCESS, f"{code & 0xFFFFFFFF:08X}"
        terminal = Exclusive(handle)
        yield terminal
        terminal.close()
    finally:
        SCardReleaseContext(context)  # which disconnects what is still connected
