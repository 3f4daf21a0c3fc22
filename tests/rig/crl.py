"""Revocation lists of the test card authority."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from centrald import pki

DAY = datetime.timedelta(days=1)


def crl(
    authority: pki.Issued,
    now: datetime.datetime,
    *serials: int,
    number: int | None = 1,
    life: datetime.timedelta = DAY,
    issuer: x509.Name | None = None,
    signed_by: pki.PrivateKey | None = None,
    algorithm: hashes.SHA256 | hashes.SHA384 | None = None,
    more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> bytes:
    """Return a list in DER that is right but for what is said."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer or authority.certificate.subject)
        .last_update(now)
        .next_update(now + life)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        builder = builder.add_revoked_certificate(revoked)
    signed = builder.sign(signed_by or authority.key, algorithm or hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)
