"""Short command and response APDUs: bytes to fields and back (ISO/IEC 7816-4:2013, 5.1).

The card speaks T=1 on both interfaces (ISO/IEC 7816-3), where the whole answer comes with the command, so there is no
GET RESPONSE here; and every step fits a short APDU, so there is no chaining: one call is one command on the card.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gatewayd.errors import TransmitFailed

HEADER_LENGTH = 4  # CLA INS P1 P2, ISO/IEC 7816-4:2013, 5.1
MAX_DATA_LENGTH = 255  # Lc of a short command APDU, ISO/IEC 7816-4:2013, 5.1
MAX_ANSWER_LENGTH = 256  # Le of a short command APDU; coded as 00, ISO/IEC 7816-4:2013, 5.1
STATUS_LENGTH = 2  # SW1 SW2, ISO/IEC 7816-4:2013, 5.1


@dataclass(frozen=True, slots=True)
class Command:
    """One short command APDU. Its data may be a secret, so no text shows it."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = field(default=b"", repr=False)  # 0-255 bytes
    le: int | None = None  # 1-256 expected bytes; None for no Le field

    def __post_init__(self) -> None:
        """Raise ValueError for what does not fit a short APDU."""
        if not all(0 <= part <= 0xFF for part in (self.cla, self.ins, self.p1, self.p2)):
            raise ValueError("a header field is one byte")
        if len(self.data) > MAX_DATA_LENGTH:
            raise ValueError(f"{len(self.data)} bytes of data do not fit a short APDU")
        if self.le is not None and not 1 <= self.le <= MAX_ANSWER_LENGTH:
            raise ValueError(f"Le {self.le} does not fit a short APDU")

    @property
    def header(self) -> bytes:
        """CLA INS P1 P2, 4 bytes."""
        return bytes((self.cla, self.ins, self.p1, self.p2))

    def encode(self) -> bytes:
        """Return the command as sent: 4-261 bytes, cases 1 to 4."""
        lc = bytes((len(self.data),)) if self.data else b""
        le = b"" if self.le is None else bytes((self.le % MAX_ANSWER_LENGTH,))
        return self.header + lc + self.data + le

    @classmethod
    def parse(cls, encoded: bytes) -> Command:
        """Read a short command APDU of any case. Raises ValueError, without the bytes, for anything else."""
        if len(encoded) < HEADER_LENGTH:
            raise ValueError("a command has four bytes at least")
        cla, ins, p1, p2 = encoded[:HEADER_LENGTH]
        body = encoded[HEADER_LENGTH:]
        if len(body) <= 1:
            return cls(cla, ins, p1, p2, le=_decode_le(body))
        length, rest = body[0], body[1:]
        data, le = rest[:length], rest[length:]
        if not length or len(data) != length or len(le) > 1:
            raise ValueError("Lc does not agree with the length of a short command")
        return cls(cla, ins, p1, p2, data, _decode_le(le))


@dataclass(frozen=True, slots=True)
class Response:
    """One answer of the card, split."""

    data: bytes = field(repr=False)
    status_word: int

    @classmethod
    def parse(cls, answer: bytes) -> Response:
        """Split an answer into data and status word.

        Raises TransmitFailed for fewer than two bytes: a card torn off during a command shows as an empty "success".
        """
        if len(answer) < STATUS_LENGTH:
            raise TransmitFailed(f"an answer of {len(answer)} bytes")
        return cls(answer[:-STATUS_LENGTH], int.from_bytes(answer[-STATUS_LENGTH:]))


def _decode_le(encoded: bytes) -> int | None:
    if not encoded:
        return None
    return encoded[0] or MAX_ANSWER_LENGTH
