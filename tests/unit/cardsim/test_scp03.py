"""The secure channel, with foreign software as the host; and everything the card must refuse."""

from __future__ import annotations

import pytest
from yubikit.core import BadResponseError
from yubikit.core.smartcard.scp import StaticKeys

from cardsim.card import Card, channel_delay
from tests.unit.cardsim.foreign import HOST_CHALLENGE, Host
from tests.unit.cardsim.making import (
    DIVERSIFICATION,
    QUERY_SIGNING_PASSWORD,
    QUERY_USER_PIN,
    SELECT_JPKI,
    SELECT_TEXT_INPUT,
    MakeCard,
    send,
    verify,
)

NEW_PASSWORD = b"NEWPASS23"
OLD_VALUE = verify("9B", b"OLDPASS1")
INITIALIZE_UPDATE = f"8050310008{HOST_CHALLENGE.hex()}00"


@pytest.fixture
def host(card: Card) -> Host:
    """A foreign host before a card with the signing password forgotten."""
    return Host(card)


def assert_unchanged_and_closed(card: Card) -> None:
    assert card.snapshot()["channel"] == "closed"
    assert send(card, SELECT_JPKI, OLD_VALUE) == "9000"


@pytest.mark.parametrize("length", [6, 9, 15, 16])
def test_a_locked_password_is_reset(make_card: MakeCard, length: int) -> None:
    card = make_card("locked")
    host = Host(card)
    host.open()
    value = (NEW_PASSWORD * 2)[:length]
    assert host.reset(value) == 0x9000
    assert send(card, QUERY_SIGNING_PASSWORD) == "63C5"
    assert send(card, verify("9B", value)) == "9000"
    assert send(card, QUERY_USER_PIN) == "63C3"


def test_what_passes_on_the_wire(host: Host) -> None:
    host.open()
    host.reset(NEW_PASSWORD)
    (update, offered), (authenticate, opened), (reset, done) = host.wire.passed
    assert update == bytes.fromhex(INITIALIZE_UPDATE)[:-1]
    assert offered[:13] == DIVERSIFICATION + bytes.fromhex("31 03 60")
    assert len(offered) == 29 + 2
    assert authenticate[:5] == bytes.fromhex("8482130010")
    assert len(authenticate) == 21
    assert opened == bytes.fromhex("9000"), "EXTERNAL AUTHENTICATE has no R-MAC"
    assert reset[:5] == bytes.fromhex("042C029B18")
    assert len(reset) == 5 + 16 + 8
    assert len(done) == 8 + 2, "an R-MAC of 8 bytes and the status word"


def test_the_host_refuses_an_answer_whose_mac_is_missing_or_wrong(host: Host) -> None:
    host.open()
    command = host.wrapped_reset(NEW_PASSWORD)
    answer = host.wire.card.transmit(command)
    mac = answer[:-2]
    for wrong in (b"", mac[:-1], bytes(8), mac[:-1] + bytes([mac[-1] ^ 1])):
        with pytest.raises(BadResponseError, match="Wrong MAC"):
            host.state.unmac(wrong, 0x9000)
    with pytest.raises(BadResponseError, match="Wrong MAC"):
        host.state.unmac(mac, 0x6985)
    assert host.state.unmac(mac, 0x9000) == b""


def test_wrong_keys_are_noticed_by_the_host(card: Card) -> None:
    with pytest.raises(BadResponseError, match="Wrong SCP03 key set"):
        Host(card, StaticKeys(bytes(16), bytes(16))).offer()


@pytest.mark.parametrize("le", ["", "00"])
def test_le_is_outside_the_mac(host: Host, le: str) -> None:
    host.open()
    answer = send(host.wire.card, host.wrapped_reset(NEW_PASSWORD).hex() + le)
    assert len(answer) == 20
    assert answer.endswith("9000")


def test_the_old_password_is_no_longer_verified_afterwards(host: Host) -> None:
    host.open()
    send(host.wire.card, SELECT_JPKI, OLD_VALUE, INITIALIZE_UPDATE)
    host.open()
    host.reset(NEW_PASSWORD)
    assert host.wire.card.snapshot()["verified"] == []


