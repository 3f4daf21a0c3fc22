"""The jobs that read the card and spend tries, against cards that answer as the table says."""

from __future__ import annotations

import hashlib

import pytest

from gatewayd.card import jpki
from gatewayd.card.values import (
    CardFacts,
    ChannelOffered,
    DifferentCard,
    PinAccepted,
    PinLocked,
    PinWrong,
    Unfit,
)
from gatewayd.errors import CardProtocolError, TransmitFailed
from gatewayd.secret import Secret
from tests.unit.gatewayd.card.script import (
    CERTIFICATE,
    FLAGS,
    LABEL,
    QUERY_SIGNING_PASSWORD,
    QUERY_USER_PIN,
    READ_FIRST,
    SELECT,
    SIGN_HEADER,
    TOKEN,
    VERIFY_1357,
    ScriptedCard,
)

OTHER_CERTIFICATE = bytes.fromhex("30820629") + bytes(0x629)
MOST_APDUS = 12  # of one look at a card
CHALLENGE = bytes(range(8))
INITIALIZE_UPDATE = "80503100080001020304050607" + "00"
OFFER = "AA" * 10 + "310360" + "BB" * 8 + "CC" * 8


def pin() -> Secret:
    return Secret(b"1357")


# Reading


def test_card_is_read_cheapest_first_in_few_commands() -> None:
    card = ScriptedCard({QUERY_USER_PIN: "63C2"})
    assert jpki.read_card(card) == CardFacts(CERTIFICATE, 2, 0)
    assert card.sent[:6] == [SELECT, LABEL, FLAGS, QUERY_USER_PIN, QUERY_SIGNING_PASSWORD, READ_FIRST]
    assert card.sent[6:8] == ["00B0010000", "00B0020000"]
    assert card.sent[-1] == "00B006002D"
    assert len(card.sent) == MOST_APDUS


@pytest.mark.parametrize(
    ("answers", "unfit", "commands"),
    [
        ({SELECT: "6A82"}, Unfit.NOT_A_MY_NUMBER_CARD, 1),
        ({SELECT: "6D00"}, Unfit.NOT_A_MY_NUMBER_CARD, 1),
        ({SELECT: "6E00"}, Unfit.NOT_A_MY_NUMBER_CARD, 1),
        ({LABEL: "6A82"}, Unfit.NOT_A_MY_NUMBER_CARD, 2),
        ({LABEL: b"JPKIAPICCTOKEN".ljust(32).hex() + "9000"}, Unfit.NOT_A_MY_NUMBER_CARD, 2),
        ({LABEL: b"JPKIAPGPSETOKEN".ljust(32).hex() + "9000"}, Unfit.NOT_A_MY_NUMBER_CARD, 2),
        ({LABEL: "9000"}, Unfit.NOT_A_MY_NUMBER_CARD, 2),
        ({FLAGS: "008F009000"}, Unfit.NO_SIGNING_CERTIFICATE, 3),
        ({QUERY_USER_PIN: "63C0"}, Unfit.USER_PIN_LOCKED, 4),
        ({QUERY_USER_PIN: "6983"}, Unfit.USER_PIN_LOCKED, 4),
        ({QUERY_USER_PIN: "6984"}, Unfit.USER_PIN_LOCKED, 4),
    ],
)
def test_card_that_cannot_be_served_is_told_early(answers: dict[str, str], unfit: Unfit, commands: int) -> None:
    card = ScriptedCard(answers)
    assert jpki.read_card(card) is unfit
    assert len(card.sent) == commands


@pytest.mark.parametrize(
    "answers",
    [
        {SELECT: "6F00"},
        {SELECT: "63C3"},
        {LABEL: "6581"},
        {FLAGS: "6A82"},
        {FLAGS: "8F8F9000"},
        {QUERY_USER_PIN: "9000"},
        {QUERY_USER_PIN: "6300"},
        {QUERY_USER_PIN: "6A88"},
        {QUERY_USER_PIN: "63C4"},  # three tries at most
        {QUERY_SIGNING_PASSWORD: "63C6"},  # five
        {READ_FIRST: "6A82"},
        {READ_FIRST: "6982"},
        {READ_FIRST: "9000"},
        {READ_FIRST: "FF" * 256 + "9000"},
        {READ_FIRST: "30821000" + "00" * 252 + "9000"},  # longer than 4,096
        {"00B00100": "9000"},  # ends early
        {"00B00100": "6B00"},
        {"00B00100": "6400"},
    ],
)
def test_nonsense_is_an_error_that_shows_no_data(answers: dict[str, str]) -> None:
    with pytest.raises(CardProtocolError) as caught:
        jpki.read_card(ScriptedCard(answers))
    assert len(str(caught.value)) < 80


