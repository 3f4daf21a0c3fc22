"""Certificates for tests of mutual TLS: one authority, one server, one kiosk."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KIOSK_URI = "spiffe://jpki-reset/chain/seven/store/0001/kiosk/1"
NOT_BEFORE = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
NOT_AFTER = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Pki:
    """PEM files."""

    authority: Path
    server: Path
    server_key: Path
    kiosk: Path
    kiosk_key: Path


def make_pki(
    directory: Path,
    kiosk_names: list[x509.GeneralName] | None = None,
    *,
    authority: str = "test authority",
    not_after: datetime.datetime = NOT_AFTER,
) -> Pki:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(authority)
    root = (
        _builder(subject, subject, authority_key.public_key(), not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names = {
        "server": [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))],
        "kiosk": kiosk_names if kiosk_names is not None else [x509.UniformResourceIdentifier(KIOSK_URI)],
    }
    files = {"authority": _write(directory / "authority.pem", root.public_bytes(serialization.Encoding.PEM))}
    for who, alternatives in names.items():
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, _name(who), key.public_key(), not_after)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(authority_key, hashes.SHA256())
        files[who] = _write(directory / f"{who}.pem", certificate.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files[f"{who}_key"] = _write(directory / f"{who}.key", private)
    return Pki(**files)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, not_after: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(not_after)
    )


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