def test_the_channel_takes_one_command_only(host: Host) -> None:
    host.open()
    assert host.reset(NEW_PASSWORD) == 0x9000
    assert host.reset(b"SECOND22") == 0x6985
    assert send(host.wire.card, verify("9B", NEW_PASSWORD)) == "9000"


@pytest.mark.parametrize("value", [b"", b"SHORT", b"A" * 17, b"lower123", b"WITH SPACE", b"PASS\x80WORD", b"A" * 31])
def test_a_value_the_card_does_not_take(host: Host, value: bytes) -> None:
    host.open()
    assert host.reset(value) == 0x6A80
    assert host.wire.passed[-1][1] == bytes.fromhex("6A80"), "no R-MAC"
    assert_unchanged_and_closed(host.wire.card)


def test_the_mix_of_letters_and_digits_is_not_the_cards_business(host: Host) -> None:
    host.open()
    assert host.reset(b"ONLYLETTERS") == 0x9000


@pytest.mark.parametrize("position", [5, 20, 21, 28])
def test_a_changed_byte(host: Host, position: int) -> None:
    host.open()
    command = bytearray(host.wrapped_reset(NEW_PASSWORD))
    command[position] ^= 1
    assert send(host.wire.card, command.hex()) == "6982"
    assert_unchanged_and_closed(host.wire.card)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(QUERY_SIGNING_PASSWORD, id="plain counter query"),
        pytest.param(verify("9B", b"OLDPASS1"), id="plain VERIFY"),
        pytest.param("002C029B0641424331323300", id="plain RESET RETRY COUNTER"),
        pytest.param("00B0880000", id="READ BINARY"),
        pytest.param(INITIALIZE_UPDATE, id="INITIALIZE UPDATE"),
        pytest.param("8482130010" + "00" * 16, id="EXTERNAL AUTHENTICATE"),
        pytest.param("042C009B18" + "00" * 24, id="another P1"),
        pytest.param("042C029818" + "00" * 24, id="another reference"),
        pytest.param("042C028018" + "00" * 24, id="the current file"),
        pytest.param("042C029B10" + "00" * 16, id="a block too few"),
        pytest.param("042C029B19" + "00" * 25, id="not whole blocks"),
        pytest.param("042C029B18" + "00" * 24 + "08", id="another Le"),
        pytest.param("042C029B000018" + "00" * 24, id="extended length"),
        pytest.param("0424019B18" + "00" * 24, id="wrapped CHANGE REFERENCE DATA"),
        pytest.param("04A4040C0AD392F000260100000001", id="wrapped SELECT"),
        pytest.param("042C029B", id="no data"),
        pytest.param("042C029B18AA", id="torn"),
        pytest.param("00", id="shorter than a header"),
    ],
)
def test_anything_else_closes_the_channel(host: Host, command: str) -> None:
    host.open()
    good = host.wrapped_reset(NEW_PASSWORD).hex()
    assert send(host.wire.card, command) == "6985"
    assert send(host.wire.card, good) == "6985"
    assert_unchanged_and_closed(host.wire.card)


@pytest.mark.parametrize("command", [SELECT_JPKI, SELECT_TEXT_INPUT, "00A4020C02001B", "00A40000"])
def test_a_plain_select_is_executed_and_closes(host: Host, command: str) -> None:
    host.open()
    good = host.wrapped_reset(NEW_PASSWORD).hex()
    assert send(host.wire.card, command) == "9000"
    assert send(host.wire.card, good) == "6985"
    assert_unchanged_and_closed(host.wire.card)


@pytest.mark.parametrize("power", [False, True])
def test_reset_and_power_loss_close(host: Host, power: bool) -> None:
    host.open()
    good = host.wrapped_reset(NEW_PASSWORD).hex()
    if power:
        host.wire.card.power_off()
        host.wire.card.power_on()
    else:
        host.wire.card.reset()
    assert send(host.wire.card, SELECT_JPKI, good) == "6985"
    assert_unchanged_and_closed(host.wire.card)


