"""What the card's user key signs: one statement per purpose, so that no signature serves another."""

from __future__ import annotations

from enum import IntEnum

from centrald.rules.model import Procedure

CHALLENGE_BYTES = 32
SIGNATURE_BYTES = 256  # RSA-2048

_LABEL = b"JPKI-RESET-STATEMENT"
_FORMAT = 1


class Purpose(IntEnum):
    """What a signature is for."""

    RESERVE = 1
    RESET = 2


def statement(purpose: Purpose, procedure: Procedure, attempt_id: str, kiosk: str, challenge: bytes) -> bytes:
    """Return the signed bytes; attempt and kiosk ("chain/store/kiosk") are empty for RESERVE; challenge: 32 bytes."""
    return b"".join(
        [_LABEL, bytes([_FORMAT, purpose, procedure]), _counted(attempt_id), _counted(kiosk), challenge],
    )


def _counted(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data
