"""What the client needs to be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CentralSettings:
    """Where the centre is, and how both sides prove who they are."""

    address: str  # host:port
    certificate: Path  # PEM: this kiosk's certificate, then its chain
    key: Path  # PEM: its private key
    authority: Path  # PEM: who signs the centre's certificate
    server_name: str = ""  # name expected in the centre's certificate; empty: the host of the address
