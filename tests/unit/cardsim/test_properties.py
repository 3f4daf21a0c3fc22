"""What holds for every sequence of commands: no crash, no counter raised but by right, no use of a key unverified."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardsim.card import Card
from cardsim.memory import ReferenceName, TransparentFile
from tests.unit.cardsim.making import SELECT_JPKI, SELECT_RESIDENT_REGISTER, SELECT_TEXT_INPUT, MakeCard, verify

FIELD_LOSS = b""  # stands for a reset in a sequence of commands
KNOWN = [
    SELECT_JPKI,
    SELECT_TEXT_INPUT,
    SELECT_RESIDENT_REGISTER,
    "00A4020C020018",
    "00A4020C02001B",
    "00A4020C020001",
    "00B0000010",
    "00B0810010",
    "00200080",
    verify("98", b"1357"),
    verify("98", b"9999"),
    verify("9B", b"OLDPASS1"),
    verify("9B", b"WRONG123"),
    verify("91", b"8642"),
    "002400980431333537",
    "0024019804" + b"1357".hex(),
    "802A00970411223344" + "00",
    "802A009A0411223344" + "00",
    "8050310008" + "AA" * 8,
    "8482130010" + "BB" * 16,
    "042C029B18" + "CC" * 24,
    "002C029B06414243313233",
]
HEADERS = st.builds(
    lambda cla, ins, p1, p2: bytes((cla, ins, p1, p2)),
    st.sampled_from([0x00, 0x04, 0x80, 0x84]),
    st.sampled_from([0x20, 0x24, 0x2A, 0x2C, 0x50, 0x82, 0x84, 0xA4, 0xB0]),
    st.sampled_from([0x00, 0x01, 0x02, 0x04, 0x13, 0x31, 0x81]),
    st.sampled_from([0x00, 0x0C, 0x80, 0x97, 0x98, 0x9A, 0x9B]),
)
COMMANDS = st.one_of(
    st.sampled_from([bytes.fromhex(each) for each in KNOWN]),
    st.builds(lambda header, body: header + body, HEADERS, st.binary(max_size=40)),
    st.binary(min_size=1, max_size=300),
    st.just(FIELD_LOSS),
)


@dataclass
class Model:
    """What the rules allow: who is verified now, and what the counters were."""

    tries: dict[ReferenceName, int]
    values: dict[ReferenceName, bytes]
    verified: set[ReferenceName] = field(default_factory=set)

    @classmethod
    def of(cls, card: Card) -> Model:
        references = list(card.memory.references())
        return cls({each.name: each.tries for each in references}, {each.name: each.value for each in references})


@given(commands=st.lists(COMMANDS, max_size=30))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_sequence_breaks_the_rules(make_card: MakeCard, commands: list[bytes]) -> None:
    card = make_card()
    secret = card.memory.applications[1].files[0x0001]
    assert isinstance(secret, TransparentFile)
    card.transmit(bytes.fromhex(SELECT_JPKI))
    for command in commands:
        before = Model.of(card)
        verified = set(card.snapshot()["verified"])  # type: ignore[call-overload]
        if command == FIELD_LOSS:
            card.reset()
            assert card.snapshot()["verified"] == []
            continue
        answer = card.transmit(command)
        assert len(answer) >= 2
        done = answer[-2:] == bytes.fromhex("9000")
        assert done or len(answer) == 2, "data without success"
        _check_counters(card, before, command, done)
        if command[1:2] == b"\x2a" and done:
            assert verified, "a signature without a verified reference"
        if answer[:16] in secret.content and len(answer) >= 18 and done:
            assert ReferenceName.SIGNING_PASSWORD in verified


def _check_counters(card: Card, before: Model, command: bytes, done: bool) -> None:
    after = Model.of(card)
    changed = [name for name in after.tries if after.tries[name] != before.tries[name]]
    assert len(changed) <= 1
    for name in changed:
        if after.tries[name] < before.tries[name]:
            assert after.tries[name] == before.tries[name] - 1
            assert command[1] == 0x20
        else:
            assert done
            assert command[1] == 0x20
            assert command.endswith(before.values[name])
    for name in after.values:
        if after.values[name] != before.values[name]:
            assert done
            assert command[1] == 0x24


@given(entries=st.lists(st.binary(min_size=1, max_size=16), max_size=8))
@settings(max_examples=200, deadline=None)
def test_the_counter_of_wrong_entries(make_card: MakeCard, entries: list[bytes]) -> None:
    """Three wrong in a row lock for ever; a right one in time starts the count again."""
    card = make_card()
    card.transmit(bytes.fromhex(SELECT_JPKI))
    left = 3
    for entry in entries:
        answer = card.transmit(bytes.fromhex(verify("98", entry)))
        if not left:
            assert answer == bytes.fromhex("6984")
            continue
        left = 3 if entry == b"1357" else left - 1
        assert answer == (bytes.fromhex("9000") if entry == b"1357" else bytes((0x63, 0xC0 + left)))
    assert card.transmit(bytes.fromhex("00200098")) == bytes((0x63, 0xC0 + left))
