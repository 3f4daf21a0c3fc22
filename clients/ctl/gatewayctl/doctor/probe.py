"""Asks PC/SC what can be asked without touching a card: which readers there are, and who uses them how.

A program of its own, run with a deadline: libpcsclite waits for ever when pcscd hangs. It establishes a context, lists
the readers and takes one look at their states; it has no call that connects to a card or sends it anything.
Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from smartcard import scard

NAMES = {
    scard.SCARD_S_SUCCESS: "success",
    scard.SCARD_E_NO_SERVICE: "no_service",
    scard.SCARD_E_SERVICE_STOPPED: "service_stopped",
    scard.SCARD_F_COMM_ERROR: "comm_error",
    scard.SCARD_W_SECURITY_VIOLATION: "security_violation",
    scard.SCARD_E_NO_READERS_AVAILABLE: "no_readers",
    scard.SCARD_E_TIMEOUT: "timeout",
}


def library() -> str:
    """Return the path of the libpcsclite in use, of a spy before it if there is one, empty when it cannot be told."""
    paths = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    names = ("/libpcscspy", "/libpcsclite")
    return next((path for name in names for path in sorted(paths) if name in path), "")


def look() -> tuple[int, dict[str, int]]:
    """Return the PC/SC code of the call that failed, or success, and each reader's state."""
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    if code != scard.SCARD_S_SUCCESS:
        return code, {}
    try:
        code, names = scard.SCardListReaders(context, [])
        if code == scard.SCARD_E_NO_READERS_AVAILABLE:
            return scard.SCARD_S_SUCCESS, {}
        if code != scard.SCARD_S_SUCCESS:
            return code, {}
        asked = [(name, scard.SCARD_STATE_UNAWARE) for name in names]
        code, states = scard.SCardGetStatusChange(context, 0, asked)
        return code, {name: state for name, state, _ in states} if code == scard.SCARD_S_SUCCESS else {}
    finally:
        scard.SCardReleaseContext(context)


def main() -> int:
    """Print what there is."""
    code, states = look()
    readers = {
        name: {
            "card": bool(state & scard.SCARD_STATE_PRESENT),
            "exclusive": bool(state & scard.SCARD_STATE_EXCLUSIVE),
            "shared": bool(state & scard.SCARD_STATE_INUSE),
            "mute": bool(state & scard.SCARD_STATE_MUTE),
        }
        for name, state in states.items()
    }
    said = NAMES.get(code, f"{code & 0xFFFFFFFF:08X}")
    sys.stdout.write(json.dumps({"code": said, "library": library(), "readers": readers}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
