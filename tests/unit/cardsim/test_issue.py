"""Issue: certificates of the published profile, files, keys, and the registry entry."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import cmac, serialization
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.x509.oid import NameOID

from cardsim import persona
from cardsim.certificates import AuthorityError, Lifetime, lifetime, load_authority
from cardsim.issue import Issued, MasterKeyError, derive_static_keys, issue, load_master_key
from cardsim.memory import ReferenceName
from tests.unit.cardsim.making import DIVERSIFICATION, MASTER_KEY, NOW, IssueCard

PERSONAL_DATA = "1.2.392.200149.8.5.5."


@pytest.fixture(scope="module")
def issued(issue_card: IssueCard) -> Issued:
    """A card."""
    return issue_card(persona.load())


def usage(certificate: x509.Certificate) -> set[str]:
    """Return the names of the key usages."""
    value = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert value.critical
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
    )
    return {name for name in names if getattr(value.value, name)}


def policies(certificate: x509.Certificate) -> list[str]:
    """Return the policy numbers."""
    value = certificate.extensions.get_extension_for_class(x509.CertificatePolicies)
    assert value.critical
    assert all(each.policy_qualifiers for each in value.value)
    return [each.policy_identifier.dotted_string for each in value.value]


def test_key_usages_and_policies(issued: Issued) -> None:
    assert usage(issued.user_certificate) == {"digital_signature"}
    assert usage(issued.signing_certificate) == {"digital_signature", "content_commitment"}
    assert policies(issued.user_certificate) == ["1.2.392.200149.8.5.1.3.30"]
    assert policies(issued.signing_certificate) == ["1.2.392.200149.8.5.1.0.20"]


def test_certificates_are_signed_by_their_authorities(issued: Issued, authority: Path) -> None:
    for name, certificate in (("user", issued.user_certificate), ("sign", issued.signing_certificate)):
        root = load_authority(authority, name)
        certificate.verify_directly_issued_by(root.certificate)
        key_id = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert key_id == root.key_id


def test_names_are_opaque(issued: Issued) -> None:
    for certificate in (issued.user_certificate, issued.signing_certificate):
        kinds = [attribute.oid for attribute in certificate.subject]
        assert kinds == [NameOID.COUNTRY_NAME, NameOID.COMMON_NAME]
        assert "番号" not in certificate.subject.rfc4514_string()


def test_serials_have_four_bytes_and_the_form_opensc_reads(issued: Issued) -> None:
    for certificate in (issued.user_certificate, issued.signing_certificate):
        assert 3 * 8 < certificate.serial_number.bit_length() <= 4 * 8
        assert certificate.public_bytes(serialization.Encoding.DER)[:2] == bytes.fromhex("3082")


def test_personal_data_is_in_the_signing_certificate_only(issued: Issued) -> None:
    with pytest.raises(x509.ExtensionNotFound):
        issued.user_certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    names = issued.signing_certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = [(each.type_id.dotted_string, each.value) for each in names if isinstance(each, x509.OtherName)]
    assert [oid for oid, _ in found] == [PERSONAL_DATA + arc for arc in "143526"]
    name = found[0][1]
    assert name == bytes([0x0C, len("番号　花子".encode())]) + "番号　花子".encode()
    assert found[1][1] == b"\x0c\x09319800406"


def test_the_issuer_has_a_japanese_name(issued: Issued) -> None:
    for certificate in (issued.user_certificate, issued.signing_certificate):
        name = certificate.extensions.get_extension_for_class(x509.IssuerAlternativeName).value[0].value
        assert isinstance(name, x509.Name)
        assert "公的個人認証サービス" in name.rfc4514_string()


@pytest.mark.parametrize(
    ("issued_at", "birth_date", "last_day"),
    [
        pytest.param("2026-11-22T12:00:00+09:00", "319800406", "2031-04-06", id="birthday passed this year"),
        pytest.param("2026-04-05T12:00:00+09:00", "319800406", "2030-04-06", id="on the day before the birthday"),
        pytest.param("2026-04-06T00:00:00+09:00", "319800406", "2031-04-06", id="on the birthday"),
        pytest.param("2026-04-05T15:30:00+00:00", "319800406", "2031-04-06", id="on the birthday in Japan"),
        pytest.param("2026-11-22T12:00:00+09:00", "420040229", "2031-02-28", id="on 29 February"),
    ],
)
def test_valid_until_the_fifth_birthday(issued_at: str, birth_date: str, last_day: str) -> None:
    begin = datetime.datetime.fromisoformat(issued_at)
    end = datetime.datetime.fromisoformat(f"{last_day}T23:59:59+09:00")
    assert lifetime(begin, birth_date) == Lifetime(begin, end)


def test_the_registry_entry(issued: Issued, authority: Path) -> None:
    entry = msgspec.to_builtins(issued.registry_entry)
    assert entry == {
        "user_certificate_serial": f"{issued.user_certificate.serial_number:x}".rjust(8, "0"),
        "user_authority_key_id": load_authority(authority, "user").key_id.hex(),
        "signing_certificate_serial": f"{issued.signing_certificate.serial_number:x}".rjust(8, "0"),
        "signing_authority_key_id": load_authority(authority, "sign").key_id.hex(),
        "signing_not_before": "2026-11-22T03:00:00+00:00",
        "signing_not_after": "2031-04-06T14:59:59+00:00",
        "diversification_data": DIVERSIFICATION.hex(),
        "key_versions": {"signing_password": 0x31},
    }


def test_static_keys_are_those_of_the_formula() -> None:
    """SP 800-108r1 4.1 written out: counter, label, 00, context, length."""
    context = bytes((1, 0x31)) + DIVERSIFICATION
    keys = derive_static_keys(MASTER_KEY, 1, 0x31, DIVERSIFICATION)
    for label, key in ((b"JPKI-RESET K-ENC", keys.enc), (b"JPKI-RESET K-MAC", keys.mac)):
        mac = cmac.CMAC(algorithms.AES(MASTER_KEY))
        mac.update(b"\x01" + label + b"\x00" + context + b"\x00\x80")
        assert mac.finalize() == key


@pytest.mark.parametrize(("procedure", "version", "diversification"), [(2, 0x31, 0), (1, 0x32, 0), (1, 0x31, 1)])
def test_every_part_of_the_context_makes_other_keys(procedure: int, version: int, diversification: int) -> None:
    other = derive_static_keys(MASTER_KEY, procedure, version, bytes([diversification]) + DIVERSIFICATION[1:])
    usual = derive_static_keys(MASTER_KEY, 1, 0x31, DIVERSIFICATION)
    assert other.enc != usual.enc
    assert other.mac != usual.mac
    assert "StaticKeys" in repr(usual)
    assert usual.enc.hex() not in repr(usual)


def test_the_master_key_file(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_text(MASTER_KEY.hex() + "\n")
    assert load_master_key(path) == MASTER_KEY
    path.write_text("secret-but-not-hex")
    with pytest.raises(MasterKeyError) as refusal:
        load_master_key(path)
    assert "secret-but-not-hex" not in str(refusal.value)
    path.write_text("00" * 31)
    with pytest.raises(MasterKeyError, match="32 bytes"):
        load_master_key(path)


def test_without_an_authority(tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match="no user authority"):
        issue(tmp_path, MASTER_KEY, persona.load(), now=NOW)


def test_personas_by_name_and_by_path(tmp_path: Path) -> None:
    assert {"forgotten", "locked", "user-pin-locked"} <= set(persona.names())
    assert persona.load().reference(ReferenceName.SIGNING_PASSWORD).tries == 0
    text = (Path(persona.__file__).parent / "personas/locked.toml").read_text()
    path = tmp_path / "own.toml"
    path.write_text(text.replace("signing_password = 0", "signing_password = 2"))
    assert persona.load(str(path)).reference(ReferenceName.SIGNING_PASSWORD).tries == 2


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("signing_password = 0", "signing_password = 6", "tries.signing_password"),
        ('user_pin = "1357"', 'user_pin = "13570"', "values.user_pin"),
        ('user_pin = "1357"', 'user_pin = "１３５７"', "not ASCII"),
        ("[tries]", "unknown = 1\n[tries]", r"unknown field `unknown` - at `\$.values`"),
        ("description", "# description", "missing required field `description`"),
    ],
)
def test_a_persona_that_is_wrong_is_refused_with_its_place(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    text = (Path(persona.__file__).parent / "personas/locked.toml").read_text()
    path = tmp_path / "own.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(persona.PersonaError, match=f"(?i){complaint}"):
        persona.load(str(path))


def test_an_unknown_persona() -> None:
    with pytest.raises(persona.PersonaError, match="forgotten, last-try, locked"):
        persona.load("nobody")


def test_other_secrets_at_issue() -> None:
    chosen = persona.load().with_values(user_pin="4321", signing_password="OTHER123")
    assert chosen.values.user_pin == "4321"
    assert chosen.values.signing_password == "OTHER123"
    with pytest.raises(persona.PersonaError, match="4 digits"):
        persona.load().with_values(user_pin="43210")
