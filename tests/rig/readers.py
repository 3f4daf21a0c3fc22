"""Waits until a PC/SC service lists the readers named on the command line: 0 when it does, 1 when it does not in time.

A program of its own, because libpcsclite keeps the first socket name a process used until that process ends.
"""

from __future__ import annotations

import sys
import time

from smartcard.scard import (
    SCARD_S_SUCCESS,
    SCARD_SCOPE_SYSTEM,
    SCardEstablishContext,
    SCardListReaders,
    SCardReleaseContext,
)

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


def main(expected: set[str]) -> int:
    """Wait for all the readers."""
    deadline = time.monotonic() + SECONDS
    names: set[str] = set()
    while time.monotonic() < deadline:
        names = listed()
        if expected <= names:
            return 0
        time.sleep(POLL_SECONDS)
    print(f"readers listed: {sorted(names)}, expected: {sorted(expected)}")
    return 1


if __name__ == "__main__":
    sys.exit(main(set(sys.argv[1:])))
