"""The three halves of the secure channel, written apart: card, kiosk and centre, beside foreign software.

Byte for byte on the wire, against each other, against yubikit and against the worked example of docs/CARD-PROTOCOL.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from cardsim.card import Card
from centrald import statement as centrald_statement
from centrald.cardkeys import CardAnswer, Channel, FileMasterKey
from centrald.rules.model import Procedure, Transcript
from gatewayd.card import jpki
from gatewayd.card.values import (
    ChannelKeys,
    ChannelOffered,
    PinAccepted,
    WriteAccepted,
    WriteRefused,
    WriteResult,
    WriteUnknown,
)
from gatewayd.secret import Secret
from tests.unit.cardsim.example import worked_example
from tests.unit.cardsim.foreign import HOST_CHALLENGE, Host
from tests.unit.cardsim.making import MASTER_KEY, QUERY_SIGNING_PASSWORD, SELECT_JPKI, MakeCard, send, verify

KEY_VERSION = 0x31
NEW_PASSWORD = b"NEWPASS23"
DONE = bytes.fromhex("9000")
Tamper = Callable[[bytes], bytes]


class Link:
    """gatewayd's way to the card: keeps what passed, and may change answers on the way."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.passed: list[tuple[bytes, bytes]] = []
        self.tamper: Tamper = lambda answer: answer

    def transmit(self, command: bytes) -> bytes:
        """Send one command."""
        answer = self.card.transmit(command)
        if command[1] == 0x2C:
            answer = self.tamper(answer)
        self.passed.append((command, answer))
        return answer

    def reset(self) -> None:
        """Reset the card."""
        self.card.reset()


class Kiosk:
    """gatewayd's half and centrald's half at work on one card."""

    def __init__(self, card: Card, certificate: bytes) -> None:
        self.link = Link(card)
        self._certificate = certificate

    def offer(self) -> Channel:
        """Send INITIALIZE UPDATE and return the centre's half of the channel."""
        offered = jpki.offer_channel(
            self.link, certificate=self._certificate, key_version=KEY_VERSION, host_challenge=HOST_CHALLENGE
        )
        assert isinstance(offered, ChannelOffered)
        answer = CardAnswer.parse(offered.answer)
        assert answer.speaks_our_protocol
        transcript = Transcript(
            answer.key_version, answer.diversification_data, offered.host_challenge, answer.card_challenge
        )
        channel = Channel(FileMasterKey(MASTER_KEY), Procedure.SIGNING_PASSWORD, transcript)
        assert channel.card_is_genuine(answer.cryptogram)
        return channel

    def write(self, channel: Channel, password: bytes = NEW_PASSWORD) -> WriteResult:
        """Open the channel and reset the password in it."""
        return jpki.write_password(self.link, keys=channel_keys(channel), password=Secret(password))


def channel_keys(channel: Channel) -> ChannelKeys:
    """Return what the centre hands to the kiosk."""
    return ChannelKeys(channel.external_authenticate(), Secret(channel.s_enc), Secret(channel.s_mac))


@pytest.fixture(scope="module")
def certificate(make_card: MakeCard) -> bytes:
    """The user certificate of the card `make_card("locked")` makes."""
    content = bytes.fromhex(send(make_card("locked"), SELECT_JPKI, "00B08A00000000"))
    return content[: 4 + int.from_bytes(content[2:4], "big")]


@pytest.fixture
def kiosk(make_card: MakeCard, certificate: bytes) -> Kiosk:
    """A kiosk before a card whose signing password is locked."""
    return Kiosk(make_card("locked"), certificate)


@pytest.mark.parametrize("length", [6, 9, 15, 16])
def test_a_reset_with_a_receipt(kiosk: Kiosk, length: int) -> None:
    channel, password = kiosk.offer(), (NEW_PASSWORD * 2)[:length]
    written = kiosk.write(channel, password)
    assert isinstance(written, WriteAccepted)
    assert written.signing_password_tries == 5
    assert channel.receipt_is_valid(written.chaining_value, written.r_mac)
    assert send(kiosk.link.card, SELECT_JPKI, verify("9B", password)) == "9000"


def test_foreign_software_sends_and_hears_the_same_bytes(kiosk: Kiosk, make_card: MakeCard) -> None:
    """yubikit on one card, the kiosk and the centre on another that gives the same challenge."""
    assert isinstance(kiosk.write(kiosk.offer()), WriteAccepted)
    ours = [pair for pair in kiosk.link.passed if pair[0][1] in {0x50, 0x82, 0x2C}]
    host = Host(make_card("locked"))
    host.open()
    assert host.reset(NEW_PASSWORD) == 0x9000
    theirs = host.wire.passed
    assert [answer for _, answer in ours] == [answer for _, answer in theirs]
    le = b"\x00"  # which yubikit leaves out, and no MAC covers
    update, authenticate, reset = (command for command, _ in ours)
    assert [update, authenticate, reset] == [theirs[0][0] + le, theirs[1][0], theirs[2][0] + le]
    assert ours[1][1] == DONE, "EXTERNAL AUTHENTICATE answers 9000 alone"
    assert len(ours[2][1]) == 8 + 2, "an R-MAC of 8 bytes and the status word"


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(lambda _: DONE, id="missing"),
        pytest.param(lambda answer: answer[1:], id="one byte short"),
        pytest.param(lambda answer: answer[:8] + b"\x00" + DONE, id="one byte long"),
        pytest.param(lambda _: b"", id="no answer"),
        pytest.param(lambda _: b"\x90", id="half a status word"),
        pytest.param(lambda answer: answer[:8] + bytes.fromhex("6985"), id="data with a refusal"),
    ],
)
def test_without_a_whole_receipt_the_kiosk_knows_nothing(kiosk: Kiosk, tamper: Tamper) -> None:
    kiosk.link.tamper = tamper
    assert kiosk.write(kiosk.offer()) == WriteUnknown()


