"""The user certificate's path and profile: one that is right, and every way to be wrong."""

from __future__ import annotations

import contextlib
import datetime
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from centrald import pki
from centrald.certificates import USER_POLICY, UserAuthority, UserCertificate
from centrald.errors import ConfigError
from centrald.revocation import Role, Root, read
from centrald.rules.model import Fault, Refusal
from tests.rig.crl import crl
from tests.unit.centrald.world import HeldCard, ManualClock, card_keys

NOW = ManualClock().now()
DAY = datetime.timedelta(days=1)
Builder = x509.CertificateBuilder
SIGN_POLICY = x509.ObjectIdentifier("1.2.392.200149.8.5.1.1.20")


@pytest.fixture(scope="module")
def root(initialized: Path) -> pki.Issued:
    return pki.load(initialized / "authority/user-ca.pem", initialized / "authority/user-ca.key")


@pytest.fixture(scope="module")
def authority(initialized: Path) -> UserAuthority:
    return UserAuthority.load(initialized / "authority/user-ca.pem")


def usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})


def subject(*, country: str | None = "JP", common_names: int = 1) -> x509.Name:
    names = [x509.NameAttribute(NameOID.COUNTRY_NAME, country)] if country else []
    return x509.Name([*names, *[x509.NameAttribute(NameOID.COMMON_NAME, "0123456789ABCDEF")] * common_names])


def made(
    root: pki.Issued,
    *,
    name: x509.Name | None = None,
    issuer: x509.Name | None = None,
    key_usage: x509.KeyUsage | None = None,
    usage_critical: bool = True,
    policies: tuple[x509.ObjectIdentifier, ...] = (USER_POLICY,),
    policies_critical: bool = True,
    key: RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
    algorithm: hashes.SHA384 | None = None,
    more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    signed_by: RSAPrivateKey | None = None,
    lived: tuple[datetime.datetime, datetime.datetime] = (NOW - DAY, NOW + DAY),
) -> bytes:
    """Issue a user certificate that is right but for what is said."""
    builder = (
        Builder()
        .subject_name(name or subject())
        .issuer_name(issuer or root.certificate.subject)
        .public_key((key or card_keys().user).public_key())
        .serial_number(0x0A0B0C0D)
        .not_valid_before(lived[0])
        .not_valid_after(lived[1])
        .add_extension(key_usage or usage(digital_signature=True), critical=usage_critical)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key()), critical=False)
    )
    if policies:
        information = [x509.PolicyInformation(policy, None) for policy in policies]
        builder = builder.add_extension(x509.CertificatePolicies(information), critical=policies_critical)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(signed_by or root.key, algorithm or hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.DER)


def test_a_card_of_the_authority(initialized: Path, authority: UserAuthority, root: pki.Issued) -> None:
    held = HeldCard.issue(initialized, NOW)
    judged = authority.judge(held.certificate, NOW)
    assert isinstance(judged, UserCertificate)
    assert judged.id == held.certificate_id
    assert judged.signed(b"text", held.sign(b"text"))
    assert not judged.signed(b"other", held.sign(b"text"))
    assert not judged.signed(b"text", bytes(256))
    assert not judged.signed(b"text", b"")


def test_our_own_right_one_is_right(authority: UserAuthority, root: pki.Issued) -> None:
    judged = authority.judge(made(root), NOW)
    assert isinstance(judged, UserCertificate)
    assert judged.id.serial == "a0b0c0d"
    no_issuer = made(root, more=((x509.BasicConstraints(ca=False, path_length=None), True),))
    assert isinstance(authority.judge(no_issuer, NOW), UserCertificate)


def flipped(der: bytes, at: int) -> bytes:
    return der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]


