"""Who this kiosk is to the centre: what its certificate says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from gatewayd.central.settings import CentralSettings
from gatewayd.errors import ConfigError

_ID = "[a-z0-9-]{1,32}"
_KIOSK_URI = re.compile(f"spiffe://jpki-reset/chain/({_ID})/store/({_ID})/kiosk/({_ID})")


@dataclass(frozen=True, slots=True)
class Identity:
    """The files of the central channel, read once."""

    kiosk_id: str  # chain/store/kiosk
    certificate: bytes  # PEM
    key: bytes  # PEM
    authority: bytes  # PEM
    expiry: dict[str, float]  # role ("client", "authority") → Unix time of the earliest end of its certificates

    def __repr__(self) -> str:
        """Show the name only: the private key is in here."""
        return f"Identity({self.kiosk_id})"


def read_identity(settings: CentralSettings) -> Identity:
    """Read the certificate files and the kiosk's id in them.

    Raises:
        ConfigError: a file cannot be read, holds no certificate, or the certificate names no kiosk.
    """
    certificate = _read(settings.certificate)
    authority = _read(settings.authority)
    client_chain = _certificates(settings.certificate, certificate)
    expiry = {
        "client": _earliest_end(client_chain),
        "authority": _earliest_end(_certificates(settings.authority, authority)),
    }
    kiosk_id = kiosk_id_of(client_chain[0])
    if kiosk_id is None:
        raise ConfigError(f"{settings.certificate}: the certificate names no kiosk")
    return Identity(kiosk_id, certificate, _read(settings.key), authority, expiry)


def kiosk_id_of(certificate: x509.Certificate) -> str | None:
    """Return chain/store/kiosk from the certificate's only URI name, or None when it is not a kiosk's."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    match = _KIOSK_URI.fullmatch(uris[0]) if len(uris) == 1 else None
    return "/".join(match.groups()) if match else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ConfigError(f"{path}: no certificate in PEM form") from None


def _earliest_end(certificates: list[x509.Certificate]) -> float:
    return min(certificate.not_valid_after_utc.timestamp() for certificate in certificates)
