"""Another program that holds a reader: connects exclusively to the card in it, says so, and stays until it is ended.

A program of its own, because libpcsclite keeps the first socket name a process used until that process ends.
"""

from __future__ import annotations

import json
import signal
import sys

from smartcard.scard import (
    SCARD_PROTOCOL_T0,
    SCARD_PROTOCOL_T1,
    SCARD_S_SUCCESS,
    SCARD_SCOPE_SYSTEM,
    SCARD_SHARE_EXCLUSIVE,
    SCardConnect,
    SCardEstablishContext,
)

HOLDING = "holding"


def main(reader: str) -> int:
    """Hold the reader of this name until a signal ends the process."""
    code, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    if code == SCARD_S_SUCCESS:
        code, _, _ = SCardConnect(context, reader, SCARD_SHARE_EXCLUSIVE, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1)
    if code != SCARD_S_SUCCESS:
        print(f"cannot hold {reader}: PC/SC code {code & 0xFFFFFFFF:08X}")
        return 1
    print(json.dumps({"event": HOLDING}), flush=True)
    signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
