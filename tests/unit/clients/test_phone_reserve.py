"""A reservation against the simulator's card: what is sent to it, and what is made of its answers."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from jpkireset.central.v1 import common_pb2

from cardsim.card import Card
from cardsim.memory import ReferenceName
from jpki_phone import card as commands
from jpki_phone.centre import Reservation
from jpki_phone.problems import PROBLEMS, REFUSALS, ExitCode, NotReserved, Problem, refused
from jpki_phone.reserve import PROCEDURE_SIGNING_PASSWORD, reserve
from jpki_phone.run import local_words
from jpki_phone.statement import digest_info, reserve_statement
from tests.unit.clients.cards import CERTIFICATE, PIN, VERIFY, FakeSlot, make_card

CHALLENGE = bytes(range(32))
EXPIRES = datetime.datetime(2026, 11, 23, 6, 4, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


@pytest.fixture
def slot(key: rsa.RSAPrivateKey) -> FakeSlot:
    return FakeSlot(make_card(key))


@dataclass
class FakeCentre:
    """Takes whatever it is given."""

    reserved: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)

    def challenge(self) -> bytes:
        return CHALLENGE

    def reserve(self, challenge: bytes, user_certificate: bytes, signature: bytes) -> Reservation:
        self.reserved.append((challenge, user_certificate, signature))
        return Reservation("r-1", EXPIRES)


def typed(pin: bytes = PIN) -> Callable[[int], bytes]:
    return lambda tries: pin


def problem_of(slot: FakeSlot, ask: Callable[[int], bytes] | None = None) -> NotReserved:
    centre = FakeCentre()
    with pytest.raises(NotReserved) as caught:
        reserve(slot, centre, ask or typed())
    assert not centre.reserved
    return caught.value


def user_pin_tries(card: Card) -> int:
    return card.memory.reference(ReferenceName.USER_PIN).tries


def test_the_card_signs_the_statement_of_a_reservation(slot: FakeSlot, key: rsa.RSAPrivateKey) -> None:
    centre = FakeCentre()
    shown = []

    def ask(tries: int) -> bytes:
        assert not slot.held  # the card is not held while a person types
        shown.append(tries)
        return PIN

    assert reserve(slot, centre, ask) == Reservation("r-1", EXPIRES)

    ((challenge, certificate, signature),) = centre.reserved
    assert (challenge, certificate, shown) == (CHALLENGE, CERTIFICATE, [3])
    statement = b"JPKI-RESET-STATEMENT" + bytes.fromhex("010101 0000 0000") + CHALLENGE
    key.public_key().verify(signature, statement, padding.PKCS1v15(), hashes.SHA256())
    assert slot.sessions == 2
    assert slot.entries == 1


def test_another_purpose_does_not_verify(slot: FakeSlot, key: rsa.RSAPrivateKey) -> None:
    centre = FakeCentre()
    reserve(slot, centre, typed())
    other = b"JPKI-RESET-STATEMENT" + bytes.fromhex("010201 0000 0000") + CHALLENGE
    with pytest.raises(InvalidSignature):
        key.public_key().verify(centre.reserved[0][2], other, padding.PKCS1v15(), hashes.SHA256())


def test_the_statement_has_its_form() -> None:
    statement = reserve_statement(PROCEDURE_SIGNING_PASSWORD, CHALLENGE)
    assert len(statement) == 59
    assert len(digest_info(statement)) == 51
    assert common_pb2.PROCEDURE_SIGNING_PASSWORD == PROCEDURE_SIGNING_PASSWORD
    with pytest.raises(ValueError, match="32 bytes"):
        reserve_statement(PROCEDURE_SIGNING_PASSWORD, b"short")


def test_a_wrong_pin_is_sent_once_and_the_tries_are_told(slot: FakeSlot) -> None:
    problem = problem_of(slot, typed(b"0000"))
    assert (problem.key, problem.tries_left, problem.text.exit_code) == ("user_pin_wrong", 2, ExitCode.NOT_RESERVED)
    assert slot.entries == 1


def test_the_last_wrong_pin_is_told_as_locked(key: rsa.RSAPrivateKey) -> None:
    slot = FakeSlot(make_card(key, tries=1))
    problem = problem_of(slot, typed(b"0000"))
    assert (problem.key, problem.tries_left) == ("user_pin_locked", 0)


def test_a_locked_pin_is_not_asked_for(key: rsa.RSAPrivateKey) -> None:
    def never(tries: int) -> bytes:
        raise AssertionError(tries)

    slot = FakeSlot(make_card(key, tries=0))
    assert problem_of(slot, never).key == "user_pin_locked"
    assert slot.entries == 0


@pytest.mark.parametrize("torn", [b"", b"\x90", b"lost"])
def test_a_torn_verify_is_never_sent_again(slot: FakeSlot, torn: bytes) -> None:
    slot.tear = lambda command: torn if command.startswith(VERIFY) and len(command) > len(VERIFY) else None
    problem = problem_of(slot, typed(b"0000"))
    assert (problem.key, problem.text.exit_code) == ("user_pin_torn", ExitCode.READER_OR_CARD)
    assert slot.entries == 1
    assert user_pin_tries(slot.inserted) == 2  # the card had counted it


@pytest.mark.parametrize("changed", ["card", "tries"])
def test_the_pin_goes_only_to_the_card_it_was_typed_for(slot: FakeSlot, key: rsa.RSAPrivateKey, changed: str) -> None:
    def swap_and_type(tries: int) -> bytes:
        if changed == "card":
            slot.inserted = make_card(key, certificate=CERTIFICATE[:-1] + b"\x00")
        else:
            slot.inserted.memory.reference(ReferenceName.USER_PIN).tries = 1
        return PIN

    assert problem_of(slot, swap_and_type).key == {"card": "different_card", "tries": "tries_changed"}[changed]
    assert slot.entries == 0


@pytest.mark.parametrize("label", ["JPKIAPICCTOKEN", "JPKIAPGPSETOKEN", ""])
def test_other_tokens_are_not_a_my_number_card(key: rsa.RSAPrivateKey, label: str) -> None:
    assert problem_of(FakeSlot(make_card(key, label=label))).key == "not_a_my_number_card"


def scripted(*answers: str) -> commands.Transmit:
    left = [bytes.fromhex(answer) for answer in answers]
    return lambda command: left.pop(0)


@pytest.mark.parametrize(
    ("call", "answers", "problem"),
    [
        (commands.open_jpki, ["6A82"], Problem.NOT_A_MY_NUMBER_CARD),
        (commands.open_jpki, ["9000", "6A82"], Problem.NOT_A_MY_NUMBER_CARD),
        (commands.open_jpki, ["9000", "9000", "6982"], Problem.NOT_A_MY_NUMBER_CARD),
        (commands.user_certificate, ["9000", "6982"], Problem.CARD_UNREADABLE),
        (commands.user_certificate, ["9000", "9000"], Problem.CARD_UNREADABLE),
        (commands.user_certificate, ["9000", "FFFFFFFF9000"], Problem.NOT_A_MY_NUMBER_CARD),
        (commands.user_certificate, ["6F00"], Problem.CARD_UNREADABLE),
        (commands.user_pin_tries, ["9000", "6700"], Problem.CARD_UNREADABLE),
    ],
)
def test_odd_answers(call: Callable[[commands.Transmit], object], answers: list[str], problem: Problem) -> None:
    with pytest.raises(NotReserved) as caught:
        call(scripted(*answers))
    assert caught.value.key == problem.value


@pytest.mark.parametrize(("status", "tries"), [("63C3", 3), ("63C0", 0), ("6983", 0), ("6984", 0)])
def test_the_counter_is_read_from_its_own_status_words_only(status: str, tries: int) -> None:
    assert commands.user_pin_tries(scripted("9000", status)) == tries


@pytest.mark.parametrize(
    ("status", "problem"),
    [("63C1", "user_pin_wrong"), ("63C0", "user_pin_locked"), ("6984", "user_pin_locked"), ("6F00", "card_unreadable")],
)
def test_answers_to_verify(status: str, problem: str) -> None:
    with pytest.raises(NotReserved) as caught:
        commands.verify_user_pin(scripted("9000", status), PIN)
    assert caught.value.key == problem


def test_an_empty_pin_never_becomes_a_query() -> None:
    with pytest.raises(ValueError, match="empty"):
        commands.verify_user_pin(scripted(), b"")


def test_a_certificate_in_small_pieces_is_put_together() -> None:
    pieces = [CERTIFICATE[start : start + 100].hex() + "9000" for start in range(0, len(CERTIFICATE), 100)]
    assert commands.user_certificate(scripted("9000", *pieces)) == CERTIFICATE


def test_a_certificate_is_bounded() -> None:
    endless: commands.Transmit = lambda command: bytes.fromhex("3082FFFF") + bytes(252) + b"\x90\x00"  # noqa: E731
    assert len(commands.user_certificate(lambda c: b"\x90\x00" if c[1] == commands.INS_SELECT else endless(c))) == 4096


def test_every_problem_and_refusal_has_a_text() -> None:
    assert list(PROBLEMS) == list(Problem)
    assert list(REFUSALS) == common_pb2.Refusal.keys()
    said = [text.what for text in PROBLEMS.values()] + [what for what, _ in REFUSALS.values()]
    assert len(set(said)) == len(said)
    assert refused("REFUSAL_NEWER").text.what == "The centre refused: REFUSAL_NEWER."


def test_the_end_is_told_in_japans_time() -> None:
    assert local_words(EXPIRES) == "Monday 2026-11-23 15:04 (Asia/Tokyo), 2026年11月23日（月）15:04まで"
