"""The kiosk's half of Secure Channel Protocol 03: one command, wrapped once.

GPC_SPE_014 (Amendment D) 1.1.2, AES-128, S8 mode, security level 13. The centre hands over S-ENC, S-MAC and the
EXTERNAL AUTHENTICATE ready made; the kiosk never holds S-RMAC, so it can neither check nor forge the card's receipt.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from gatewayd.card.apdu import MAX_ANSWER_LENGTH, Command, Response
from gatewayd.card.status import OK
from gatewayd.card.values import ChannelKeys
from gatewayd.errors import CardProtocolError
from gatewayd.secret import Secret

CHALLENGE_LENGTH = 8  # S8 mode, GPC_SPE_014 6.2.2
MAC_LENGTH = 8  # S8 mode, GPC_SPE_014 6.2.4
RECEIPT_LENGTH = MAC_LENGTH  # R-MAC of the answer, GPC_SPE_014 6.2.5
OFFER_LENGTH = 29  # diversification 10, key information 3, challenge 8, cryptogram 8; GPC_SPE_014 7.1.1
PROTOCOL = 0x03  # key information, byte 2; GPC_SPE_014 7.1.1
OPTIONS = 0x60  # "i": random card challenge, R-MAC and R-ENCRYPTION possible; GPC_SPE_014 5.1
MAX_KEY_VERSION = 0x7F  # 0 would mean "any"; GPC_SPE_034 11.8.2
SECURITY_LEVEL = 0x13  # C-DECRYPTION, C-MAC and R-MAC; GPC_SPE_014 7.1.2

CLA_PROPRIETARY = 0x80  # GPC_SPE_034 11.1.4
CLA_PROPRIETARY_SECURE = 0x84  # GPC_SPE_034 11.1.4
KEY_IDENTIFIER = 0x00  # P2 of INITIALIZE UPDATE; GPC_SPE_014 7.1.1
INS_INITIALIZE_UPDATE = 0x50  # GPC_SPE_014 7.1.1
INS_EXTERNAL_AUTHENTICATE = 0x82  # GPC_SPE_014 7.1.2

_BLOCK_LENGTH = 16  # AES, FIPS 197
_KEY_INFORMATION = slice(10, 13)  # GPC_SPE_014 7.1.1
_PADDING = b"\x80"  # ISO/IEC 9797-1, padding method 2; GPC_SPE_014 6.2.6
_FIRST_CHAINING_VALUE = bytes(_BLOCK_LENGTH)  # GPC_SPE_014 6.2.3
_FIRST_COUNTER = (1).to_bytes(_BLOCK_LENGTH)  # encryption counter of the first command, GPC_SPE_014 6.2.6
_AUTHENTICATION_HEADER = bytes((CLA_PROPRIETARY_SECURE, INS_EXTERNAL_AUTHENTICATE, SECURITY_LEVEL, 0x00))


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The one command of the channel, and what the card's receipt will be computed over."""

    command: bytes = field(repr=False)  # short APDU, Le 00
    chaining_value: bytes = field(repr=False)  # 16 bytes


def initialize_update(key_version: int, host_challenge: bytes) -> Command:
    """Return INITIALIZE UPDATE. Raises ValueError unless the challenge has 8 bytes and the key version is 1-127."""
    if len(host_challenge) != CHALLENGE_LENGTH:
        raise ValueError(f"a host challenge has {CHALLENGE_LENGTH} bytes")
    if not 1 <= key_version <= MAX_KEY_VERSION:
        raise ValueError(f"key version {key_version} is not 1-127")
    return Command(
        CLA_PROPRIETARY, INS_INITIALIZE_UPDATE, key_version, KEY_IDENTIFIER, host_challenge, le=MAX_ANSWER_LENGTH
    )


def check_offer(answer: bytes, key_version: int) -> None:
    """Raise CardProtocolError unless an INITIALIZE UPDATE answer has 29 bytes, this key version and this protocol."""
    if len(answer) != OFFER_LENGTH:
        raise CardProtocolError(f"INITIALIZE UPDATE answered {len(answer)} bytes")
    if answer[_KEY_INFORMATION] != bytes((key_version, PROTOCOL, OPTIONS)):
        raise CardProtocolError("INITIALIZE UPDATE answered another key version or protocol")


def wrap(keys: ChannelKeys, command: Command, data: Secret) -> Wrapped:
    """Encrypt and MAC `data` as the first command of the channel that `keys` open (GPC_SPE_014 6.2.4, 6.2.6).

    The command's header must carry the secure-messaging CLA already. Raises ValueError when the ready-made EXTERNAL
    AUTHENTICATE is not one, or its C-MAC was not made with this S-MAC: the channel could not open.
    """
    chaining_value = _authentication_chaining_value(keys)
    ciphertext = _encrypt(keys.s_enc, data)
    length = bytes((len(ciphertext) + MAC_LENGTH,))
    mac = _mac(keys.s_mac, chaining_value + command.header + length + ciphertext)
    cla, ins, p1, p2 = command.header
    wrapped = Command(cla, ins, p1, p2, ciphertext + mac[:MAC_LENGTH], command.le)
    return Wrapped(wrapped.encode(), mac)


def is_receipt(response: Response) -> bool:
    """Tell whether an answer has the shape of a receipt: 9000 with an 8-byte R-MAC, which only the centre can check."""
    return response.status_word == OK and len(response.data) == RECEIPT_LENGTH


def _authentication_chaining_value(keys: ChannelKeys) -> bytes:
    """Return the full C-MAC of EXTERNAL AUTHENTICATE, 16 bytes: the first link of the chain (GPC_SPE_014 6.2.3)."""
    command = Command.parse(keys.external_authenticate)
    if command.header != _AUTHENTICATION_HEADER or command.le is not None:
        raise ValueError("no EXTERNAL AUTHENTICATE of level 13")
    if len(command.data) != CHALLENGE_LENGTH + MAC_LENGTH:
        raise ValueError("an EXTERNAL AUTHENTICATE of wrong length")
    cryptogram, mac = command.data[:CHALLENGE_LENGTH], command.data[CHALLENGE_LENGTH:]
    length = bytes((len(command.data),))
    chaining_value = _mac(keys.s_mac, _FIRST_CHAINING_VALUE + command.header + length + cryptogram)
    if not hmac.compare_digest(chaining_value[:MAC_LENGTH], mac):
        raise ValueError("the EXTERNAL AUTHENTICATE does not belong to these keys")
    return chaining_value


def _encrypt(s_enc: Secret, data: Secret) -> bytes:
    key = algorithms.AES128(s_enc.reveal())
    # One block under ECB, as the specification has it: the counter is never repeated under one session key.
    icv = _run(Cipher(key, modes.ECB()), _FIRST_COUNTER)  # noqa: S305 - GPC_SPE_014 6.2.6
    padded = data.reveal() + _PADDING
    padded += bytes(-len(padded) % _BLOCK_LENGTH)
    return _run(Cipher(key, modes.CBC(icv)), padded)


def _run(cipher: Cipher[modes.ECB] | Cipher[modes.CBC], blocks: bytes) -> bytes:
    encryptor = cipher.encryptor()
    return encryptor.update(blocks) + encryptor.finalize()


def _mac(key: Secret, message: bytes) -> bytes:
    mac = CMAC(algorithms.AES128(key.reveal()))  # NIST SP 800-38B
    mac.update(message)
    return mac.finalize()
