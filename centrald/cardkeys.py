"""The centre's half of the card's secure channel, and the keys it needs.

Sources: GPC_SPE_014 is GlobalPlatform Card Specification Amendment D (Secure Channel Protocol 03); SP 800-108 is NIST
SP 800-108 r1. AES-128, 8-byte MACs, i = 60, security level 13. Session keys are derived when needed and kept nowhere.
"""

from __future__ import annotations

import hmac
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from centrald import files
from centrald.errors import ConfigError
from centrald.rules.model import DIVERSIFICATION_BYTES, Procedure, Transcript

MASTER_KEY_BYTES = 32  # AES-256
CHALLENGE_BYTES = 8  # GPC_SPE_014 6.2.2: S8 mode
MAC_BYTES = 8  # GPC_SPE_014 5.1: S8 mode
CHAINING_BYTES = 16  # GPC_SPE_014 6.2.3: MAC chaining value
ANSWER_BYTES = 29  # GPC_SPE_014 7.1.1.6: 10 + 3 + 8 + 8
SESSION_KEY_BYTES = 16  # AES-128

_SCP03_I60 = bytes([0x03, 0x60])  # GPC_SPE_014 5.1: protocol 03; random card challenge, R-MAC and R-ENCRYPTION possible
_LABEL_ENC = b"JPKI-RESET K-ENC"
_LABEL_MAC = b"JPKI-RESET K-MAC"
_KDF_COUNTER = b"\x01"  # SP 800-108 4.1: one iteration, r = 8
_KDF_LENGTH = (8 * SESSION_KEY_BYTES).to_bytes(2, "big")  # SP 800-108 4.1: [L]2
# GPC_SPE_014 table 4-1, data derivation constants
_CARD_CRYPTOGRAM, _HOST_CRYPTOGRAM, _S_ENC, _S_MAC, _S_RMAC = 0x00, 0x01, 0x04, 0x06, 0x07
_EXTERNAL_AUTHENTICATE = bytes([0x84, 0x82, 0x13, 0x00, 0x10])  # GPC_SPE_014 7.1.2, level C-MAC, C-DECRYPTION, R-MAC
_NO_CHAINING = bytes(CHAINING_BYTES)  # GPC_SPE_014 6.2.3: before the first MAC
_SUCCESS = b"\x90\x00"  # ISO 7816-4 5.6


class MasterKey(Protocol):
    """A secret card keys come from: in a file (`FileMasterKey`), or never outside a token (`centrald.hsm`)."""

    def cmac(self, message: bytes) -> bytes:
        """Return AES-CMAC (16 bytes) of the message under the master key."""
        ...


class FileMasterKey:
    """A master key in a file of 64 hexadecimal digits that only its owner may read."""

    def __init__(self, key: bytes) -> None:
        if len(key) != MASTER_KEY_BYTES:
            raise ConfigError(f"a master key has {MASTER_KEY_BYTES} bytes")
        self._key = key

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file; raises ConfigError when it is missing, malformed or open to others."""
        try:
            if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(f"{path} must be readable by its owner only (mode 0600)")
            return cls(bytes.fromhex(path.read_text(encoding="ascii").strip()))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        except ValueError:
            raise ConfigError(f"{path} does not hold 64 hexadecimal digits") from None

    @staticmethod
    def create(path: Path) -> None:
        """Write a new random key, mode 0600; raises AlreadyThere."""
        files.write_new(path, f"{secrets.token_hex(MASTER_KEY_BYTES)}\n".encode(), mode=0o600)

    def cmac(self, message: bytes) -> bytes:
        """See `MasterKey`."""
        return _cmac(self._key, message)


def _cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


@dataclass(frozen=True, slots=True)
class CardAnswer:
    """A card's answer to INITIALIZE UPDATE."""

    diversification_data: bytes  # 10 bytes
    key_version: int
    protocol: bytes  # 2 bytes: identifier and i
    card_challenge: bytes  # 8 bytes
    cryptogram: bytes  # 8 bytes

    @classmethod
    def parse(cls, answer: bytes) -> Self:
        """Split 29 bytes (GPC_SPE_014 7.1.1.6); raises ValueError on another length."""
        if len(answer) != ANSWER_BYTES:
            raise ValueError(f"an answer to INITIALIZE UPDATE has {ANSWER_BYTES} bytes")
        challenge_at = DIVERSIFICATION_BYTES + 3
        return cls(
            diversification_data=answer[:DIVERSIFICATION_BYTES],
            key_version=answer[DIVERSIFICATION_BYTES],
            protocol=answer[DIVERSIFICATION_BYTES + 1 : challenge_at],
            card_challenge=answer[challenge_at : challenge_at + CHALLENGE_BYTES],
            cryptogram=answer[challenge_at + CHALLENGE_BYTES :],
        )

    @property
    def speaks_our_protocol(self) -> bool:
        """Whether the card runs SCP03 with i = 60."""
        return self.protocol == _SCP03_I60


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """One card's keys for one procedure, 16 bytes each."""

    enc: bytes = field(repr=False)
    mac: bytes = field(repr=False)


