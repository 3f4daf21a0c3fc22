"""The write's verdict: a table of steps and answers, and all 65,536 status words."""

from __future__ import annotations

import pytest

from gatewayd.card import jpki
from gatewayd.card.values import (
    ChannelKeys,
    WriteAccepted,
    WriteNotSent,
    WriteRefused,
    WriteResult,
    WriteUnknown,
)
from gatewayd.errors import DeadlineExceeded, LinkEnded, LinkError, ServiceLost, TransmitFailed
from gatewayd.secret import Secret
from tests.unit.gatewayd.card.script import QUERY_SIGNING_PASSWORD, SELECT, Answer, ScriptedCard
from tests.unit.gatewayd.card.vectors import S_ENC, S_MAC, external_authenticate

PASSWORD = b"NEWPASS2"
AUTHENTICATE = "84821300"
RESET_RETRY_COUNTER = "042C029B"
R_MAC = "0102030405060708"


def channel_keys() -> ChannelKeys:
    return ChannelKeys(external_authenticate(S_MAC), Secret(S_ENC), Secret(S_MAC))


def card(authenticate: Answer = "9000", write: Answer = R_MAC + "9000", **more: Answer) -> ScriptedCard:
    return ScriptedCard(
        {AUTHENTICATE: authenticate, RESET_RETRY_COUNTER: write, QUERY_SIGNING_PASSWORD: "63C5", **more}
    )


def write(link: ScriptedCard, keys: ChannelKeys | None = None, password: bytes = PASSWORD) -> WriteResult:
    return jpki.write_password(link, keys=keys or channel_keys(), password=Secret(password))


def headers(link: ScriptedCard) -> list[str]:
    return [command[:8] for command in link.sent]


def test_receipt_is_accepted_and_the_counter_read_under_a_fresh_card() -> None:
    link = card()
    keys = channel_keys()
    accepted = write(link, keys)
    wrapped = jpki.wrap_password(keys, Secret(PASSWORD))
    assert accepted == WriteAccepted(wrapped.chaining_value, bytes.fromhex(R_MAC), 5)
    assert link.sent == [
        keys.external_authenticate.hex().upper(),
        wrapped.command.hex().upper(),
        "RESET",
        SELECT,
        QUERY_SIGNING_PASSWORD,
    ]


@pytest.mark.parametrize(
    "failure",
    [
        {"RESET": TransmitFailed("torn")},
        {"RESET": DeadlineExceeded("over")},
        {SELECT: ServiceLost("gone")},
        {SELECT: "6A82"},
        {SELECT: "6F00"},
        {QUERY_SIGNING_PASSWORD: TransmitFailed("torn")},
        {QUERY_SIGNING_PASSWORD: ""},
        {QUERY_SIGNING_PASSWORD: "9000"},
        {QUERY_SIGNING_PASSWORD: "63C6"},
    ],
)
def test_unread_counter_never_changes_the_verdict(failure: dict[str, Answer]) -> None:
    accepted = write(card(**failure))
    assert isinstance(accepted, WriteAccepted)
    assert accepted.signing_password_tries is None


@pytest.mark.parametrize(
    "error", [TransmitFailed("torn"), ServiceLost("gone"), DeadlineExceeded("over"), LinkEnded("")]
)
def test_torn_external_authenticate_is_not_sent(error: LinkError) -> None:
    link = card(authenticate=error)
    assert write(link) == WriteNotSent()
    assert headers(link) == [AUTHENTICATE]


@pytest.mark.parametrize("answer", ["", "90", "009000"])
def test_no_answer_to_external_authenticate_is_not_sent(answer: str) -> None:
    link = card(authenticate=answer)
    assert write(link) == WriteNotSent()
    assert headers(link) == [AUTHENTICATE]


def test_every_refused_external_authenticate_ends_before_the_write() -> None:
    for word in range(0x10000):
        if word == 0x9000:
            continue
        link = card(authenticate=f"{word:04X}")
        assert write(link) == WriteRefused(word, sent=False)
        assert headers(link) == [AUTHENTICATE]


@pytest.mark.parametrize("error", [TransmitFailed("torn"), ServiceLost("gone")])
def test_torn_write_is_unknown(error: LinkError) -> None:
    link = card(write=error)
    assert write(link) == WriteUnknown()
    assert headers(link) == [AUTHENTICATE, RESET_RETRY_COUNTER]


@pytest.mark.parametrize("error", [DeadlineExceeded("over"), LinkEnded("ended")])
def test_write_that_the_link_refused_to_send_is_not_sent(error: LinkError) -> None:
    assert write(card(write=error)) == WriteNotSent()


@pytest.mark.parametrize("answer", ["", "90"])
def test_no_answer_to_the_write_is_unknown(answer: str) -> None:
    assert write(card(write=answer)) == WriteUnknown()


def test_every_status_word_without_data() -> None:
    for word in range(0x10000):
        link = card(write=f"{word:04X}")
        refused = word >> 8 in (0x69, 0x6A) or 0x63C0 <= word <= 0x63CF
        assert write(link) == (WriteRefused(word, sent=True) if refused else WriteUnknown()), f"{word:04X}"
        assert headers(link) == [AUTHENTICATE, RESET_RETRY_COUNTER]


def test_every_status_word_with_a_receipts_length() -> None:
    for word in range(0x10000):
        if word != 0x9000:
            assert write(card(write=f"{R_MAC}{word:04X}")) == WriteUnknown(), f"{word:04X}"


@pytest.mark.parametrize("length", [1, 7, 9, 16])
@pytest.mark.parametrize("word", ["9000", "6982", "63C1"])
def test_data_of_another_length_is_unknown(length: int, word: str) -> None:
    assert write(card(write="00" * length + word)) == WriteUnknown()


@pytest.mark.parametrize(
    "password", [b"SHORT", b"A" * 17, b"lowercase1", b"WITH SPACE", b"NEWPASS2\n", "ＮＥＷＰＡＳＳ".encode()]
)
def test_what_the_card_would_refuse_is_never_sent(password: bytes) -> None:
    link = card()
    with pytest.raises(ValueError, match="6-16") as caught:
        write(link, password=password)
    assert not link.sent
    assert repr(password) not in repr(caught.value)


def test_authorisation_that_does_not_hold_together_sends_nothing() -> None:
    link = card()
    keys = ChannelKeys(external_authenticate(bytes(16)), Secret(S_ENC), Secret(S_MAC))
    assert write(link, keys) == WriteNotSent()
    assert not link.sent


def test_wiped_keys_send_nothing() -> None:
    link, keys = card(), channel_keys()
    keys.s_enc.wipe()
    assert write(link, keys) == WriteNotSent()
    assert not link.sent
