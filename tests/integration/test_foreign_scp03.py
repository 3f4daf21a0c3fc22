"""A whole reset by foreign software through the real PC/SC stack: yubikit is the host, OpenSC the judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from smartcard.scard import (
    SCARD_PCI_T1,
    SCARD_PROTOCOL_T1,
    SCARD_RESET_CARD,
    SCARD_S_SUCCESS,
    SCARD_SCOPE_SYSTEM,
    SCARD_SHARE_EXCLUSIVE,
    SCardConnect,
    SCardDisconnect,
    SCardEstablishContext,
    SCardReleaseContext,
    SCardTransmit,
)
from yubikit.core import TRANSPORT, BadResponseError
from yubikit.core.smartcard import ApduFormatProcessor, ScpProcessor, ShortApduFormatter, SmartCardConnection
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid, ScpState, StaticKeys

from cardsim import store
from tests.rig.opensc import SIGNING_TOKEN, OpenSC, Tries
from tests.rig.parts import CardSimulator
from tests.rig.pcscd import KIOSK, PrivatePcscd

KEY_VERSION = 0x31
HOST_CHALLENGE = bytes.fromhex("A0A1A2A3A4A5A6A7")
NEW_PASSWORD = "NEWPASS23"
SELECT_JPKI = bytes.fromhex("00A4040C0AD392F000260100000001")
TEXT = b"signed with the new password"


class Connection(SmartCardConnection):
    """One exclusive connection for yubikit; keeps the answers."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.answers: list[bytes] = []

    @property
    def transport(self) -> TRANSPORT:
        """Contactless."""
        return TRANSPORT.NFC

    def close(self) -> None:
        """Give the card free for others."""
        SCardDisconnect(self._handle, SCARD_RESET_CARD)

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        """Send one command."""
        code, answer = SCardTransmit(self._handle, SCARD_PCI_T1, list(apdu))
        assert code == SCARD_S_SUCCESS
        self.answers.append(bytes(answer))
        return bytes(answer[:-2]), int.from_bytes(bytes(answer[-2:]))


@pytest.fixture
def connection(simulator: CardSimulator, opensc: OpenSC, private_pcscd: PrivatePcscd) -> Iterator[Connection]:
    """An exclusive connection to a card whose signing password is locked."""
    simulator.insert("locked")
    opensc.wait_for_card()
    code, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    assert code == SCARD_S_SUCCESS
    reader = private_pcscd.readers[KIOSK].name
    code, handle, _ = SCardConnect(context, reader, SCARD_SHARE_EXCLUSIVE, SCARD_PROTOCOL_T1)
    assert code == SCARD_S_SUCCESS
    try:
        yield Connection(handle)
    finally:
        SCardReleaseContext(context)  # which disconnects what is still connected


def open_channel(connection: Connection, keys: StaticKeys) -> ScpProcessor:
    """Open a channel of level 13, which yubikit's own high-level call does not offer."""
    plain = ApduFormatProcessor(connection, ShortApduFormatter())
    connection.send_and_receive(SELECT_JPKI)

    def send(cla: int, ins: int, p1: int, p2: int, data: bytes) -> bytes:
        response: bytes
        response, status = plain.send_apdu(cla, ins, p1, p2, data, 0)  # type: ignore[no-untyped-call]
        assert status == 0x9000
        return response

    parameters = Scp03KeyParams(KeyRef(ScpKid.SCP03, KEY_VERSION), keys)
    state, cryptogram = ScpState.scp03_init(send, parameters, host_challenge=HOST_CHALLENGE)
    channel = ScpProcessor(plain, ShortApduFormatter(), state)
    assert channel.send_apdu(0x84, 0x82, 0x13, 0x00, cryptogram, 0, encrypt=False) == (b"", 0x9000)
    assert connection.answers[-1] == bytes.fromhex("9000"), "EXTERNAL AUTHENTICATE has no R-MAC"
    return channel


def test_yubikit_resets_and_opensc_signs_with_the_new_password(
    connection: Connection, simulator: CardSimulator, opensc: OpenSC, tmp_path: Path
) -> None:
    keys = store.load(tmp_path / "site/cards/locked.json").channel.keys[KEY_VERSION]
    channel = open_channel(connection, StaticKeys(keys.enc, keys.mac))
    assert channel.send_apdu(0x00, 0x2C, 0x02, 0x9B, NEW_PASSWORD.encode(), 0) == (b"", 0x9000)
    assert len(connection.answers[-1]) == 8 + 2, "an R-MAC of 8 bytes, which yubikit has verified"
    connection.close()
    assert opensc.tries_left() == Tries(user_pin=3, signing_password=5)
    signature = opensc.sign(SIGNING_TOKEN, 2, NEW_PASSWORD, TEXT)
    assert opensc.verify(opensc.certificate(2, NEW_PASSWORD), TEXT, signature)
    shown = simulator.show("locked")["references"]
    assert {name: (each["value"], each["tries"]) for name, each in shown.items()} == {
        "signing_password": (NEW_PASSWORD, 5),
        "user_pin": ("1357", 3),
        "juki_pin": ("2468", 3),
        "text_input_pin": ("8642", 3),
    }


def test_yubikit_refuses_a_card_with_other_keys(connection: Connection, simulator: CardSimulator) -> None:
    with pytest.raises(BadResponseError, match="Wrong SCP03 key set"):
        open_channel(connection, StaticKeys(bytes(16), bytes(16)))
    assert simulator.show("locked")["state"]["channel_failures"] == 0
