"""The two end-entity certificates of a card, of the profile J-LIS publishes, under a test authority.

Names carry O=JPKI-TEST as the hierarchy for tests does. The profile's facts are those visible in issued certificates
and in the open clients that read them (OpenSC, jpki/myna, kjur/jsrsasign-oid-jpki).
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509.oid import NameOID, ObjectIdentifier

from cardsim.persona import Holder

SIGNING_POLICY = ObjectIdentifier("1.2.392.200149.8.5.1.0.20")  # the signing policy's number in the test hierarchy
USER_POLICY = ObjectIdentifier("1.2.392.200149.8.5.1.3.30")  # no other number is known for tests
CPS_ADDRESS = "http://www.jpki.go.jp/cps.html"
PERSONAL_DATA = (
    "1.2.392.200149.8.5.5"  # .1 name, .2 substitutes in it, .3 sex, .4 birth, .5 address, .6 substitutes in it
)
NAME, NAME_SUBSTITUTES, SEX, BIRTH_DATE, ADDRESS, ADDRESS_SUBSTITUTES = 1, 2, 3, 4, 5, 6

SERIAL_LENGTH = 4  # bytes; the 発行番号
YEARS = 5  # until the fifth birthday after issue
UTF8_STRING = 0x0C  # ITU-T X.690, universal tag 12
SHORT_LENGTH_LIMIT = 0x80  # ITU-T X.690, 8.1.3


class AuthorityError(Exception):
    """The directory holds no usable test authority."""


@dataclass(frozen=True, slots=True, repr=False)
class Authority:
    """One of the two roots, with the key that signs."""

    certificate: x509.Certificate
    key: RSAPrivateKey

    @property
    def der(self) -> bytes:
        """The root certificate, DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_id(self) -> bytes:
        """The root's subject key identifier, 20 bytes."""
        return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def load_authority(directory: Path, name: str) -> Authority:
    """Load `name`-ca.pem and `name`-ca.key (PKCS #8, not encrypted). Raises AuthorityError."""
    try:
        certificate = x509.load_pem_x509_certificate((directory / f"{name}-ca.pem").read_bytes())
        key = serialization.load_pem_private_key((directory / f"{name}-ca.key").read_bytes(), None)
    except (OSError, ValueError) as error:
        raise AuthorityError(f"no {name} authority in {directory}: {error}") from error
    if not isinstance(key, RSAPrivateKey):
        raise AuthorityError(f"the {name} authority's key is not RSA")
    return Authority(certificate, key)


def issue_user_certificate(authority: Authority, key: RSAPublicKey, lifetime: Lifetime) -> x509.Certificate:
    """Issue the certificate of EF 000A: digitalSignature, no personal data."""
    usage = _key_usage(content_commitment=False)
    builder = _builder(authority, key, lifetime, "利用者証明用", "user authentication")
    builder = builder.add_extension(usage, critical=True).add_extension(_policy(USER_POLICY), critical=True)
    return builder.sign(authority.key, hashes.SHA256())