def derivation(procedure: Procedure, key_version: int, diversification_data: bytes) -> list[bytes]:
    """Return the messages whose AES-CMAC under the master key are K-ENC and K-MAC (SP 800-108 4.1, counter mode)."""
    context = bytes([procedure, key_version]) + diversification_data
    return [_KDF_COUNTER + label + b"\x00" + context + _KDF_LENGTH for label in (_LABEL_ENC, _LABEL_MAC)]


def card_keys(master: MasterKey, procedure: Procedure, key_version: int, diversification_data: bytes) -> StaticKeys:
    """Derive a card's static keys from a master key that is at hand."""
    enc, mac = (master.cmac(message) for message in derivation(procedure, key_version, diversification_data))
    return StaticKeys(enc=enc, mac=mac)


class Channel:
    """One channel between card and centre, derived from its transcript; holds keys, so it lives briefly."""

    __slots__ = ("_context", "s_enc", "s_mac", "s_rmac")

    def __init__(self, master: MasterKey, procedure: Procedure, transcript: Transcript) -> None:
        self._open(card_keys(master, procedure, transcript.key_version, transcript.diversification_data), transcript)

    @classmethod
    def of(cls, keys: StaticKeys, transcript: Transcript) -> Self:
        """Open a channel with a card's own keys."""
        channel = cls.__new__(cls)
        channel._open(keys, transcript)
        return channel

    def _open(self, keys: StaticKeys, transcript: Transcript) -> None:
        self._context = transcript.host_challenge + transcript.card_challenge
        self.s_enc = self._derive(keys.enc, _S_ENC, SESSION_KEY_BYTES)
        self.s_mac = self._derive(keys.mac, _S_MAC, SESSION_KEY_BYTES)
        self.s_rmac = self._derive(keys.mac, _S_RMAC, SESSION_KEY_BYTES)

    def _derive(self, key: bytes, constant: int, length: int) -> bytes:
        """Derive data (GPC_SPE_014 4.1.5): label, separator, length in bits, counter, context; up to 16 bytes."""
        label = bytes(11) + bytes([constant])
        return _cmac(key, label + b"\x00" + (8 * length).to_bytes(2, "big") + b"\x01" + self._context)[:length]

    def card_is_genuine(self, cryptogram: bytes) -> bool:
        """Verify the card cryptogram, 8 bytes (GPC_SPE_014 6.2.2.2)."""
        return hmac.compare_digest(self._derive(self.s_mac, _CARD_CRYPTOGRAM, MAC_BYTES), cryptogram)

    def external_authenticate(self) -> bytes:
        """Return the whole command, 21 bytes (GPC_SPE_014 7.1.2): header, host cryptogram, C-MAC."""
        command = _EXTERNAL_AUTHENTICATE + self._derive(self.s_mac, _HOST_CRYPTOGRAM, MAC_BYTES)
        return command + _cmac(self.s_mac, _NO_CHAINING + command)[:MAC_BYTES]

    def receipt_is_valid(self, chaining_value: bytes, r_mac: bytes) -> bool:
        """Verify the R-MAC of a bare 9000 (GPC_SPE_014 6.2.5) after the command with this chaining value (16 bytes)."""
        return hmac.compare_digest(_cmac(self.s_rmac, chaining_value + _SUCCESS)[:MAC_BYTES], r_mac)