def test_a_wrong_receipt_is_refused_by_the_centre(kiosk: Kiosk) -> None:
    kiosk.link.tamper = lambda answer: bytes([answer[0] ^ 1]) + answer[1:]
    channel = kiosk.offer()
    written = kiosk.write(channel)
    assert isinstance(written, WriteAccepted)
    assert not channel.receipt_is_valid(written.chaining_value, written.r_mac)
    right = bytes([written.r_mac[0] ^ 1]) + written.r_mac[1:]
    assert channel.receipt_is_valid(written.chaining_value, right)
    assert not channel.receipt_is_valid(bytes(16), right)
    assert not channel.receipt_is_valid(written.chaining_value, b"")


def test_a_receipt_of_another_channel_is_refused(kiosk: Kiosk) -> None:
    first = kiosk.offer()
    written = kiosk.write(first)
    assert isinstance(written, WriteAccepted)
    second = kiosk.offer()
    assert not second.receipt_is_valid(written.chaining_value, written.r_mac)


def test_a_bare_refusal_is_definite(kiosk: Kiosk) -> None:
    """A channel that something has closed in between: 6985 without R-MAC, and nothing has changed."""
    channel = kiosk.offer()
    send(kiosk.link.card, QUERY_SIGNING_PASSWORD)
    assert kiosk.write(channel) == WriteRefused(0x6985, sent=False)
    assert send(kiosk.link.card, SELECT_JPKI, QUERY_SIGNING_PASSWORD) == "63C0"


def test_a_card_with_other_keys_is_not_genuine(kiosk: Kiosk) -> None:
    kiosk.offer()
    offered = next(answer for command, answer in kiosk.link.passed if command[1] == 0x50)
    answer = CardAnswer.parse(offered[:-2])
    transcript = Transcript(answer.key_version, answer.diversification_data, HOST_CHALLENGE, answer.card_challenge)
    other = Channel(FileMasterKey(bytes(32)), Procedure.SIGNING_PASSWORD, transcript)
    assert not other.card_is_genuine(answer.cryptogram)
    assert kiosk.write(other) == WriteRefused(0x6300, sent=False)


def test_the_statement_is_signed_as_the_centre_builds_it(kiosk: Kiosk, certificate: bytes) -> None:
    values = worked_example()
    message = centrald_statement.statement(
        centrald_statement.Purpose.RESET,
        Procedure.SIGNING_PASSWORD,
        values["attempt_id"].decode(),
        values["kiosk_id"].decode(),
        values["challenge"],
    )
    signed = jpki.verify_and_sign(kiosk.link, certificate=certificate, pin=Secret(b"1357"), statement=message)
    assert isinstance(signed, PinAccepted)
    assert message == values["reset_statement"]
    assert kiosk.link.passed[-1][0] == values["compute_digital_signature"]
    reserve = centrald_statement.statement(
        centrald_statement.Purpose.RESERVE, Procedure.SIGNING_PASSWORD, "", "", values["challenge"]
    )
    assert reserve == values["reserve_statement"]


@pytest.fixture(scope="module")
def values() -> Mapping[str, bytes]:
    """The worked example."""
    return worked_example()


def test_the_centres_half_agrees_with_the_worked_example(values: Mapping[str, bytes]) -> None:
    answer = CardAnswer.parse(values["initialize_update_answer"][:-2])
    transcript = Transcript(
        answer.key_version, answer.diversification_data, values["host_challenge"], answer.card_challenge
    )
    channel = Channel(FileMasterKey(values["master_key"]), Procedure.SIGNING_PASSWORD, transcript)
    assert channel.card_is_genuine(values["card_cryptogram"])
    assert channel.external_authenticate() == values["external_authenticate"]
    assert (channel.s_enc, channel.s_mac, channel.s_rmac) == (values["s_enc"], values["s_mac"], values["s_rmac"])
    assert channel.receipt_is_valid(values["chaining_value"], values["r_mac"])


def test_the_kiosks_half_agrees_with_the_worked_example(values: Mapping[str, bytes]) -> None:
    keys = ChannelKeys(values["external_authenticate"], Secret(values["s_enc"]), Secret(values["s_mac"]))
    wrapped = jpki.wrap_password(keys, Secret(values["new_password"]))
    assert wrapped.command == values["reset_retry_counter"] + b"\x00"
    assert wrapped.chaining_value == values["chaining_value"]
