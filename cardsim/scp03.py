"""The card's half of Secure Channel Protocol 03.

GlobalPlatform Card Specification, Amendment D (GPC_SPE_014) version 1.1.2: AES-128, S8 mode (8-byte MACs), random card
challenge, i = 60. One security level is served, 13: C-MAC, C-DECRYPTION and R-MAC.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.constant_time import bytes_eq

PROTOCOL = 0x03  # SCP03: second byte of the key information, GPC_SPE_014 7.1.1.6
PARAMETERS = 0x60  # "i": S8, random card challenge, R-MAC and R-ENCRYPTION possible, GPC_SPE_014 5.1
SECURITY_LEVEL = 0x13  # C-MAC, C-DECRYPTION, R-MAC, GPC_SPE_014 7.1.2.3
CHALLENGE_LENGTH = 8  # GPC_SPE_014 6.2.2.1
CRYPTOGRAM_LENGTH = 8  # GPC_SPE_014 6.2.2.2
MAC_LENGTH = 8  # S8 mode, GPC_SPE_014 6.2.4
BLOCK_LENGTH = 16  # AES

CARD_CRYPTOGRAM = 0x00  # derivation constants, GPC_SPE_014 4.1.5, table 4-1
HOST_CRYPTOGRAM = 0x01
SESSION_ENC = 0x04
SESSION_MAC = 0x06
SESSION_RMAC = 0x07

_LABEL_PREFIX = bytes(11)  # the label is 11 zero bytes and the constant, GPC_SPE_014 4.1.5
_SEPARATOR = b"\x00"
_ONLY_ITERATION = b"\x01"
_PADDING_MARK = b"\x80"  # ISO/IEC 9797-1 padding method 2, GPC_SPE_014 6.2.6


class ChannelError(Exception):
    """The wrapped command is refused; what it says carries no key and no data."""


class WrongMacError(ChannelError):
    """The C-MAC does not verify."""


class WrongPaddingError(ChannelError):
    """The decrypted data is not padded as it must be."""


@dataclass(frozen=True, slots=True, repr=False)
class StaticKeys:
    """One key version of the card: K-ENC and K-MAC, 16 bytes each."""

    enc: bytes
    mac: bytes


@dataclass(frozen=True, slots=True, repr=False)
class SessionKeys:
    """S-ENC, S-MAC and S-RMAC, 16 bytes each."""

    enc: bytes
    mac: bytes
    rmac: bytes


def derive(key: bytes, constant: int, context: bytes, length: int) -> bytes:
    """Derive `length` bytes (8 or 16) from one key.

    SP 800-108 counter mode with AES-CMAC, one iteration, the counter after the length (GPC_SPE_014 4.1.5).
    """
    bits = (length * 8).to_bytes(2, "big")
    return _cmac(key, _LABEL_PREFIX + bytes((constant,)) + _SEPARATOR + bits + _ONLY_ITERATION + context)[:length]


def derive_session_keys(keys: StaticKeys, host_challenge: bytes, card_challenge: bytes) -> SessionKeys:
    """Derive the three session keys from two challenges of 8 bytes (GPC_SPE_014 6.2.1)."""
    context = host_challenge + card_challenge
    return SessionKeys(
        enc=derive(keys.enc, SESSION_ENC, context, BLOCK_LENGTH),
        mac=derive(keys.mac, SESSION_MAC, context, BLOCK_LENGTH),
        rmac=derive(keys.mac, SESSION_RMAC, context, BLOCK_LENGTH),
    )


class Offer:
    """What INITIALIZE UPDATE leaves behind: a card that waits for the host's cryptogram."""

    def __init__(self, keys: StaticKeys, host_challenge: bytes, card_challenge: bytes) -> None:
        self._context = host_challenge + card_challenge
        self._keys = derive_session_keys(keys, host_challenge, card_challenge)

    @property
    def card_cryptogram(self) -> bytes:
        """The card's proof, 8 bytes."""
        return derive(self._keys.mac, CARD_CRYPTOGRAM, self._context, CRYPTOGRAM_LENGTH)

    def accepts(self, host_cryptogram: bytes) -> bool:
        """Whether this is the host's proof, 8 bytes."""
        expected = derive(self._keys.mac, HOST_CRYPTOGRAM, self._context, CRYPTOGRAM_LENGTH)
        return bytes_eq(expected, host_cryptogram)

    def open(self, header: bytes, data: bytes) -> Channel:
        """Verify EXTERNAL AUTHENTICATE's own C-MAC and open the channel.

        `data` is the whole data field: host cryptogram and C-MAC, 16 bytes. Raises WrongMacError.
        """
        channel = Channel(self._keys)
        channel.verify(header, data)
        return channel


class Channel:
    """An open channel: the chaining value of the MACs and the counter of the encryption."""

    def __init__(self, keys: SessionKeys) -> None:
        self._keys = keys
        self._chaining_value = bytes(BLOCK_LENGTH)  # GPC_SPE_014 6.2.3
        self._encryption_counter = 0  # the first command is number 1, GPC_SPE_014 6.2.6

    def verify(self, header: bytes, data: bytes) -> bytes:
        """Verify the C-MAC at the end of a data field and return what is before it (GPC_SPE_014 6.2.4).

        Le is not covered. Raises WrongMacError; the chaining value has moved on then, so the channel is of no more use.
        """
        payload, mac = data[:-MAC_LENGTH], data[-MAC_LENGTH:]
        length = bytes((len(data),))
        self._chaining_value = _cmac(self._keys.mac, self._chaining_value + header + length + payload)
        if not bytes_eq(self._chaining_value[:MAC_LENGTH], mac):
            raise WrongMacError("C-MAC")
        return payload

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Return the plain data of the next command (GPC_SPE_014 6.2.6). Raises WrongPaddingError."""
        self._encryption_counter += 1
        initial = _encrypt_block(self._keys.enc, self._encryption_counter.to_bytes(BLOCK_LENGTH, "big"))
        decryptor = Cipher(algorithms.AES(self._keys.enc), modes.CBC(initial)).decryptor()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        plain, mark, filler = padded.rpartition(_PADDING_MARK)
        if not mark or any(filler) or len(filler) >= BLOCK_LENGTH:
            raise WrongPaddingError("padding")
        return plain

    def response_mac(self, status: int) -> bytes:
        """Return the R-MAC of an answer without data, 8 bytes (GPC_SPE_014 6.2.5)."""
        return _cmac(self._keys.rmac, self._chaining_value + status.to_bytes(2, "big"))[:MAC_LENGTH]


def _cmac(key: bytes, message: bytes) -> bytes:
    mac = cmac.CMAC(algorithms.AES(key))
    mac.update(message)
    return mac.finalize()


def _encrypt_block(key: bytes, block: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - one block, as specified
    return encryptor.update(block) + encryptor.finalize()
