"""Issue of a card: keys, certificates, files, and the entry the centre's registry needs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from cardsim import certificates, memory
from cardsim.memory import (
    Application,
    ChannelMemory,
    ElementaryFile,
    Habits,
    KeyFile,
    Memory,
    OpaqueFile,
    ReferenceFile,
    ReferenceName,
)
from cardsim.persona import Certificate, Persona
from cardsim.scp03 import StaticKeys

SIGNING_PASSWORD_PROCEDURE = 1  # jpkireset.central.v1.Procedure
SIGNING_PASSWORD_KEY_VERSION = 0x31
MASTER_KEY_LENGTH = 32
STATIC_KEY_LENGTH = 16
DIVERSIFICATION_LENGTH = 10
KEY_LABELS = (b"JPKI-RESET K-ENC", b"JPKI-RESET K-MAC")

EXPIRED_AGE = timedelta(days=366 * 7)  # more than the longest validity, from one birthday to the sixth after it
CERTIFICATE_SPACE = 2_048  # bytes an EF reserves for a certificate; the rest is filler
FILLER = b"\xff"
RSA_BITS = 2_048
RSA_EXPONENT = 65_537
CERTIFICATE_PRESENT, CERTIFICATE_ABSENT = 0x8F, 0x00  # EF 0008, one byte for each certificate


class MasterKeyError(Exception):
    """The file does not hold a master key."""


class RegistryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What the centre's registry must know of a card. Serials and identifiers are lower-case hex, times RFC 3339."""

    user_certificate_serial: str
    user_authority_key_id: str
    signing_certificate_serial: str
    signing_authority_key_id: str
    signing_not_before: str
    signing_not_after: str
    diversification_data: str
    key_versions: dict[str, int]


@dataclass(frozen=True, slots=True, repr=False)
class CardKeys:
    """The two RSA-2048 keys of a card; passed in by tests that issue many."""

    user: rsa.RSAPrivateKey
    signing: rsa.RSAPrivateKey

    @classmethod
    def generate(cls) -> CardKeys:
        """Make two new ones, which takes some tenths of a second."""
        user, signing = (rsa.generate_private_key(RSA_EXPONENT, RSA_BITS) for _ in range(2))
        return cls(user, signing)


@dataclass(frozen=True, slots=True, repr=False)
class Issued:
    """A new card; the registry entry is None for one that the centre is not to know, or that cannot be reset."""

    memory: Memory
    registry_entry: RegistryEntry | None
    user_certificate: x509.Certificate
    signing_certificate: x509.Certificate


def load_master_key(path: Path) -> bytes:
    """Read the centre's master key: 64 hex digits. Raises MasterKeyError, which does not quote the file."""
    try:
        key = bytes.fromhex(path.read_text("ascii"))
    except (OSError, ValueError) as error:
        raise MasterKeyError(f"{path}: {type(error).__name__}") from None
    if len(key) != MASTER_KEY_LENGTH:
        raise MasterKeyError(f"{path}: not {MASTER_KEY_LENGTH} bytes in hex")
    return key


def derive_static_keys(master_key: bytes, procedure: int, key_version: int, diversification_data: bytes) -> StaticKeys:
    """Derive one key version of one card: SP 800-108r1 counter mode, AES-256-CMAC, counter of 8 bits, one iteration."""
    context = bytes((procedure, key_version)) + diversification_data
    enc, mac = (
        KBKDFCMAC(
            algorithms.AES, Mode.CounterMode, STATIC_KEY_LENGTH, 1, 2, CounterLocation.BeforeFixed, label, context, None
        ).derive(master_key)
        for label in KEY_LABELS
    )
    return StaticKeys(enc=enc, mac=mac)


def issue(
    authority_directory: Path,
    master_key: bytes,
    persona: Persona,
    *,
    now: datetime,
    keys: CardKeys | None = None,
    diversification_data: bytes | None = None,
    key_version: int = SIGNING_PASSWORD_KEY_VERSION,
) -> Issued:
    """Issue a card for this persona under the test authority of `centrald init`.

    `now` (aware) begins the certificates' validity; `diversification_data` is 10 bytes, random by default.
    Raises AuthorityError.
    """
    keys = keys or CardKeys.generate()
    diversification = diversification_data or secrets.token_bytes(DIVERSIFICATION_LENGTH)
    user_authority = certificates.load_authority(authority_directory, "user")
    signing_authority = certificates.load_authority(authority_directory, "sign")
    user_lifetime, signing_lifetime = (_lifetime(persona, which, now) for which in ("user", "signing"))
    user = certificates.issue_user_certificate(user_authority, keys.user.public_key(), user_lifetime)
    signing = certificates.issue_signing_certificate(
        signing_authority, keys.signing.public_key(), signing_lifetime, persona.holder
    )
    files = _jpki_files(persona, keys, _der(user), _der(signing), user_authority.der, signing_authority.der)
    issuing_key = master_key if persona.genuine_keys else secrets.token_bytes(MASTER_KEY_LENGTH)
    static = derive_static_keys(issuing_key, SIGNING_PASSWORD_PROCEDURE, key_version, diversification)
    channel = ChannelMemory(diversification, {key_version: static})
    card = Memory(_applications(persona, files), channel, Habits(persona.answer_seconds, persona.mute))
    known = persona.registered and persona.signing_certificate and persona.application
    entry = _registry_entry(user, signing, diversification, key_version) if known else None
    return Issued(card, entry, user, signing)


