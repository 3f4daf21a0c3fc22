"""Makes pcscd believe in a card that is not there.

By itself that comes about when a card is lifted while pcscd resets it: the poll sees it go, then the reset fails and
writes "present" over what the poll told; and the poll speaks of changes only. Here the card comes, is reset and goes,
all between two polls, which is sure to end in the same way.
"""

from __future__ import annotations

import socket
import threading

from smartcard import scard

from cardsim.card import ATR
from cardsim.vpcd import GET_ATR, HOST, LENGTH_BYTES, RESET
from tests.rig.pcscd import VirtualReader
from tests.rig.process import RigError

ATTEMPTS = 20
SECONDS = 5.0


def haunt(reader: VirtualReader) -> None:
    """Leave a ghost in the empty reader of the service that this process's PC/SC calls reach. Raises RigError."""
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    if code != scard.SCARD_S_SUCCESS:
        raise RigError(f"no PC/SC service: {code & 0xFFFFFFFF:08X}")
    try:
        for _ in range(ATTEMPTS):
            if _passed_between_polls(context, reader):
                return
    finally:
        scard.SCardReleaseContext(context)
    raise RigError("pcscd's poll saw the card each time")


def _passed_between_polls(context: int, reader: VirtualReader) -> bool:
    """Whether the card was reset and gone before the poll, which would power it first, saw it."""
    got: list[int] = []
    with socket.create_connection((HOST, reader.port), SECONDS) as card:
        answering = threading.Thread(target=_answer_until_reset, args=(card, got))
        answering.start()
        _, handle, _ = scard.SCardConnect(context, reader.name, scard.SCARD_SHARE_DIRECT, scard.SCARD_PROTOCOL_T1)
        scard.SCardDisconnect(handle, scard.SCARD_RESET_CARD)
        answering.join(SECONDS)
    return got == [GET_ATR, RESET]


def _answer_until_reset(card: socket.socket, got: list[int]) -> None:
    """Answer as a card does, and leave instead of being reset."""
    while not got or got[-1] != RESET:
        length = int.from_bytes(card.recv(LENGTH_BYTES, socket.MSG_WAITALL))
        if not length:
            break
        got.append(card.recv(length, socket.MSG_WAITALL)[0])
        if got[-1] == GET_ATR:
            card.sendall(len(ATR).to_bytes(LENGTH_BYTES) + ATR)
    card.shutdown(socket.SHUT_RDWR)
