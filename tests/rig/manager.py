"""A service manager as the daemon sees it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

SECONDS = 10.0


class Manager:
    """A service manager's end of sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(SECONDS)
        self.told: list[str] = []

    def until(self, wanted: Callable[[str], bool]) -> str:
        """Wait for a line that is wanted, and return it. Raises TimeoutError."""
        while True:
            for line in self._socket.recv(4096).decode().splitlines():
                self.told.append(line)
                if wanted(line):
                    return line

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
