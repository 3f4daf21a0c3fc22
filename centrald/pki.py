"""What `init` and `kiosk add` issue: the test card authority, and the TLS certificates of service and kiosks.

The card authority follows the published profile of the JPKI authorities under the organisation JPKI-TEST
(公的個人認証サービス プロファイル仕様書, J-LIS); it is for tests and demonstrations.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from centrald import files
from centrald.errors import ConfigError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_CARD_AUTHORITY_LIFE = datetime.timedelta(days=3653)  # ten years, as the real ones
_TLS_AUTHORITY_LIFE = datetime.timedelta(days=3653)
_TLS_LIFE = datetime.timedelta(days=397)
_BACKDATE = datetime.timedelta(hours=1)  # kiosks' clocks are not exact
_CARD_KEY_BITS = 2048  # 公的個人認証サービス プロファイル仕様書: RSA-2048 with SHA-256
_PUBLIC_EXPONENT = 65537  # FIPS 186-5 A.1.1
_AGENCY = "Japan Agency for Local Authority Information Systems"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    def write(self, certificate: Path, key: Path) -> None:
        """Write both as PEM, the key (PKCS #8, unencrypted) readable by its owner only; raises AlreadyThere."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files.write_new(key, pem, mode=0o600)
        files.write_new(certificate, self.certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)

    def replace(self, certificate: Path, key: Path) -> None:
        """Write both over what is there, each in one step, the key first: who finds only that keeps the old pair."""
        new_key, new_certificate = (path.with_name(f".{path.name}.new") for path in (key, certificate))
        for path in (new_key, new_certificate):
            path.unlink(missing_ok=True)  # of a try that was cut off
        self.write(new_certificate, new_key)
        new_key.replace(key)
        new_certificate.replace(certificate)


def card_authority(unit: str, now: datetime.datetime) -> Issued:
    """Make a self-signed RSA-2048 authority with this unit ("JPKI for user authentication", …)."""
    key = rsa.generate_private_key(_PUBLIC_EXPONENT, _CARD_KEY_BITS)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "JPKI-TEST"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, _AGENCY),
        ]
    )
    builder = _builder(name, name, key, now, _CARD_AUTHORITY_LIFE)
    return Issued(_authority(builder, path_length=None).sign(key, hashes.SHA256()), key)


def empty_revocation_list(authority: Issued) -> bytes:
    """Return the list (DER) of an authority that has revoked nothing, good for its whole life; any other is newer."""
    certificate = authority.certificate
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(certificate.not_valid_before_utc)
        .next_update(certificate.not_valid_after_utc)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .add_extension(x509.CRLNumber(0), critical=False)
    )
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def tls_authority(common_name: str, now: datetime.datetime) -> Issued:
    """Make a self-signed P-256 authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _common_name(common_name)
    builder = _builder(name, name, key, now, _TLS_AUTHORITY_LIFE)
    return Issued(_authority(builder, path_length=0).sign(key, hashes.SHA256()), key)


def server_certificate(authority: Issued, names: list[str], now: datetime.datetime) -> Issued:
    """Issue the service's certificate for these host names and addresses."""
    return _leaf(authority, names[0], [_general_name(name) for name in names], ExtendedKeyUsageOID.SERVER_AUTH, now)


def kiosk_certificate(authority: Issued, uri: str, common_name: str, now: datetime.datetime) -> Issued:
    """Issue a kiosk's client certificate with this URI name."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    return _leaf(authority, common_name, names, ExtendedKeyUsageOID.CLIENT_AUTH, now)


def load(certificate: Path, key: Path) -> Issued:
    """Read an authority back; raises ConfigError."""
    try:
        loaded = serialization.load_pem_private_key(key.read_bytes(), password=None)
        issued = x509.load_pem_x509_certificate(certificate.read_bytes())
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    except ValueError:
        raise ConfigError(f"{certificate} or {key} is not PEM") from None
    if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{key} is of an unknown kind")
    return Issued(issued, loaded)


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read the certificates of a PEM file; raises ConfigError."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError:
        raise ConfigError(f"{path} holds no PEM certificate") from None


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the host names and addresses of a server certificate; raises ConfigError when there are none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise ConfigError("the certificate has no names") from None
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _leaf(
    authority: Issued,
    common_name: str,
    names: list[x509.GeneralName],
    usage: x509.ObjectIdentifier,
    now: datetime.datetime,
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate.subject
    builder = (
        _builder(_common_name(common_name), issuer, key, now, _TLS_LIFE)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return Issued(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority(builder: x509.CertificateBuilder, path_length: int | None) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True).add_extension(
        _key_usage(digital_signature=False), critical=True
    )


def _key_usage(*, digital_signature: bool) -> x509.KeyUsage:
    """Return digitalSignature alone, or keyCertSign and cRLSign."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not digital_signature,
        crl_sign=not digital_signature,
        encipher_only=False,
        decipher_only=False,
    )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])  # RFC 5280: ub-common-name


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
