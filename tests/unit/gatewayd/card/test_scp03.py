"""The kiosk's half of SCP03 against yubikit's, which nobody here wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.card import jpki, scp03
from gatewayd.card.apdu import Command, Response
from gatewayd.card.values import ChannelKeys
from gatewayd.secret import Secret
from tests.unit.gatewayd.card.vectors import AUTHENTICATION, S_ENC, S_MAC, external_authenticate, foreign_channel


def channel_keys(authenticate: bytes) -> ChannelKeys:
    return ChannelKeys(authenticate, Secret(S_ENC), Secret(S_MAC))


@given(st.text("ABCXYZ0189", min_size=6, max_size=16))
def test_command_and_chaining_value_are_those_of_foreign_software(password: str) -> None:
    state, authenticate = foreign_channel()
    wrapped = jpki.wrap_password(channel_keys(authenticate), Secret(password.encode()))
    ciphertext = state.encrypt(password.encode())
    header = bytes.fromhex("042C029B") + bytes((len(ciphertext) + 8,))
    assert wrapped.command == header + ciphertext + state.mac(header + ciphertext) + b"\x00"
    assert wrapped.chaining_value[:8] == wrapped.command[-9:-1]
    receipt = foreign_receipt(wrapped.chaining_value)
    assert state.unmac(receipt, 0x9000) == b""


def foreign_receipt(chaining_value: bytes) -> bytes:
    """Compute the receipt of a card with the S-RMAC of `foreign_channel`, from our chaining value."""
    other, _ = foreign_channel()
    other._mac_chain, other._keys = chaining_value, other._keys._replace(key_smac=bytes(16))
    return other.mac(b"\x90\x00")


def test_lengths_do_not_tell_the_passwords_length_within_a_block() -> None:
    def length(password: bytes) -> int:
        return len(jpki.wrap_password(channel_keys(external_authenticate(S_MAC)), Secret(password)).command)

    assert {length(b"A" * size) for size in range(6, 16)} == {30}
    assert length(b"A" * 16) == 46


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        AUTHENTICATION,  # without its C-MAC
        AUTHENTICATION.replace(b"\x00\x10", b"\x00\x08"),  # the same, with Lc to match
        external_authenticate(bytes(16)),  # of another S-MAC
        external_authenticate(S_MAC) + b"\x00",  # with Le
        external_authenticate(S_MAC).replace(b"\x13", b"\x03", 1),  # another level
        external_authenticate(S_MAC)[:-1] + b"\xff",
        bytes.fromhex("00A4040C0AD392F000260100000001"),
    ],
)
def test_authorisation_whose_parts_do_not_belong_together_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match=r"AUTHENTICATE|four bytes|Lc"):
        jpki.wrap_password(channel_keys(wrong), Secret(b"NEWPASS2"))


@pytest.mark.parametrize(
    ("answer", "receipt"),
    [
        ("01020304050607089000", True),
        ("9000", False),
        ("01020304050607086982", False),
        ("0102030405060708099000", False),
    ],
)
def test_shape_of_a_receipt(answer: str, receipt: bool) -> None:
    assert scp03.is_receipt(Response.parse(bytes.fromhex(answer))) is receipt


def test_no_text_shows_the_wrapped_command() -> None:
    wrapped = jpki.wrap_password(channel_keys(external_authenticate(S_MAC)), Secret(b"NEWPASS2"))
    assert wrapped.command.hex() not in repr(wrapped)
    assert repr(wrapped) == "Wrapped()"
    assert isinstance(Command.parse(wrapped.command), Command)
