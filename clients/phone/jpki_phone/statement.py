"""What the card's user key signs for a reservation."""

from __future__ import annotations

import hashlib
import struct

LABEL = b"JPKI-RESET-STATEMENT"  # 20 bytes
FORMAT = 1
PURPOSE_RESERVE = 1
CHALLENGE_BYTES = 32
SHA256_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017, 9.2, note 1


def reserve_statement(procedure: int, challenge: bytes) -> bytes:
    """Return the statement of purpose "reserve", 59 bytes: attempt and kiosk are empty in it.

    Label (20 bytes), format, purpose and procedure (1 byte each), two empty texts with their 2-byte lengths, and the
    centre's challenge (32 bytes). Raises ValueError when the challenge has another length.
    """
    if len(challenge) != CHALLENGE_BYTES:
        raise ValueError("a challenge has 32 bytes")
    attempt = kiosk = b""
    return b"".join(
        [
            LABEL,
            bytes([FORMAT, PURPOSE_RESERVE, procedure]),
            *(struct.pack(">H", len(text)) + text for text in (attempt, kiosk)),
            challenge,
        ]
    )


def digest_info(statement: bytes) -> bytes:
    """Return the DER DigestInfo of the statement's SHA-256, 51 bytes (RFC 8017, 9.2): the card adds the padding."""
    return SHA256_DIGEST_INFO + hashlib.sha256(statement).digest()
