"""Tells the service manager what the daemon does: sd_notify(3), one datagram a message."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)


def notify(*lines: str) -> None:
    """Send `KEY=value` lines to the manager; without one (NOTIFY_SOCKET unset) nothing happens.

    A manager that cannot be told draws its own conclusions; a running attempt does not end of it.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # abstract namespace, sd_notify(3)
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        try:
            manager.connect(address)
            manager.sendall("\n".join(lines).encode())
        except OSError as error:
            log.warning("the service manager cannot be told: %s", error.strerror)
