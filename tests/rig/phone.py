"""The phone's side of the reservation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from cardsim import store
from cardsim.memory import EF_USER_CERTIFICATE, EF_USER_KEY, JPKI_AID, KeyFile, TransparentFile
from jpki_phone.centre import open_centre
from jpki_phone.reserve import PROCEDURE_SIGNING_PASSWORD
from jpki_phone.statement import reserve_statement
from tests.rig.process import BIN, run

HEADER = 4  # bytes before a certificate's body: SEQUENCE, and its length in two bytes


def reserve(environment: Mapping[str, str], user_pin: str) -> str:
    """Reserve with the card that lies on the phone, and return the command's output. Raises RigError when refused."""
    return run([BIN / "jpki-phone", "reserve"], env=environment, stdin=f"{user_pin}\n")


def reserve_from_file(card: Path, address: str, authority: Path) -> str:
    """Reserve as the phone does, without a reader: the card's file has its key. Return the reservation's id.

    For tests that reserve in quick succession; pcscd notices only every 0.4 s that a card was lifted.
    """
    application = store.load(card).application_by_name(JPKI_AID)
    assert application is not None
    certificate, key = application.files[EF_USER_CERTIFICATE], application.files[EF_USER_KEY]
    assert isinstance(certificate, TransparentFile)
    assert isinstance(key, KeyFile)
    length = HEADER + int.from_bytes(certificate.content[2:HEADER], "big")
    with open_centre(address, authority.read_bytes()) as centre:
        challenge = centre.challenge()
        statement = reserve_statement(PROCEDURE_SIGNING_PASSWORD, challenge)
        signature = key.key.sign(statement, PKCS1v15(), SHA256())
        return centre.reserve(challenge, certificate.content[:length], signature).reservation_id
