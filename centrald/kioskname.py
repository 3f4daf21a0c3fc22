"""A kiosk's name, as its client certificate carries it."""

from __future__ import annotations

import re

from centrald.rules.model import KioskId

_ID = "([a-z0-9-]{1,32})"
ID_PATTERN = re.compile(_ID)
_URI = re.compile(f"spiffe://jpki-reset/chain/{_ID}/store/{_ID}/kiosk/{_ID}")


def uri_of(kiosk: KioskId) -> str:
    """Return the URI name of a kiosk's certificate."""
    return f"spiffe://jpki-reset/chain/{kiosk.chain}/store/{kiosk.store}/kiosk/{kiosk.kiosk}"


def kiosk_of(uri: str) -> KioskId | None:
    """Return the kiosk of a URI name, if it is one."""
    match = _URI.fullmatch(uri)
    return KioskId(*match.groups()) if match else None
