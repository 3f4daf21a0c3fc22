"""Cards for the tests of the simulator, under a test authority made once."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from cardsim import persona
from cardsim.card import Card
from cardsim.issue import CardKeys, Issued, issue
from tests.unit.cardsim.bench import Bench
from tests.unit.cardsim.making import DIVERSIFICATION, MASTER_KEY, NOW, IssueCard, MakeCard, copy


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the two test roots."""
    directory = tmp_path_factory.mktemp("authority")
    for name, unit in (("user", "JPKI for user authentication"), ("sign", "JPKI for digital signature")):
        key = rsa.generate_private_key(65_537, 2_048)
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "JPKI-TEST"),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            ]
        )
        root = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(NOW - datetime.timedelta(days=365))
            .not_valid_after(NOW + datetime.timedelta(days=3_650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        (directory / f"{name}-ca.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
        encoding, layout = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (directory / f"{name}-ca.key").write_bytes(key.private_bytes(encoding, layout, serialization.NoEncryption()))
    return directory


@pytest.fixture(scope="session")
def card_keys() -> CardKeys:
    """One pair of RSA keys for all cards."""
    return CardKeys.generate()


@pytest.fixture(scope="session")
def issue_card(authority: Path, card_keys: CardKeys) -> IssueCard:
    """Issues a card for a persona, always with the same keys and diversification data."""

    def make(chosen: persona.Persona) -> Issued:
        return issue(authority, MASTER_KEY, chosen, now=NOW, keys=card_keys, diversification_data=DIVERSIFICATION)

    return make


@pytest.fixture(scope="session")
def make_card(issue_card: IssueCard) -> MakeCard:
    """Makes a card that has power; its challenges are counted up from 1, so that they differ and are known."""

    issued = {name: issue_card(persona.load(name)).memory for name in persona.names()}

    def make(name: str = "forgotten") -> Card:
        numbers = count(1)
        card = Card(copy(issued[name]), lambda size: next(numbers).to_bytes(size, "big"))
        card.power_on()
        return card

    return make


@pytest.fixture
def card(make_card: MakeCard) -> Card:
    """A card whose secrets are all unlocked."""
    return make_card()


@pytest.fixture
async def bench(make_card: MakeCard, tmp_path: Path) -> AsyncIterator[Bench]:
    """Two readers and two cards in no slot."""
    async with Bench(make_card, tmp_path).serving() as bench:
        yield bench