@pytest.mark.parametrize("level", [0x00, 0x01, 0x03, 0x11, 0x33])
def test_no_other_level(host: Host, level: int) -> None:
    host.offer()
    assert host.authenticate(level) == 0x6985
    assert host.wire.card.snapshot()["channel"] == "closed"


def test_a_wrong_mac_of_external_authenticate(host: Host) -> None:
    host.offer()
    host.state.mac(b"anything, so that the chaining value is another")
    assert host.authenticate() == 0x6982
    assert host.wire.card.snapshot()["channel"] == "closed"
    assert host.wire.card.snapshot()["channel_failures"] == 0


def test_a_wrong_host_cryptogram_is_counted_and_a_right_one_clears(host: Host) -> None:
    for number in (1, 2):
        host.offer()
        assert host.authenticate(cryptogram=bytes(8)) == 0x6300
        assert host.wire.card.snapshot()["channel_failures"] == number
    host.open()
    assert host.wire.card.snapshot()["channel_failures"] == 0


def test_ten_wrong_ones_make_the_card_slower_but_never_dead(host: Host) -> None:
    delays = []
    for _ in range(30):
        host.offer()
        delays.append(host.wire.card.delay)
        host.authenticate(cryptogram=bytes(8))
    assert delays[:10] == [0] * 10
    assert delays[10:16] == [0.25, 0.5, 1, 2, 4, 4]
    host.open()
    assert host.reset(NEW_PASSWORD) == 0x9000
    assert host.wire.card.delay == 0
    assert channel_delay(10**9) == 4


@pytest.mark.parametrize("between", [QUERY_SIGNING_PASSWORD, SELECT_JPKI, "0084000008", "00"])
def test_external_authenticate_follows_immediately(host: Host, between: str) -> None:
    """GPC_SPE_034 E.5.2: nothing comes between the two."""
    host.offer()
    send(host.wire.card, between)
    assert host.authenticate() == 0x6985


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        pytest.param("8050300008" + "00" * 8, "6A88", id="unknown key version"),
        pytest.param("8050000008" + "00" * 8, "6A88", id="no default key version"),
        pytest.param("8050310108" + "00" * 8, "6A86", id="a key identifier"),
        pytest.param("8050310007" + "00" * 7, "6700", id="a challenge of 7 bytes"),
        pytest.param("8050310008" + "00" * 8 + "10", "6700", id="an answer cut short"),
        pytest.param("8450310008" + "00" * 8, "6882", id="wrapped"),
        pytest.param("8482130010" + "00" * 16, "6985", id="EXTERNAL AUTHENTICATE without an offer"),
        pytest.param("042C029B18" + "00" * 24, "6985", id="RESET RETRY COUNTER without a channel"),
        pytest.param("002C029B06414243313233", "6985", id="plain RESET RETRY COUNTER"),
    ],
)
def test_refusals_outside_a_channel(card: Card, command: str, answer: str) -> None:
    assert send(card, SELECT_JPKI, command) == answer


@pytest.mark.parametrize("data", ["0F" + "00" * 15, "11" + "00" * 17, "10" + "00" * 16 + "00"])
def test_external_authenticate_has_one_length(host: Host, data: str) -> None:
    host.offer()
    assert send(host.wire.card, "84821300" + data) == "6700"
    assert host.wire.card.snapshot()["channel"] == "closed"


def test_the_keys_belong_to_the_jpki_application(card: Card) -> None:
    assert send(card, INITIALIZE_UPDATE) == "6985"
    assert send(card, SELECT_TEXT_INPUT, INITIALIZE_UPDATE) == "6985"


def test_a_command_of_another_channel_is_refused(host: Host) -> None:
    """Every channel has its own keys: what was authorised for one is worth nothing in the next."""
    host.open()
    command = host.wrapped_reset(NEW_PASSWORD)
    host.open()
    assert send(host.wire.card, command.hex()) == "6982"


def test_every_channel_has_its_own_challenge(card: Card) -> None:
    first, second = (send(card, SELECT_JPKI, INITIALIZE_UPDATE) for _ in range(2))
    assert first[:26] == second[:26]
    assert first[26:42] != second[26:42]
    assert first[42:] != second[42:]
