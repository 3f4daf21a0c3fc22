"""The user certificate of a card: its path, profile and validity, by hand, for no generic verifier knows the profile.

Source of the profile: 公的個人認証サービス プロファイル仕様書 (J-LIS), user certificates.
"""

from __future__ import annotations

import datetime
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtensionOID, NameOID, SignatureAlgorithmOID

from centrald.errors import ConfigError
from centrald.rules.model import CertificateId, Fault

MAX_CERTIFICATE_BYTES = 4096
USER_POLICY = x509.ObjectIdentifier("1.2.392.200149.8.5.1.3.30")  # user authentication certificate
_KEY_BITS = 2048
_COUNTRY = "JP"
_REMEMBERED = 5_000  # certificates, some 20 MB at most
BROKEN = (  # what parsing of foreign bytes raises, at once or when a part is first looked at
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    UserWarning,  # of serial numbers and names against the standard, where warnings are errors
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_KNOWN_EXTENSIONS = frozenset(
    {ExtensionOID.KEY_USAGE, ExtensionOID.CERTIFICATE_POLICIES, ExtensionOID.BASIC_CONSTRAINTS}
)


@dataclass(frozen=True, slots=True)
class UserCertificate:
    """A user certificate of the card authority that is valid now; revocation is the registry's to say."""

    id: CertificateId
    public_key: RSAPublicKey

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Verify RSASSA-PKCS1-v1_5 with SHA-256 over the message."""
        try:
            self.public_key.verify(signature, message, PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


def load_roots(path: Path) -> dict[str, x509.Certificate]:
    """Read one or more PEM certificates of authorities, by subject key id (hex); raises ConfigError."""
    try:
        roots = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError:
        raise ConfigError(f"{path} holds no PEM certificate") from None
    if not all(_is_authority(root) for root in roots):
        raise ConfigError(f"{path} holds a certificate that is not an authority's")
    return {_subject_key_id(root): root for root in roots}


@dataclass(frozen=True, slots=True)
class _Examined:
    """A certificate in which nothing was found wrong but what time may change."""

    certificate: UserCertificate
    root: x509.Certificate
    not_before: datetime.datetime
    not_after: datetime.datetime

    def at(self, now: datetime.datetime) -> UserCertificate | Fault:
        # RFC 5280 4.1.2.5: both ends included
        if now < self.not_before:
            return Fault.NOT_YET_VALID
        if now > self.not_after:
            return Fault.EXPIRED
        if not self.root.not_valid_before_utc <= now <= self.root.not_valid_after_utc:
            return Fault.AUTHORITY_EXPIRED
        return self.certificate


class UserAuthority:
    """The authority (in one or more generations) whose user certificates the service accepts.

    A citizen's certificate is shown twice within 24 hours, so those examined last are known by their digest. Only such
    as the authority signed are: nobody can fill the memory with others.
    """

    def __init__(self, roots: dict[str, x509.Certificate]) -> None:
        self._roots = roots
        self._examined: OrderedDict[bytes, _Examined] = OrderedDict()

    @classmethod
    def load(cls, path: Path) -> UserAuthority:
        """See `load_roots`."""
        return cls(load_roots(path))

    def judge(self, der: bytes, now: datetime.datetime) -> UserCertificate | Fault:
        """Return the certificate, or the first fault found."""
        digest = hashlib.sha256(der).digest()
        found = self._examined.get(digest)
        if found is None:
            examined = self._examine(der)
            if isinstance(examined, Fault):
                return examined
            found = self._examined[digest] = examined
            if len(self._examined) > _REMEMBERED:
                self._examined.popitem(last=False)
        return found.at(now)

    def _examine(self, der: bytes) -> _Examined | Fault:
        try:
            certificate = x509.load_der_x509_certificate(der)
            authority_key_id = _authority_key_id(certificate)
            root = self._roots.get(authority_key_id or "")
            if authority_key_id is None or root is None:
                return Fault.WRONG_AUTHORITY
            fault = _fault_of(root, certificate)
            key = certificate.public_key()
        except BROKEN:
            return Fault.MALFORMED
        if fault is not None:
            return fault
        if not isinstance(key, RSAPublicKey) or key.key_size != _KEY_BITS:
            return Fault.WRONG_PROFILE
        user = UserCertificate(CertificateId(authority_key_id, f"{certificate.serial_number:x}"), key)
        return _Examined(user, root, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _subject_key_id(certificate: x509.Certificate) -> str:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    except x509.ExtensionNotFound:
        raise ConfigError("an authority's certificate has no subject key identifier") from None


def _authority_key_id(certificate: x509.Certificate) -> str | None:
    try:
        identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None
    return identifier.hex() if identifier else None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign


def _fault_of(root: x509.Certificate, certificate: x509.Certificate) -> Fault | None:
    """Judge issuer, algorithm, signature, purpose and profile, in this order."""
    if certificate.issuer != root.subject:
        return Fault.WRONG_AUTHORITY
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.RSA_WITH_SHA256:
        return Fault.WRONG_PROFILE
    try:
        certificate.verify_directly_issued_by(root)
    except InvalidSignature:
        return Fault.TAMPERED
    if not _is_for_users(certificate.extensions):
        return Fault.WRONG_PURPOSE
    return None if _has_profile(certificate) else Fault.WRONG_PROFILE


def _is_for_users(extensions: x509.Extensions) -> bool:
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        policies = extensions.get_extension_for_class(x509.CertificatePolicies)
    except x509.ExtensionNotFound:
        return False
    return _only_digital_signature(usage.value) and [one.policy_identifier for one in policies.value] == [USER_POLICY]


def _has_profile(certificate: x509.Certificate) -> bool:
    extensions = certificate.extensions
    if any(extension.critical and extension.oid not in _KNOWN_EXTENSIONS for extension in extensions):
        return False
    countries = certificate.subject.get_attributes_for_oid(NameOID.COUNTRY_NAME)
    return (
        extensions.get_extension_for_class(x509.KeyUsage).critical
        and extensions.get_extension_for_class(x509.CertificatePolicies).critical
        and [country.value for country in countries] == [_COUNTRY]
        and len(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)) == 1
        and not _may_issue(extensions)
    )


def _only_digital_signature(usage: x509.KeyUsage) -> bool:
    others = (
        usage.content_commitment,
        usage.key_encipherment,
        usage.data_encipherment,
        usage.key_agreement,
        usage.key_cert_sign,
        usage.crl_sign,
    )
    return usage.digital_signature and not any(others)


def _may_issue(extensions: x509.Extensions) -> bool:
    try:
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