WRONG: dict[str, tuple[Fault, Callable[[pki.Issued], bytes]]] = {
    "not DER": (Fault.MALFORMED, lambda _: b"\x30\x03junk"),
    "empty": (Fault.MALFORMED, lambda _: b""),
    "more behind it": (Fault.MALFORMED, lambda root: made(root) + b"\x00"),
    "the authority itself": (
        Fault.WRONG_AUTHORITY,
        lambda root: root.certificate.public_bytes(serialization.Encoding.DER),
    ),
    "of another authority": (
        Fault.WRONG_AUTHORITY,
        lambda _: made(pki.card_authority("JPKI for user authentication", NOW)),
    ),
    "another issuer's name": (Fault.WRONG_AUTHORITY, lambda root: made(root, issuer=subject())),
    "signed by another key": (Fault.TAMPERED, lambda root: made(root, signed_by=generate_private_key(65537, 2048))),
    "a bit of its serial number": (
        Fault.TAMPERED,
        lambda root: flipped(made(root), made(root).index(bytes.fromhex("0a0b0c0d")) + 3),
    ),
    "the last bit of its signature": (Fault.TAMPERED, lambda root: flipped(made(root), -1 + len(made(root)))),
    "another hash": (Fault.WRONG_PROFILE, lambda root: made(root, algorithm=hashes.SHA384())),
    "a signing certificate's usage": (
        Fault.WRONG_PURPOSE,
        lambda root: made(root, key_usage=usage(digital_signature=True, content_commitment=True)),
    ),
    "another usage": (Fault.WRONG_PURPOSE, lambda root: made(root, key_usage=usage(key_encipherment=True))),
    "a signing certificate's policy": (Fault.WRONG_PURPOSE, lambda root: made(root, policies=(SIGN_POLICY,))),
    "two policies": (Fault.WRONG_PURPOSE, lambda root: made(root, policies=(USER_POLICY, SIGN_POLICY))),
    "no policy": (Fault.WRONG_PURPOSE, lambda root: made(root, policies=())),
    "usage not critical": (Fault.WRONG_PROFILE, lambda root: made(root, usage_critical=False)),
    "policy not critical": (Fault.WRONG_PROFILE, lambda root: made(root, policies_critical=False)),
    "no country": (Fault.WRONG_PROFILE, lambda root: made(root, name=subject(country=None))),
    "another country": (Fault.WRONG_PROFILE, lambda root: made(root, name=subject(country="DE"))),
    "no common name": (Fault.WRONG_PROFILE, lambda root: made(root, name=subject(common_names=0))),
    "an issuer": (
        Fault.WRONG_PROFILE,
        lambda root: made(root, more=((x509.BasicConstraints(ca=True, path_length=None), True),)),
    ),
    "an unknown critical extension": (
        Fault.WRONG_PROFILE,
        lambda root: made(root, more=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True),)),
    ),
    "an elliptic key": (Fault.WRONG_PROFILE, lambda root: made(root, key=ec.generate_private_key(ec.SECP256R1()))),
    "a longer RSA key": (Fault.WRONG_PROFILE, lambda root: made(root, key=generate_private_key(65537, 3072))),
}


@pytest.mark.parametrize("how", WRONG)
def test_what_is_not_trusted(authority: UserAuthority, root: pki.Issued, how: str) -> None:
    fault, wrong = WRONG[how]
    assert authority.judge(wrong(root), NOW) is fault
    assert fault.refusal is Refusal.CERTIFICATE_NOT_TRUSTED


