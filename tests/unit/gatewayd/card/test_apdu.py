"""Short APDUs, by a table; the cases are those of ISO/IEC 7816-4:2013, 5.1."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.card.apdu import Command, Response
from gatewayd.errors import TransmitFailed

HEADER = (0x00, 0xA4, 0x04, 0x0C)
TABLE = [
    ("case 1: counter query of EF 0018", Command(0x00, 0x20, 0x00, 0x98), "00200098"),
    ("case 2: Le 1", Command(*HEADER, le=1), "00A4040C01"),
    ("case 2: Le 255", Command(*HEADER, le=255), "00A4040CFF"),
    ("case 2: Le 256 is 00", Command(*HEADER, le=256), "00A4040C00"),
    ("case 3: one byte", Command(*HEADER, b"\xd3"), "00A4040C01D3"),
    ("case 3: 255 bytes", Command(*HEADER, bytes(255)), "00A4040CFF" + "00" * 255),
    ("case 4: one byte and Le 256", Command(*HEADER, b"\xd3", 256), "00A4040C01D300"),
    ("case 4: 255 bytes and Le 1", Command(*HEADER, bytes(255), 1), "00A4040CFF" + "00" * 255 + "01"),
]


@pytest.mark.parametrize(("what", "command", "encoded"), TABLE)
def test_table_both_ways(what: str, command: Command, encoded: str) -> None:
    assert command.encode().hex().upper() == encoded, what
    assert Command.parse(bytes.fromhex(encoded)) == command, what


@pytest.mark.parametrize(
    "wrong", ["", "00A404", "00A4040C0000", "00A4040C02D3", "00A4040C01D3000000", "00A4040C000001D3"]
)
def test_what_is_no_short_command_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"four bytes|Lc does not agree"):
        Command.parse(bytes.fromhex(wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Command(0x100, 0, 0, 0),
        lambda: Command(0, 0, 0, -1),
        lambda: Command(*HEADER, bytes(256)),
        lambda: Command(*HEADER, le=0),
        lambda: Command(*HEADER, le=257),
    ],
)
def test_what_does_not_fit_is_refused(wrong: Callable[[], Command]) -> None:
    with pytest.raises(ValueError, match=r"one byte|do not fit|does not fit"):
        wrong()


byte = st.integers(0, 255)


@given(byte, byte, byte, byte, st.binary(max_size=255), st.none() | st.integers(1, 256))
def test_every_command_comes_back(cla: int, ins: int, p1: int, p2: int, data: bytes, le: int | None) -> None:
    command = Command(cla, ins, p1, p2, data, le)
    assert Command.parse(command.encode()) == command


def test_no_text_shows_the_data() -> None:
    shown = repr(Command(0x00, 0x20, 0x00, 0x98, b"1357")) + repr(Response.parse(b"1357\x90\x00"))
    assert "1357" not in shown
    assert b"1357".hex() not in shown


@pytest.mark.parametrize(("answer", "data", "status_word"), [("9000", "", 0x9000), ("0163C2", "01", 0x63C2)])
def test_answer_is_split(answer: str, data: str, status_word: int) -> None:
    response = Response.parse(bytes.fromhex(answer))
    assert (response.data.hex(), response.status_word) == (data, status_word)


@pytest.mark.parametrize("answer", [b"", b"\x90"])
def test_fewer_than_two_bytes_are_no_answer(answer: bytes) -> None:
    with pytest.raises(TransmitFailed):
        Response.parse(answer)
