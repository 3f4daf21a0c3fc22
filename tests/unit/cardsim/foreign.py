"""Yubico's yubikit as the host: software by other hands that speaks SCP03, beside ours."""

from __future__ import annotations

from yubikit.core import TRANSPORT
from yubikit.core.smartcard import ApduFormatProcessor, ScpProcessor, ShortApduFormatter, SmartCardConnection
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid, ScpState, StaticKeys

from cardsim.card import Card
from cardsim.issue import SIGNING_PASSWORD_KEY_VERSION, SIGNING_PASSWORD_PROCEDURE, derive_static_keys
from tests.unit.cardsim.making import DIVERSIFICATION, MASTER_KEY, SELECT_JPKI, send

HOST_CHALLENGE = bytes.fromhex("A0A1A2A3A4A5A6A7")
LEVEL = 0x13
KEYS = derive_static_keys(MASTER_KEY, SIGNING_PASSWORD_PROCEDURE, SIGNING_PASSWORD_KEY_VERSION, DIVERSIFICATION)


class Wire(SmartCardConnection):
    """Carries yubikit's commands to the card and keeps what passed."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.passed: list[tuple[bytes, bytes]] = []

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        """Send one command and return data and status word."""
        answer = self.card.transmit(apdu)
        self.passed.append((apdu, answer))
        return answer[:-2], int.from_bytes(answer[-2:], "big")

    @property
    def transport(self) -> TRANSPORT:
        """Not asked for here."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to close."""


class Host:
    """yubikit's half of one channel at level 13, which its own high-level call does not offer."""

    def __init__(self, card: Card, static_keys: StaticKeys | None = None) -> None:
        self.wire = Wire(card)
        self._plain = ApduFormatProcessor(self.wire, ShortApduFormatter())
        keys = static_keys or StaticKeys(KEYS.enc, KEYS.mac)
        self._parameters = Scp03KeyParams(KeyRef(ScpKid.SCP03, SIGNING_PASSWORD_KEY_VERSION), keys)
        self._cryptogram = b""
        self.state: ScpState

    def offer(self) -> None:
        """Select the application and send INITIALIZE UPDATE; raises BadResponseError for a wrong card cryptogram."""
        send(self.wire.card, SELECT_JPKI)

        def send_plain(cla: int, ins: int, p1: int, p2: int, data: bytes) -> bytes:
            response: bytes
            response, status = self._plain.send_apdu(cla, ins, p1, p2, data, 0)  # type: ignore[no-untyped-call]
            assert status == 0x9000
            return response

        self.state, self._cryptogram = ScpState.scp03_init(send_plain, self._parameters, host_challenge=HOST_CHALLENGE)

    def authenticate(self, level: int = LEVEL, cryptogram: bytes | None = None) -> int:
        """Send EXTERNAL AUTHENTICATE and return the status word."""
        secure = ScpProcessor(self._plain, ShortApduFormatter(), self.state)
        status: int = secure.send_apdu(0x84, 0x82, level, 0, cryptogram or self._cryptogram, 0, encrypt=False)[1]
        return status

    def reset(self, value: bytes) -> int:
        """Send RESET RETRY COUNTER through the channel and return the status word; raises for a wrong R-MAC."""
        secure = ScpProcessor(self._plain, ShortApduFormatter(), self.state)
        status: int = secure.send_apdu(0x00, 0x2C, 0x02, 0x9B, value, 0)[1]
        return status

    def wrapped_reset(self, value: bytes) -> bytes:
        """Return RESET RETRY COUNTER for the channel, without sending it."""
        recorder = Recorder()
        ScpProcessor(recorder, ShortApduFormatter(), self.state).send_apdu(0x00, 0x2C, 0x02, 0x9B, value, 0)
        return recorder.apdu

    def open(self) -> None:
        """Open the channel."""
        self.offer()
        assert self.authenticate() == 0x9000


class Recorder(ApduFormatProcessor):
    """Keeps the command instead of sending it."""

    def __init__(self) -> None:
        self.apdu = b""

    def send_apdu(self, cla: int, ins: int, p1: int, p2: int, data: bytes, le: int) -> tuple[bytes, int]:
        """Keep the command in its short form."""
        self.apdu = ShortApduFormatter().format_apdu(cla, ins, p1, p2, data, le)  # type: ignore[no-untyped-call]
        return b"", 0x9000
