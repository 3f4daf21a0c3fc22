from __future__ import annotations

import contextlib
import dataclasses
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gatewayd.central.identity import check_dates, read_identity, stamp
from gatewayd.central.settings import CentralSettings
from gatewayd.errors import ConfigError
from tests.fakes.pki import KIOSK_URI, NOT_AFTER, NOT_BEFORE, Pki, make_pki


def settings(pki: Pki) -> CentralSettings:
    return CentralSettings("localhost:1", pki.kiosk, pki.kiosk_key, pki.authority)


def test_the_kiosk_is_named_by_its_certificate(tmp_path: Path) -> None:
    identity = read_identity(settings(make_pki(tmp_path)))
    assert identity.kiosk_id == "seven/0001/1"
    assert identity.expiry == {"client": NOT_AFTER.timestamp(), "authority": NOT_AFTER.timestamp()}
    assert "PRIVATE" not in repr(identity)


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["spiffe://jpki-reset/chain/seven/store/0001"],
        ["spiffe://jpki-reset/chain/SEVEN/store/0001/kiosk/1"],
        ["spiffe://elsewhere/chain/seven/store/0001/kiosk/1"],
        [KIOSK_URI + "/x"],
        [KIOSK_URI + "\n"],
        [KIOSK_URI, KIOSK_URI.replace("seven", "lawson")],
        ["spiffe://jpki-reset/chain/" + "a" * 33 + "/store/0001/kiosk/1"],
    ],
)
def test_a_certificate_that_names_no_kiosk_is_refused(tmp_path: Path, uris: list[str]) -> None:
    pki = make_pki(tmp_path, [x509.UniformResourceIdentifier(uri) for uri in uris])
    with pytest.raises(ConfigError, match="names no kiosk"):
        read_identity(settings(pki))


@pytest.mark.parametrize("field", ["certificate", "key", "authority"])
def test_a_missing_file_is_named(tmp_path: Path, field: str) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(ConfigError, match=str(missing)):
        read_identity(dataclasses.replace(settings(make_pki(tmp_path)), **{field: missing}))  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["certificate", "authority"])
def test_a_file_without_a_certificate_is_named(tmp_path: Path, field: str) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing")
    with pytest.raises(ConfigError, match="no certificate"):
        read_identity(dataclasses.replace(settings(make_pki(tmp_path)), **{field: garbage}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "damaged", "complaint"),
    [
        (bytes.fromhex("A003020102"), bytes.fromhex("A003020104"), "no certificate"),  # version 5: there are three
        (KIOSK_URI.encode(), b"\xff" + KIOSK_URI.encode()[1:], "names no kiosk"),  # a name that is no ASCII
        (bytes.fromhex("2A8648CE3D030107"), bytes.fromhex("2A8648CE3D030177"), "no known kind"),  # a curve nobody knows
    ],
)
def test_a_damaged_certificate_is_a_mistake_of_the_configuration(
    tmp_path: Path, said: bytes, damaged: bytes, complaint: str
) -> None:
    pki = make_pki(tmp_path)
    whole = x509.load_pem_x509_certificate(pki.kiosk.read_bytes()).public_bytes(serialization.Encoding.DER)
    assert said in whole
    pki.kiosk.write_text(ssl.DER_cert_to_PEM_cert(whole.replace(said, damaged, 1)))
    with pytest.raises(ConfigError, match=complaint):
        read_identity(settings(pki))


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir()
    foreign = make_pki(other)
    mixed = dataclasses.replace(settings(make_pki(one)), key=foreign.kiosk_key)
    with pytest.raises(ConfigError, match="not the key of the certificate"):
        read_identity(mixed)
    foreign.kiosk_key.write_text("nothing")
    with pytest.raises(ConfigError, match="no private key"):
        read_identity(mixed)


def test_certificates_behind_the_first_are_its_issuers(tmp_path: Path) -> None:
    pki = make_pki(tmp_path)
    leaf, authority, server = (path.read_bytes() for path in (pki.kiosk, pki.authority, pki.server))
    pki.kiosk.write_bytes(leaf + authority)
    assert len(read_identity(settings(pki)).chain) == 2
    pki.kiosk.write_bytes(leaf + server)
    with pytest.raises(ConfigError, match="no chain"):
        read_identity(settings(pki))


@pytest.mark.parametrize(("days", "good"), [(-1, False), (1, True)])
def test_dates(tmp_path: Path, days: int, good: bool) -> None:
    identity = read_identity(settings(make_pki(tmp_path)))
    for now in (NOT_BEFORE + datetime.timedelta(days=days), NOT_AFTER - datetime.timedelta(days=days)):
        with contextlib.nullcontext() if good else pytest.raises(ConfigError, match="expired or is not valid yet"):
            check_dates(identity, now)


def test_one_authority_that_is_valid_is_enough(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for directory in (old, new):
        directory.mkdir()
    pki, past = make_pki(new), make_pki(old, not_after=NOT_BEFORE + datetime.timedelta(days=1))
    now = NOT_BEFORE + datetime.timedelta(days=2)
    pki.authority.write_bytes(past.authority.read_bytes() + pki.authority.read_bytes())
    check_dates(read_identity(settings(pki)), now)
    pki.authority.write_bytes(past.authority.read_bytes())
    with pytest.raises(ConfigError, match="authority"):
        check_dates(read_identity(settings(pki)), now)


def test_a_stamp_changes_with_the_file_or_the_link_to_it(tmp_path: Path) -> None:
    pki = make_pki(tmp_path)
    link = tmp_path / "link.pem"
    link.symlink_to(pki.kiosk)
    watched = dataclasses.replace(settings(pki), certificate=link)
    first = stamp(watched)
    assert stamp(watched) == first
    copy = tmp_path / "copy.pem"
    copy.write_bytes(pki.kiosk.read_bytes())
    turned = tmp_path / "turned"
    turned.symlink_to(copy)
    turned.replace(link)
    assert stamp(watched) != first
    copy.unlink()
    assert stamp(watched)[0] is None
