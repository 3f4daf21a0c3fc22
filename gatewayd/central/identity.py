"""Who this kiosk is to the centre: what its certificate says."""

from __future__ import annotations

import datetime
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gatewayd.central.settings import CentralSettings
from gatewayd.errors import ConfigError

_ID = "[a-z0-9-]{1,32}"
_KIOSK_URI = re.compile(f"spiffe://jpki-reset/chain/({_ID})/store/({_ID})/kiosk/({_ID})")

# What the library raises for a certificate that is damaged, or made in a way it does not know; the extensions and the
# key are parsed only when they are asked for. It has no common root for them.
_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """The files of the central channel, read once."""

    kiosk_id: str  # chain/store/kiosk
    certificate: bytes  # PEM
    key: bytes  # PEM
    authority: bytes  # PEM
    expiry: dict[str, float]  # role ("client", "authority") → Unix time of the earliest end of its certificates
    chain: tuple[x509.Certificate, ...]  # ours, then who signed it, as far as the file goes
    anchors: tuple[x509.Certificate, ...]  # who may sign the centre's certificate

    def __repr__(self) -> str:
        """Show the name only: the private key is in here."""
        return f"Identity({self.kiosk_id})"


def read_identity(settings: CentralSettings) -> Identity:
    """Read the certificate files and the kiosk's id in them.

    Raises:
        ConfigError: a file cannot be read or holds no certificate, certificate and key are not a pair, the certificates
            are no chain, or the first names no kiosk.
    """
    certificate, authority, key = _read(settings.certificate), _read(settings.authority), _read(settings.key)
    chain = _certificates(settings.certificate, certificate)
    anchors = _certificates(settings.authority, authority)
    kiosk_id = kiosk_id_of(chain[0])
    if kiosk_id is None:
        raise ConfigError(f"{settings.certificate}: the certificate names no kiosk")
    _check_pair(settings, chain[0], key)
    for one, issuer in itertools.pairwise(chain):
        try:
            one.verify_directly_issued_by(issuer)
        except (*_UNREADABLE, TypeError, InvalidSignature):
            raise ConfigError(f"{settings.certificate}: the certificates are no chain") from None
    expiry = {"client": _earliest_end(chain), "authority": _earliest_end(anchors)}
    return Identity(kiosk_id, certificate, key, authority, expiry, tuple(chain), tuple(anchors))


def check_dates(identity: Identity, now: datetime.datetime) -> None:
    """Raise ConfigError unless the kiosk's whole chain is valid now, and at least one of the authorities."""

    def valid(certificate: x509.Certificate) -> bool:
        return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc

    if not all(valid(one) for one in identity.chain):
        raise ConfigError("the kiosk's certificate, or one above it, has expired or is not valid yet")
    if not any(valid(one) for one in identity.anchors):
        raise ConfigError("the authority's certificate has expired or is not valid yet")


def stamp(settings: CentralSettings) -> tuple[tuple[int, int, int] | None, ...]:
    """Return what changes when one of the files does, or a link to it is turned; None for one that is missing."""

    def of(path: Path) -> tuple[int, int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    return tuple(of(path) for path in (settings.certificate, settings.key, settings.authority))


def kiosk_id_of(certificate: x509.Certificate) -> str | None:
    """Return chain/store/kiosk from the certificate's only URI name, or None when it is not a kiosk's."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (*_UNREADABLE, x509.ExtensionNotFound):
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    match = _KIOSK_URI.fullmatch(uris[0]) if len(uris) == 1 else None
    return "/".join(match.groups()) if match else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _check_pair(settings: CentralSettings, certificate: x509.Certificate, key: bytes) -> None:
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{settings.key}: no private key in PEM form, or one with a password") from None
    try:
        public = certificate.public_key()
    except _UNREADABLE:
        raise ConfigError(f"{settings.certificate}: the certificate's key is of no known kind") from None
    if private.public_key() != public:
        raise ConfigError(f"{settings.key}: not the key of the certificate in {settings.certificate}")


def _certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except _UNREADABLE:
        raise ConfigError(f"{path}: no certificate in PEM form") from None


def _earliest_end(certificates: list[x509.Certificate]) -> float:
    return min(certificate.not_valid_after_utc.timestamp() for certificate in certificates)