def test_the_published_profile_in_full_is_accepted(authority: UserAuthority, root: pki.Issued) -> None:
    """As J-LIS issues them: names in Japanese, a directory name as distribution point, the policy with its CPS."""

    def directory(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.DirectoryName:
        return x509.DirectoryName(x509.Name([x509.NameAttribute(oid, text) for oid, text in parts]))

    japanese = directory(
        (NameOID.COUNTRY_NAME, "JP"),
        (NameOID.ORGANIZATION_NAME, "公的個人認証サービス"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "公的個人認証サービス利用者証明用"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "地方公共団体情報システム機構"),
    )
    point = directory(
        (NameOID.COUNTRY_NAME, "JP"),
        (NameOID.ORGANIZATION_NAME, "JPKI-TEST"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "CRL Distribution Points"),
        (NameOID.COMMON_NAME, "Chiyoda-ku CRLDP"),
    )
    policy = x509.PolicyInformation(USER_POLICY, ["http://www.jpki.go.jp/cps.html"])
    certificate = made(
        root,
        policies=(),
        more=(
            (x509.CertificatePolicies([policy]), True),
            (x509.IssuerAlternativeName([japanese]), False),
            (x509.CRLDistributionPoints([x509.DistributionPoint([point], None, None, None)]), False),
            (x509.SubjectKeyIdentifier(bytes(20)), False),
        ),
    )
    assert isinstance(authority.judge(certificate, NOW), UserCertificate)


def test_any_bit_that_is_changed_is_noticed(authority: UserAuthority, root: pki.Issued) -> None:
    der = made(root)
    unused_bits = len(der) - 257  # of the signature's BIT STRING: no part of its value
    judged = {authority.judge(flipped(der, at), NOW) for at in range(0, len(der), 3) if at != unused_bits}
    assert not [one for one in judged if isinstance(one, UserCertificate)]
    assert Fault.TAMPERED in judged


def mangled(data: bytes, chance: random.Random) -> bytes:
    """Change, drop or repeat some bytes somewhere."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at, other = (chance.randrange(len(changed)) for _ in range(2))
        match chance.randrange(3):
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                del changed[at : at + chance.randrange(1, 5)]
            case _:
                changed[at:at] = changed[other : other + chance.randrange(1, 9)]
    return bytes(changed)


def test_whatever_comes_is_judged_and_never_raises(authority: UserAuthority, root: pki.Issued) -> None:
    der, roots, chance = made(root), {"aa": Root(Role.USER, root.certificate)}, random.Random(20261122)
    revoked = crl(root, NOW, 1, 2)
    assert read(revoked, roots, NOW).serials == {1, 2}
    for _ in range(3000):
        assert isinstance(authority.judge(mangled(der, chance), NOW), Fault | UserCertificate)
        with contextlib.suppress(ConfigError):
            read(mangled(revoked, chance), roots, NOW)


@pytest.mark.parametrize(
    ("lived", "fault"),
    [
        ((NOW, NOW), None),
        ((NOW - DAY, NOW - datetime.timedelta(seconds=1)), Fault.EXPIRED),
        ((NOW + datetime.timedelta(seconds=1), NOW + DAY), Fault.NOT_YET_VALID),
    ],
)
def test_validity_includes_both_ends(
    authority: UserAuthority,
    root: pki.Issued,
    lived: tuple[datetime.datetime, datetime.datetime],
    fault: Fault | None,
) -> None:
    judged = authority.judge(made(root, lived=lived), NOW)
    assert (judged if isinstance(judged, Fault) else None) is fault
    assert fault is None or fault.refusal is Refusal.CERTIFICATE_EXPIRED


def test_an_expired_authority_ends_its_cards(authority: UserAuthority, root: pki.Issued) -> None:
    after = root.certificate.not_valid_after_utc + DAY
    assert authority.judge(made(root, lived=(NOW, after + DAY)), after) is Fault.AUTHORITY_EXPIRED


def test_two_generations_of_the_authority(tmp_path: Path, initialized: Path, root: pki.Issued) -> None:
    next_root = pki.card_authority("JPKI for user authentication", NOW)
    both = tmp_path / "both.pem"
    pem = next_root.certificate.public_bytes(serialization.Encoding.PEM)
    both.write_bytes((initialized / "authority/user-ca.pem").read_bytes() + pem)
    authority = UserAuthority.load(both)
    first, second = authority.judge(made(root), NOW), authority.judge(made(next_root), NOW)
    assert isinstance(first, UserCertificate)
    assert isinstance(second, UserCertificate)
    assert first.id.serial == second.id.serial
    assert first.id != second.id


def test_the_test_authority_has_the_published_profile(initialized: Path) -> None:
    for name, unit in (("user", "JPKI for user authentication"), ("sign", "JPKI for digital signature")):
        issued = pki.load(initialized / f"authority/{name}-ca.pem", initialized / f"authority/{name}-ca.key")
        assert [part.value for part in issued.certificate.subject] == [
            "JP", "JPKI-TEST", unit, "Japan Agency for Local Authority Information Systems",
        ]  # fmt: skip
        assert issued.certificate.subject == issued.certificate.issuer
        extensions = issued.certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        key_usage = extensions.get_extension_for_class(x509.KeyUsage)
        assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, None)
        assert (key_usage.critical, key_usage.value) == (True, usage(key_cert_sign=True, crl_sign=True))


def test_an_authority_file_that_is_none(tmp_path: Path, root: pki.Issued) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(ConfigError, match="No such file"):
        UserAuthority.load(path)
    path.write_text("junk")
    with pytest.raises(ConfigError, match="no PEM"):
        UserAuthority.load(path)
    leaf = x509.load_der_x509_certificate(made(root))
    path.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(ConfigError, match="not an authority"):
        UserAuthority.load(path)
