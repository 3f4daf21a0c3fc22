"""The few commands a reservation needs of the card: bytes in, meaning out. Knows nothing of readers."""

from __future__ import annotations

from collections.abc import Callable

from jpki_phone.problems import NotReserved, Problem, not_reserved

Transmit = Callable[[bytes], bytes]
"""Sends one command APDU and returns the answer; raises CardLost when there was none."""

JPKI_AID = bytes.fromhex("d392f000260100000001")  # OpenSC, src/libopensc/jpki.h
EF_TOKEN_INFO = 0x0006  # CK_TOKEN_INFO, 160 bytes (JPKI AP of the current card)
EF_USER_CERTIFICATE = 0x000A  # OpenSC, pkcs15-jpki.c
EF_USER_KEY = 0x0017  # OpenSC, pkcs15-jpki.c
EF_USER_PIN = 0x0018  # OpenSC, pkcs15-jpki.c
TOKEN_LABEL = b"JPKIAPICCTOKEN2"  # a My Number Card; a phone's secure element or an old card says otherwise
TOKEN_LABEL_BYTES = 32

CLA_ISO = 0x00
CLA_JICSAP = 0x80
INS_VERIFY = 0x20  # ISO/IEC 7816-4:2020, 11.6.6
INS_COMPUTE_SIGNATURE = 0x2A  # ISO/IEC 7816-8:2021, 5.2 (card: P1 00, DigestInfo in, P2 the key)
INS_SELECT = 0xA4  # ISO/IEC 7816-4:2020, 11.2.2
INS_READ_BINARY = 0xB0  # ISO/IEC 7816-4:2020, 11.3.3
P1_BY_NAME = 0x04
P1_EF_BY_ID = 0x02
P2_NO_ANSWER = 0x0C
P2_CURRENT_EF = 0x80
LE_256 = 0x00

SW_OK = 0x9000
SW_FILE_NOT_FOUND = 0x6A82
SW_TRIES = 0x63C0  # low nibble: tries left
SW_TRIES_MASK = 0xFFF0
SW_BLOCKED = frozenset({0x6983, 0x6984})  # ISO's, and the card's own
DER_SEQUENCE_LONG = b"\x30\x82"  # then two bytes of length
DER_HEADER_BYTES = 4
LARGEST_CERTIFICATE_BYTES = 4096  # what the centre takes


class CardLost(Exception):
    """No usable answer: the card may have executed the command. Never a reason to send it again."""


def open_jpki(transmit: Transmit) -> None:
    """Select the JPKI application of a current My Number Card. Raises NotReserved or CardLost."""
    select = bytes([CLA_ISO, INS_SELECT, P1_BY_NAME, P2_NO_ANSWER, len(JPKI_AID)]) + JPKI_AID
    _, status = _exchange(transmit, select)
    if status != SW_OK:
        raise not_reserved(Problem.NOT_A_MY_NUMBER_CARD)
    _select(transmit, EF_TOKEN_INFO)
    label, status = _exchange(transmit, _read_binary(0, TOKEN_LABEL_BYTES))
    if status != SW_OK or label.rstrip(b" ") != TOKEN_LABEL:
        raise not_reserved(Problem.NOT_A_MY_NUMBER_CARD)


def user_certificate(transmit: Transmit) -> bytes:
    """Return EF 000A, DER, at most 4,096 bytes. Raises NotReserved or CardLost."""
    _select(transmit, EF_USER_CERTIFICATE)
    content = bytearray()
    total = DER_HEADER_BYTES
    while len(content) < total:
        piece, status = _exchange(transmit, _read_binary(len(content), LE_256))
        if status != SW_OK or not piece:
            raise _unreadable(status)
        content += piece
        if len(content) >= DER_HEADER_BYTES:
            if not content.startswith(DER_SEQUENCE_LONG):
                raise not_reserved(Problem.NOT_A_MY_NUMBER_CARD)
            length = content[len(DER_SEQUENCE_LONG) : DER_HEADER_BYTES]
            total = min(DER_HEADER_BYTES + int.from_bytes(length, "big"), LARGEST_CERTIFICATE_BYTES)
    return bytes(content[:total])


def user_pin_tries(transmit: Transmit) -> int:
    """Return the tries left of EF 0018, 0-3, by a VERIFY without data (case 1), which counts nothing."""
    _select(transmit, EF_USER_PIN)
    _, status = _exchange(transmit, bytes([CLA_ISO, INS_VERIFY, 0, P2_CURRENT_EF]))
    tries = _tries(status)
    if tries is None:
        raise _unreadable(status)
    return tries


def verify_user_pin(transmit: Transmit, pin: bytes) -> None:
    """Send VERIFY with these 4 digits, once and never again.

    Raises NotReserved: the PIN is wrong, locked, or nobody knows whether the entry was counted.
    """
    if not pin:
        raise ValueError("an empty VERIFY is a question, not an entry")
    _select(transmit, EF_USER_PIN)
    try:
        _, status = _exchange(transmit, bytes([CLA_ISO, INS_VERIFY, 0, P2_CURRENT_EF, len(pin)]) + pin)
    except CardLost:
        raise not_reserved(Problem.USER_PIN_TORN) from None
    if status == SW_OK:
        return
    tries = _tries(status)
    if tries is None:
        raise _unreadable(status)
    raise not_reserved(Problem.USER_PIN_WRONG if tries else Problem.USER_PIN_LOCKED, tries_left=tries)


def sign(transmit: Transmit, digest_info: bytes) -> bytes:
    """Return the user key's RSASSA-PKCS1-v1_5 signature, 256 bytes. The PIN must have been verified."""
    _select(transmit, EF_USER_KEY)
    header = bytes([CLA_JICSAP, INS_COMPUTE_SIGNATURE, 0, P2_CURRENT_EF, len(digest_info)])
    signature, status = _exchange(transmit, header + digest_info + bytes([LE_256]))
    if status != SW_OK:
        raise _unreadable(status)
    return signature


def _select(transmit: Transmit, identifier: int) -> None:
    name = identifier.to_bytes(2, "big")
    _, status = _exchange(transmit, bytes([CLA_ISO, INS_SELECT, P1_EF_BY_ID, P2_NO_ANSWER, len(name)]) + name)
    if status == SW_FILE_NOT_FOUND:
        raise not_reserved(Problem.NOT_A_MY_NUMBER_CARD)
    if status != SW_OK:
        raise _unreadable(status)


def _read_binary(offset: int, expected: int) -> bytes:
    return bytes([CLA_ISO, INS_READ_BINARY, *offset.to_bytes(2, "big"), expected])


def _exchange(transmit: Transmit, command: bytes) -> tuple[bytes, int]:
    answer = transmit(command)
    if len(answer) < 2:  # a card torn from the field may look like success without an answer
        raise CardLost
    return answer[:-2], int.from_bytes(answer[-2:], "big")


def _tries(status: int) -> int | None:
    if status in SW_BLOCKED:
        return 0
    return status - SW_TRIES if status & SW_TRIES_MASK == SW_TRIES else None


def _unreadable(status: int) -> NotReserved:
    return not_reserved(Problem.CARD_UNREADABLE, detail=f"Status word {status:04X}.")
