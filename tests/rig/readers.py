"""Waits until a PC/SC service lists the readers named on the command line (0; 1 when it does not in time).

With --empty: until it sees no card in any of them.

A program of its own, because libpcsclite keeps the first socket name a process used until that process ends.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from smartcard.scard import (
    SCARD_S_SUCCESS,
    SCARD_SCOPE_SYSTEM,
    SCARD_STATE_EMPTY,
    SCARD_STATE_UNAWARE,
    SCardEstablishContext,
    SCardGetStatusChange,
    SCardListReaders,
    SCardReleaseContext,
)

EMPTY = "--empty"
SECONDS = 1.0
POLL_SECONDS = 0.005


def listed() -> set[str]:
    """Return the names of the readers there are, none when the service does not answer."""
    code, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    if code != SCARD_S_SUCCESS:
        return set()
    try:
        code, names = SCardListReaders(context, [])
        return set(names) if code == SCARD_S_SUCCESS else set()
    finally:
        SCardReleaseContext(context)


def empty(reader: str) -> bool:
    """Say whether the service sees no card in the reader."""
    code, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    if code != SCARD_S_SUCCESS:
        return False
    try:
        code, states = SCardGetStatusChange(context, 0, [(reader, SCARD_STATE_UNAWARE)])
        return code == SCARD_S_SUCCESS and bool(states[0][1] & SCARD_STATE_EMPTY)
    finally:
        SCardReleaseContext(context)


def main(words: Sequence[str]) -> int:
    """Wait for all the readers to be listed, or with --empty for all to have no card."""
    names = [word for word in words if word != EMPTY]
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if all(map(empty, names)) if EMPTY in words else listed().issuperset(names):
            return 0
        time.sleep(POLL_SECONDS)
    print(f"readers listed: {sorted(listed())}; not as wanted: {' '.join(words)}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
