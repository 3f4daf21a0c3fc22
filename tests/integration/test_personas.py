"""The personas on the real PC/SC stack, as OpenSC, software by other hands, sees them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.exclusive import connected
from tests.rig.opensc import OpenSC, Tries
from tests.rig.parts import CardSimulator
from tests.rig.pcscd import KIOSK, PrivatePcscd
from tests.rig.process import BIN, RigError, run, wait_until
from tests.rig.site import Site

PERSONAS = ("child", "expired", "foreign", "last-try", "mute", "smartphone-token", "revoked-user", "unregistered")
TOKEN_INFORMATION = "00A4020C020006", "00B0000020"
SECONDS = 20.0
SELECT = "00A4040C0AD392F000260100000001"


@pytest.fixture(scope="module")
def crowd(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with cards of all these personas."""
    copy = site.copy(tmp_path_factory.mktemp("crowd") / "site")
    copy.add(*PERSONAS)
    return copy


@pytest.fixture
def issued(crowd: Site) -> Site:
    """Their cards are in the simulator."""
    return crowd


def test_what_the_centre_knows_of_them(crowd: Site) -> None:
    text = run([BIN / "centrald", "card", "list", "--json", "--directory", crowd.central])
    known = {int(card["user_certificate_serial"], 16): card for card in map(json.loads, text.splitlines())}
    entries = {path.stem: json.loads(path.read_text()) for path in crowd.cards.glob("*.entry")}
    assert set(PERSONAS) - set(entries) == {"child", "foreign", "smartphone-token", "unregistered"}
    revoked = {
        name: known[int(entry["user_certificate_serial"], 16)]["user_revoked"] for name, entry in entries.items()
    }
    assert {name for name, is_revoked in revoked.items() if is_revoked} == {"revoked-user"}


@pytest.mark.parametrize(
    ("persona", "tries"),
    [
        ("last-try", Tries(user_pin=1, signing_password=0)),
        ("child", Tries(user_pin=3, signing_password=5)),
        ("expired", Tries(user_pin=3, signing_password=0)),
    ],
)
def test_cards_that_opensc_reads(simulator: CardSimulator, opensc: OpenSC, persona: str, tries: Tries) -> None:
    simulator.insert(persona)
    assert opensc.tries_left() == tries


def test_an_expired_certificate_is_one_for_openssl(simulator: CardSimulator, opensc: OpenSC, crowd: Site) -> None:
    simulator.insert("expired")
    user = opensc.certificate(1)
    assert not opensc.issued_by(user, crowd.central / "authority/user-ca.pem")
    with pytest.raises(RigError, match="expire"):
        run(["openssl", "x509", "-checkend", "0", "-noout"], stdin=user)


def test_a_child_has_no_signing_certificate(simulator: CardSimulator, opensc: OpenSC) -> None:
    simulator.insert("child")
    with pytest.raises(RigError):
        opensc.certificate(2, "OLDPASS1")


def test_a_card_that_opensc_does_not_know(simulator: CardSimulator, opensc: OpenSC) -> None:
    simulator.insert("foreign")
    with pytest.raises(RigError):
        opensc.dump()
    assert "6A82" in {entry.get("status") for entry in simulator.entries()}


def test_the_label_of_a_smartphone(simulator: CardSimulator, opensc: OpenSC, private_pcscd: PrivatePcscd) -> None:
    simulator.insert("smartphone-token")
    opensc.wait_for_card()
    with connected(private_pcscd.readers[KIOSK].name) as terminal:
        *_, label = [terminal.transmit(apdu) for apdu in (SELECT, *TOKEN_INFORMATION)]
    assert label == b"JPKIAPGPSETOKEN".ljust(32) + bytes.fromhex("9000")


def test_a_mute_card_is_there_until_it_is_lifted(
    simulator: CardSimulator, opensc: OpenSC, private_pcscd: PrivatePcscd
) -> None:
    simulator.insert("mute")
    opensc.wait_for_card()
    number = simulator.position()
    with connected(private_pcscd.readers[KIOSK].name) as terminal, ThreadPoolExecutor(1) as worker:
        call = worker.submit(terminal.transmit, SELECT)
        wait_until(lambda: simulator.commands(number) == ["SELECT"], SECONDS, "a command")
        assert not call.done()
        simulator.remove()
        assert call.result(SECONDS) == b""
