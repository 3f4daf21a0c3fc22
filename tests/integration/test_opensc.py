"""The card as OpenSC, software by other hands, sees it through the real PC/SC stack."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from cardsim import store
from cardsim.memory import EF_USER_CERTIFICATE, TransparentFile
from tests.rig.opensc import SIGNING_TOKEN, USER_TOKEN, OpenSC, Tries
from tests.rig.parts import CardSimulator
from tests.rig.pcscd import PrivatePcscd
from tests.rig.process import RigError, run
from tests.rig.site import Site

USER_PIN = "1357"
SIGNING_PASSWORD = "OLDPASS1"
TEXT = b"what the citizen signs"
USER, SIGNING, USER_AUTHORITY, SIGNING_AUTHORITY = 1, 2, 3, 4  # OpenSC's numbers of the certificates


def verify_pin(opensc: OpenSC, auth_id: str, value: str) -> None:
    """Spend one try. Raises RigError when the card refuses."""
    opensc.tool("pkcs15-tool", "--verify-pin", "--auth-id", auth_id, "--pin", value)


def statuses(simulator: CardSimulator, command: str, since: int) -> list[str]:
    """Return the status words of one kind of command, without counter queries."""
    entries = [entry for entry in simulator.entries(since) if entry.get("command") == command]
    return [entry["status"] for entry in entries if len(entry["apdu"]) > 8]


def test_the_card_is_recognised(simulator: CardSimulator, opensc: OpenSC) -> None:
    simulator.insert("forgotten")
    dump = opensc.dump()
    assert "PKCS#15 Card [JPKI]" in dump
    assert re.findall(r"^PIN \[(.*)\]", dump, re.MULTILINE) == ["User Authentication PIN", "Digital Signature PIN"]
    assert re.findall(r"^Private RSA Key \[(.*)\]", dump, re.MULTILINE) == [
        "User Authentication Key",
        "Digital Signature Key",
    ]
    assert dump.count("X.509 Certificate") == 4
    assert statuses(simulator, "VERIFY", 0) == [], "OpenSC only asked for the counters"


def test_the_card_is_recognised_among_all_the_cards_opensc_knows(
    simulator: CardSimulator, opensc: OpenSC, private_pcscd: PrivatePcscd, tmp_path: Path
) -> None:
    """OpenSC as people install it asks for many foreign applications first."""
    settings = tmp_path / "opensc.conf"
    settings.write_text("app default { framework pkcs15 { use_file_caching = no; } }\n")
    simulator.insert("forgotten")
    opensc.wait_for_card()
    environment = {**private_pcscd.environment, "OPENSC_CONF": str(settings), "HOME": str(tmp_path)}
    assert "PKCS#15 Card [JPKI]" in run(["pkcs15-tool", "--dump"], env=environment)
    assert "6A82" in {entry.get("status") for entry in simulator.entries() if entry.get("command") == "SELECT"}


def test_all_four_certificates_are_read(simulator: CardSimulator, opensc: OpenSC, site: Site, tmp_path: Path) -> None:
    simulator.insert("forgotten")
    authorities = site.central / "authority"
    user, signing = opensc.certificate(USER), opensc.certificate(SIGNING, SIGNING_PASSWORD)
    assert opensc.issued_by(user, authorities / "user-ca.pem")
    assert opensc.issued_by(signing, authorities / "sign-ca.pem")
    assert not opensc.issued_by(user, authorities / "sign-ca.pem")
    for number, name in ((USER_AUTHORITY, "user-ca.pem"), (SIGNING_AUTHORITY, "sign-ca.pem")):
        own = x509.load_pem_x509_certificate((authorities / name).read_bytes())
        assert x509.load_pem_x509_certificate(opensc.certificate(number).encode()) == own
    stored = store.load(tmp_path / "site/cards/forgotten.json").applications[1].files[EF_USER_CERTIFICATE]
    assert isinstance(stored, TransparentFile)
    der = x509.load_pem_x509_certificate(user.encode()).public_bytes(serialization.Encoding.DER)
    assert stored.content.startswith(der)
    assert set(stored.content[len(der) :]) == {0xFF}


def test_the_signing_certificate_wants_the_password(simulator: CardSimulator, opensc: OpenSC) -> None:
    simulator.insert("forgotten")
    with pytest.raises(RigError):
        opensc.certificate(SIGNING)
    assert simulator.entries()[-1]["event"] in {"apdu", "power_off"}
    assert "6982" in statuses(simulator, "READ BINARY", 0)


@pytest.mark.parametrize(
    ("token", "number", "pin"), [(USER_TOKEN, USER, USER_PIN), (SIGNING_TOKEN, SIGNING, SIGNING_PASSWORD)]
)
def test_both_keys_sign_and_openssl_verifies(
    simulator: CardSimulator, opensc: OpenSC, token: str, number: int, pin: str
) -> None:
    simulator.insert("forgotten")
    signature = opensc.sign(token, number, pin, TEXT)
    certificate = opensc.certificate(number, pin)
    assert opensc.verify(certificate, TEXT, signature)
    assert not opensc.verify(certificate, TEXT + b"!", signature)


def test_wrong_user_pins_count_down_to_nothing(simulator: CardSimulator, opensc: OpenSC) -> None:
    simulator.insert("forgotten")
    for left in (2, 1, 0):
        with pytest.raises(RigError):
            verify_pin(opensc, "01", "0000")
        assert opensc.tries_left() == Tries(user_pin=left, signing_password=5)
    before = simulator.position()
    with pytest.raises(RigError):
        opensc.sign(USER_TOKEN, USER, USER_PIN, TEXT)
    assert set(statuses(simulator, "VERIFY", before)) <= {"6984"}
    assert opensc.tries_left() == Tries(user_pin=0, signing_password=5)


def test_wrong_signing_passwords_count_down_to_nothing(simulator: CardSimulator, opensc: OpenSC) -> None:
    simulator.insert("forgotten")
    for left in (4, 3, 2, 1, 0):
        with pytest.raises(RigError):
            verify_pin(opensc, "02", "WRONG123")
        assert opensc.tries_left() == Tries(user_pin=3, signing_password=left)
    before = simulator.position()
    with pytest.raises(RigError):
        verify_pin(opensc, "02", SIGNING_PASSWORD)
    assert statuses(simulator, "VERIFY", before) == ["6984"]
    assert opensc.verify(opensc.certificate(USER), TEXT, opensc.sign(USER_TOKEN, USER, USER_PIN, TEXT))


def test_a_right_password_in_time_starts_the_count_again(simulator: CardSimulator, opensc: OpenSC) -> None:
    simulator.insert("forgotten")
    with pytest.raises(RigError):
        verify_pin(opensc, "02", "WRONG123")
    verify_pin(opensc, "02", SIGNING_PASSWORD)
    assert opensc.tries_left() == Tries(user_pin=3, signing_password=5)


@pytest.mark.parametrize(
    ("persona", "tries"),
    [
        ("locked", Tries(user_pin=3, signing_password=0)),
        ("forgotten", Tries(user_pin=3, signing_password=5)),
        ("user-pin-locked", Tries(user_pin=0, signing_password=0)),
    ],
)
def test_personas_as_opensc_sees_them(simulator: CardSimulator, opensc: OpenSC, persona: str, tries: Tries) -> None:
    simulator.insert(persona)
    assert opensc.tries_left() == tries
