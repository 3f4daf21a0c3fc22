"""Command APDUs taken apart (ISO/IEC 7816-4:2020, 5.2), and the status words the card answers with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

HEADER_LENGTH = 4  # CLA INS P1 P2
SHORT_LE_MAXIMUM = 256  # Le 00
EXTENDED_LE_MAXIMUM = 65_536  # Le 00 00
STATUS_LENGTH = 2


class Status(IntEnum):
    """Status words, ISO/IEC 7816-4:2020, 5.6, as the JPKI application uses them."""

    DONE = 0x9000
    AUTHENTICATION_FAILED = 0x6300  # GPC_SPE_034, EXTERNAL AUTHENTICATE: cryptogram not verified
    NO_TRIES_LEFT = 0x63C0  # the low digit counts the tries left
    WRONG_LENGTH = 0x6700
    CHANNEL_NOT_SUPPORTED = 0x6881
    SECURE_MESSAGING_NOT_SUPPORTED = 0x6882
    CHAINING_NOT_SUPPORTED = 0x6884
    WRONG_KIND_OF_FILE = 0x6981
    SECURITY_NOT_SATISFIED = 0x6982
    REFERENCE_BLOCKED = 0x6984  # JICSAP: the referenced key is locked
    CONDITIONS_NOT_SATISFIED = 0x6985
    NO_CURRENT_FILE = 0x6986
    SECURE_MESSAGING_REFUSED = 0x69FC  # measured on READ BINARY and VERIFY
    WRONG_DATA = 0x6A80
    FILE_NOT_FOUND = 0x6A82
    WRONG_PARAMETERS = 0x6A86
    REFERENCE_NOT_FOUND = 0x6A88
    PAST_THE_END = 0x6B00
    UNKNOWN_INSTRUCTION = 0x6D00
    UNKNOWN_CLASS = 0x6E00


class CardError(Exception):
    """A command ends with this status word and no data."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status:04X}")
        self.status = status


class MalformedCommandError(ValueError):
    """The bytes are not a command APDU."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command APDU. `expected` is Ne, the number of bytes asked for: None without Le."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    expected: int | None = None
    extended: bool = False

    @property
    def header(self) -> bytes:
        """CLA INS P1 P2, 4 bytes."""
        return bytes((self.cla, self.ins, self.p1, self.p2))


def parse_command(apdu: bytes) -> Command:
    """Take a command APDU of any of the seven forms apart (ISO/IEC 7816-4:2020, 5.2, table 1).

    Raises MalformedCommandError when the lengths inside do not add up.
    """
    if len(apdu) < HEADER_LENGTH:
        raise MalformedCommandError("shorter than a header")
    cla, ins, p1, p2 = apdu[:HEADER_LENGTH]
    body = apdu[HEADER_LENGTH:]
    data, expected, extended = _parse_body(body)
    return Command(cla, ins, p1, p2, data, expected, extended)


def _parse_body(body: bytes) -> tuple[bytes, int | None, bool]:
    if not body:
        return b"", None, False
    if len(body) == 1:
        return b"", body[0] or SHORT_LE_MAXIMUM, False
    if body[0]:
        data, rest = body[1 : 1 + body[0]], body[1 + body[0] :]
        if len(data) != body[0] or len(rest) > 1:
            raise MalformedCommandError("Lc does not fit")
        return data, (rest[0] or SHORT_LE_MAXIMUM) if rest else None, False
    return _parse_extended_body(body[1:])


def _parse_extended_body(body: bytes) -> tuple[bytes, int | None, bool]:
    """Read what follows the leading 00 of an extended length: two bytes of Lc or Le first."""
    length, rest = int.from_bytes(body[:2], "big"), body[2:]
    if len(body) == 2:
        return b"", length or EXTENDED_LE_MAXIMUM, True
    data, tail = rest[:length], rest[length:]
    if not length or len(data) != length or len(tail) not in (0, 2):
        raise MalformedCommandError("extended Lc does not fit")
    return data, (int.from_bytes(tail, "big") or EXTENDED_LE_MAXIMUM) if tail else None, True


def respond(data: bytes, status: int) -> bytes:
    """Return the response APDU: data, then the status word."""
    return data + status.to_bytes(STATUS_LENGTH, "big")