def _lifetime(persona: Persona, which: Certificate, now: datetime) -> certificates.Lifetime:
    """Return the validity of one of the two certificates; an expired one was issued long ago."""
    issued = now - EXPIRED_AGE if which in persona.expired else now
    return certificates.lifetime(issued, persona.holder.birth_date)


def _registry_entry(
    user: x509.Certificate, signing: x509.Certificate, diversification: bytes, version: int
) -> RegistryEntry:
    return RegistryEntry(
        user_certificate_serial=f"{user.serial_number:08x}",
        user_authority_key_id=certificates.authority_key_id(user).hex(),
        signing_certificate_serial=f"{signing.serial_number:08x}",
        signing_authority_key_id=certificates.authority_key_id(signing).hex(),
        signing_not_before=signing.not_valid_before_utc.isoformat(),
        signing_not_after=signing.not_valid_after_utc.isoformat(),
        diversification_data=diversification.hex(),
        key_versions={"signing_password": version},
    )


def _applications(persona: Persona, jpki_files: Mapping[int, ElementaryFile]) -> tuple[Application, ...]:
    resident_register = {memory.EF_RESIDENT_REGISTER_PIN: ReferenceFile(persona.reference(ReferenceName.JUKI_PIN))}
    text_input = {memory.EF_TEXT_INPUT_PIN: ReferenceFile(persona.reference(ReferenceName.TEXT_INPUT_PIN))}
    issuer_domain = Application("issuer security domain", memory.ISSUER_DOMAIN_AID)
    if not persona.application:
        return (issuer_domain,)
    return (
        issuer_domain,
        Application("JPKI", memory.JPKI_AID, jpki_files),
        Application("resident register", memory.RESIDENT_REGISTER_AID, resident_register),
        Application("text input support", memory.TEXT_INPUT_AID, text_input),
    )


def _jpki_files(
    persona: Persona, keys: CardKeys, user: bytes, signing: bytes, user_authority: bytes, signing_authority: bytes
) -> dict[int, ElementaryFile]:
    transparent = memory.TransparentFile
    password, pin = ReferenceName.SIGNING_PASSWORD, ReferenceName.USER_PIN
    own = signing if persona.signing_certificate else b""
    flag = CERTIFICATE_PRESENT if persona.signing_certificate else CERTIFICATE_ABSENT
    return {
        memory.EF_SIGNING_CERTIFICATE: transparent(_physical(own), password),
        memory.EF_SIGNING_AUTHORITY: transparent(_physical(signing_authority)),
        memory.EF_TOKEN_INFO: transparent(token_info(persona.token_label)),
        memory.EF_FLAGS: transparent(bytes((flag, CERTIFICATE_PRESENT, 0))),
        memory.EF_USER_CERTIFICATE: transparent(_physical(user)),
        memory.EF_USER_AUTHORITY: transparent(_physical(user_authority)),
        memory.EF_INSTITUTION_KEY: OpaqueFile(),
        memory.EF_USER_KEY: KeyFile(keys.user, pin),
        memory.EF_USER_PIN: ReferenceFile(persona.reference(pin)),
        memory.EF_SIGNING_KEY: KeyFile(keys.signing, password),
        memory.EF_SIGNING_PASSWORD: ReferenceFile(persona.reference(password)),
    }


def token_info(label: str) -> bytes:
    """Return EF 0006, 160 bytes: a CK_TOKEN_INFO (PKCS #11 v2.20, 9.2) with big-endian words, as measured on cards."""
    texts = ((label, 32), ("JPKI-TEST", 32), ("SIMULATED", 16), ("0" * 16, 16))
    flags, unknown = 0x0000_040D, 0xFFFF_FFFF
    words = (flags, 1, 0, 1, 0, 16, 6, unknown, unknown, unknown, unknown)  # sessions 1/0/1/0, PIN length 16/6
    return (
        b"".join(text.encode("ascii").ljust(size) for text, size in texts)
        + b"".join(word.to_bytes(4, "big") for word in words)
        + b"0301"  # hardware and firmware version
        + b"9" * 16  # time
    )


def _physical(content: bytes) -> bytes:
    """Return the content at the size its file has on the card."""
    return content.ljust(CERTIFICATE_SPACE, FILLER)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
