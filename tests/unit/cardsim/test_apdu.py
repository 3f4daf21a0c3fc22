"""The seven forms of a command APDU: ISO/IEC 7816-4:2020, 5.2, table 1."""

from __future__ import annotations

import pytest

from cardsim.apdu import Command, MalformedCommandError, parse_command

HEADER = "00B00102"


@pytest.mark.parametrize(
    ("body", "data", "expected", "extended"),
    [
        pytest.param("", b"", None, False, id="case 1"),
        pytest.param("01", b"", 1, False, id="case 2 short"),
        pytest.param("FF", b"", 255, False, id="case 2 short, most but one"),
        pytest.param("00", b"", 256, False, id="case 2 short, all"),
        pytest.param("02AABB", b"\xaa\xbb", None, False, id="case 3 short"),
        pytest.param("FF" + "11" * 255, b"\x11" * 255, None, False, id="case 3 short, longest"),
        pytest.param("02AABB05", b"\xaa\xbb", 5, False, id="case 4 short"),
        pytest.param("02AABB00", b"\xaa\xbb", 256, False, id="case 4 short, all"),
        pytest.param("000001", b"", 1, True, id="case 2 extended"),
        pytest.param("000000", b"", 65_536, True, id="case 2 extended, all"),
        pytest.param("000002AABB", b"\xaa\xbb", None, True, id="case 3 extended"),
        pytest.param("00FFFF" + "22" * 65_535, b"\x22" * 65_535, None, True, id="case 3 extended, longest"),
        pytest.param("000002AABB0100", b"\xaa\xbb", 256, True, id="case 4 extended"),
        pytest.param("000002AABB0000", b"\xaa\xbb", 65_536, True, id="case 4 extended, all"),
    ],
)
def test_every_form_is_taken_apart(body: str, data: bytes, expected: int | None, extended: bool) -> None:
    assert parse_command(bytes.fromhex(HEADER + body)) == Command(0x00, 0xB0, 0x01, 0x02, data, expected, extended)


@pytest.mark.parametrize("apdu", ["", "00", "00B001", "00B0000002AA", "00B0000001AABBCC", "00B00000000002AA"])
def test_lengths_that_do_not_add_up_are_refused(apdu: str) -> None:
    with pytest.raises(MalformedCommandError):
        parse_command(bytes.fromhex(apdu))


@pytest.mark.parametrize("body", ["0000", "000000AA", "000001AABB", "000001AABBCCDD"])
def test_extended_lengths_that_do_not_add_up_are_refused(body: str) -> None:
    with pytest.raises(MalformedCommandError):
        parse_command(bytes.fromhex(HEADER + body))