def issue_signing_certificate(
    authority: Authority, key: RSAPublicKey, lifetime: Lifetime, holder: Holder
) -> x509.Certificate:
    """Issue the certificate of EF 0001: digitalSignature and nonRepudiation, with the holder's personal data."""
    usage = _key_usage(content_commitment=True)
    builder = _builder(authority, key, lifetime, "署名用", "digital signature")
    builder = builder.add_extension(usage, critical=True).add_extension(_policy(SIGNING_POLICY), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName(_personal_data(holder)), critical=False)
    return builder.sign(authority.key, hashes.SHA256())


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a certificate is valid, both ends included, in UTC."""

    begin: datetime.datetime
    end: datetime.datetime


def lifetime(issued: datetime.datetime, birth_date: str) -> Lifetime:
    """Return the validity of a card issued now: until the end of the fifth birthday after it, in Japanese time.

    `birth_date` is the era digit and YYYYMMDD.
    """
    tokyo = datetime.timezone(datetime.timedelta(hours=9), "JST")
    local = issued.astimezone(tokyo).replace(microsecond=0)
    month_and_day = (int(birth_date[5:7]), int(birth_date[7:9]))
    years = YEARS if (local.month, local.day) < month_and_day else YEARS + 1
    month, day = (2, 28) if month_and_day == (2, 29) else month_and_day  # four years in five have no 29 February
    last = datetime.datetime(local.year + years - 1, month, day, 23, 59, 59, tzinfo=tokyo)
    return Lifetime(local.astimezone(datetime.UTC), last.astimezone(datetime.UTC))


def authority_key_id(certificate: x509.Certificate) -> bytes:
    """Return the key identifier, 20 bytes, of the authority that issued a certificate of ours."""
    identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier is not None
    return identifier


def _builder(
    authority: Authority, key: RSAPublicKey, lifetime: Lifetime, kind: str, english_kind: str
) -> x509.CertificateBuilder:
    serial = int.from_bytes(secrets.token_bytes(SERIAL_LENGTH), "big") & 0x7FFFFFFF | 0x01000000
    opaque_name = f"{serial:08X}{secrets.token_hex(9).upper()}"
    issuer_key = x509.AuthorityKeyIdentifier(authority.key_id, None, None)
    return (
        x509.CertificateBuilder()
        .subject_name(_name((NameOID.COUNTRY_NAME, "JP"), (NameOID.COMMON_NAME, opaque_name)))
        .issuer_name(authority.certificate.subject)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(lifetime.begin)
        .not_valid_after(lifetime.end)
        .add_extension(x509.IssuerAlternativeName([_japanese_issuer(kind)]), critical=False)
        .add_extension(_distribution_point(english_kind), critical=False)
        .add_extension(issuer_key, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(*attributes: tuple[ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes])


def _japanese_issuer(kind: str) -> x509.DirectoryName:
    return x509.DirectoryName(
        _name(
            (NameOID.COUNTRY_NAME, "JP"),
            (NameOID.ORGANIZATION_NAME, "公的個人認証サービス（試験）"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, f"公的個人認証サービス{kind}"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "地方公共団体情報システム機構"),
        )
    )


def _distribution_point(english_kind: str) -> x509.CRLDistributionPoints:
    name = _name(
        (NameOID.COUNTRY_NAME, "JP"),
        (NameOID.ORGANIZATION_NAME, "JPKI-TEST"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, f"JPKI for {english_kind}"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "CRL Distribution Points"),
    )
    return x509.CRLDistributionPoints([x509.DistributionPoint([x509.DirectoryName(name)], None, None, None)])


def _key_usage(*, content_commitment: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _policy(policy: ObjectIdentifier) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(policy, [CPS_ADDRESS])])


def _personal_data(holder: Holder) -> Sequence[x509.GeneralName]:
    """Return the otherNames in the order seen in issued certificates: 1, 4, 3, 5, 2, 6."""
    values = (
        (NAME, holder.name),
        (BIRTH_DATE, holder.birth_date),
        (SEX, holder.sex),
        (ADDRESS, holder.address),
        (NAME_SUBSTITUTES, "0" * len(holder.name)),
        (ADDRESS_SUBSTITUTES, "0" * len(holder.address)),
    )
    return [x509.OtherName(ObjectIdentifier(f"{PERSONAL_DATA}.{arc}"), _utf8_string(text)) for arc, text in values]


def _utf8_string(text: str) -> bytes:
    """Encode a UTF8String of at most 255 bytes in DER."""
    content = text.encode()
    if len(content) < SHORT_LENGTH_LIMIT:
        return bytes((UTF8_STRING, len(content))) + content
    return bytes((UTF8_STRING, SHORT_LENGTH_LIMIT | 1, len(content))) + content
