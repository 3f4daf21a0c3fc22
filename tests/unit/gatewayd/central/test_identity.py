from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cryptography import x509

from gatewayd.central.identity import read_identity
from gatewayd.central.settings import CentralSettings
from gatewayd.errors import ConfigError
from tests.fakes.pki import KIOSK_URI, NOT_AFTER, Pki, make_pki


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