@pytest.mark.parametrize("length", [20, 250, 256, 257, 512, 513, 4096])
def test_certificates_of_every_length_are_read_whole(length: int) -> None:
    certificate = der(length)
    facts = jpki.read_card(ScriptedCard(certificate=certificate))
    assert isinstance(facts, CardFacts)
    assert facts.user_certificate == certificate


def der(length: int) -> bytes:
    if length < 130:
        head = bytes((0x30, length - 2))
    elif length < 259:
        head = bytes((0x30, 0x81, length - 3))
    else:
        head = b"\x30\x82" + (length - 4).to_bytes(2)
    return head + bytes(length - len(head))


def test_filler_behind_the_certificate_is_not_part_of_it() -> None:
    facts = jpki.read_card(ScriptedCard(certificate=der(200) + b"\xff" * 1000))
    assert isinstance(facts, CardFacts)
    assert len(facts.user_certificate) == 200


def test_end_of_file_warning_comes_with_data() -> None:
    card = ScriptedCard({READ_FIRST: der(200).hex() + "6282"})
    facts = jpki.read_card(card)
    assert isinstance(facts, CardFacts)


class Stingy(ScriptedCard):
    """Answers READ BINARY with so many bytes at most."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def _read(self, command: bytes) -> bytes:
        return super()._read(command)[:-2][: self._most] + b"\x90\x00"


def test_short_answers_are_put_together() -> None:
    facts = jpki.read_card(Stingy(128))
    assert isinstance(facts, CardFacts)
    assert facts.user_certificate == CERTIFICATE


def test_card_that_dribbles_is_given_up() -> None:
    card = Stingy(8)
    with pytest.raises(CardProtocolError, match="ends after"):
        jpki.read_card(card)
    assert len(card.sent) < 60


def test_torn_card_is_the_callers_business() -> None:
    with pytest.raises(TransmitFailed):
        jpki.read_card(ScriptedCard({LABEL: TransmitFailed("torn")}))
    with pytest.raises(TransmitFailed):
        jpki.read_card(ScriptedCard({LABEL: ""}))


# The PIN


def test_right_pin_signs_the_statement() -> None:
    card = ScriptedCard()
    verdict = jpki.verify_and_sign(card, certificate=CERTIFICATE, pin=pin(), statement=b"statement")
    assert verdict == PinAccepted(b"\x5a" * 256)
    digest_info = "3031300D060960864801650304020105000420" + hashlib.sha256(b"statement").hexdigest().upper()
    assert card.sent[-2:] == [VERIFY_1357, f"002A009733{digest_info}00"]
    assert card.sent[0] == SELECT


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("63C2", PinWrong(2)), ("63C1", PinWrong(1)), ("63C0", PinLocked()), ("6983", PinLocked()), ("6984", PinLocked())],
)
def test_refused_pin_is_a_value_and_sent_once(answer: str, verdict: PinWrong | PinLocked) -> None:
    card = ScriptedCard({VERIFY_1357: answer})
    assert jpki.verify_and_sign(card, certificate=CERTIFICATE, pin=pin(), statement=b"") == verdict
    assert card.sent.count(VERIFY_1357) == 1
    assert card.sent[-1] == VERIFY_1357


def test_every_other_answer_to_verify_is_an_error_and_not_repeated() -> None:
    values = {0x9000, *range(0x63C0, 0x63C3), 0x6983, 0x6984}
    certificate = der(20)
    for word in set(range(0x10000)) - values:
        card = ScriptedCard({VERIFY_1357: f"{word:04X}"}, certificate=certificate)
        with pytest.raises(CardProtocolError):
            jpki.verify_and_sign(card, certificate=certificate, pin=pin(), statement=b"")
        assert card.sent == [SELECT, READ_FIRST, VERIFY_1357]


@pytest.mark.parametrize("answer", ["6982", "9000", "5A" * 255 + "9000", "5A" * 256 + "6282"])
def test_verified_pin_without_a_signature_is_an_error(answer: str) -> None:
    with pytest.raises(CardProtocolError):
        jpki.verify_and_sign(ScriptedCard({SIGN_HEADER: answer}), certificate=CERTIFICATE, pin=pin(), statement=b"")


@pytest.mark.parametrize("value", [b"135", b"13579", b"135a", "１３５７".encode(), b"1357\n"])
def test_what_is_no_pin_is_never_sent(value: bytes) -> None:
    card = ScriptedCard()
    with pytest.raises(ValueError, match="four digits") as caught:
        jpki.verify_and_sign(card, certificate=CERTIFICATE, pin=Secret(value), statement=b"")
    assert not card.sent
    assert repr(value) not in repr(caught.value)


def test_wiped_pin_is_never_sent_as_a_query() -> None:
    card, wiped = ScriptedCard(), pin()
    wiped.wipe()
    with pytest.raises(ValueError, match="wiped"):
        jpki.verify_and_sign(card, certificate=CERTIFICATE, pin=wiped, statement=b"")
    assert not card.sent


# The same card


@pytest.mark.parametrize(
    "card",
    [
        lambda: ScriptedCard(certificate=OTHER_CERTIFICATE),
        lambda: ScriptedCard(certificate=CERTIFICATE[:-1] + b"\x01"),
        lambda: ScriptedCard({SELECT: "6A82"}),
        lambda: ScriptedCard({READ_FIRST: "6A82"}),
    ],
)
def test_another_card_gets_nothing_that_counts(card: type[ScriptedCard]) -> None:
    expected = DifferentCard()
    one, two, three = card(), card(), card()
    assert jpki.verify_and_sign(one, certificate=CERTIFICATE, pin=pin(), statement=b"") == expected
    assert jpki.recount(two, certificate=CERTIFICATE) == expected
    assert jpki.offer_channel(three, certificate=CERTIFICATE, key_version=0x31, host_challenge=CHALLENGE) == expected
    for each in (one, two, three):
        assert all(command.startswith(("00A4", "00B0")) for command in each.sent)


@pytest.mark.parametrize(("answer", "tries"), [("63C3", 3), ("63C1", 1), ("63C0", 0), ("6983", 0), ("6984", 0)])
def test_recount_reads_the_tries_of_the_same_card(answer: str, tries: int) -> None:
    card = ScriptedCard({QUERY_USER_PIN: answer})
    assert jpki.recount(card, certificate=CERTIFICATE) == tries
    assert card.sent[-1] == QUERY_USER_PIN


# The channel's offer


def test_offer_is_asked_of_the_same_card() -> None:
    card = ScriptedCard({INITIALIZE_UPDATE: OFFER + "9000"})
    offered = jpki.offer_channel(card, certificate=CERTIFICATE, key_version=0x31, host_challenge=CHALLENGE)
    assert offered == ChannelOffered(bytes.fromhex(OFFER), CHALLENGE)
    assert card.sent[-1] == INITIALIZE_UPDATE


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("6A88", "6A88"),
        ("6985", "6985"),
        ("9000", "0 bytes"),
        (OFFER[:-2] + "9000", "28 bytes"),
        (OFFER + "00" + "9000", "30 bytes"),
        (OFFER.replace("310360", "320360") + "9000", "another key version"),
        (OFFER.replace("310360", "310260") + "9000", "protocol"),
        (OFFER.replace("310360", "310370") + "9000", "protocol"),
    ],
)
def test_refused_or_strange_offer_is_an_error(answer: str, shown: str) -> None:
    with pytest.raises(CardProtocolError, match=shown):
        jpki.offer_channel(
            ScriptedCard({INITIALIZE_UPDATE: answer}),
            certificate=CERTIFICATE,
            key_version=0x31,
            host_challenge=CHALLENGE,
        )


@pytest.mark.parametrize(("key_version", "challenge"), [(0, CHALLENGE), (128, CHALLENGE), (0x31, bytes(7))])
def test_bad_parameters_are_never_sent(key_version: int, challenge: bytes) -> None:
    card = ScriptedCard()
    with pytest.raises(ValueError, match=r"key version|host challenge"):
        jpki.offer_channel(card, certificate=CERTIFICATE, key_version=key_version, host_challenge=challenge)
    assert not card.sent


def test_token_label_in_the_script_is_the_real_one() -> None:
    assert bytes.fromhex(TOKEN).rstrip() == jpki.TOKEN_LABEL
