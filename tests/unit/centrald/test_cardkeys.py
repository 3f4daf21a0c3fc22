"""The centre's half of the channel: against the documented example, the standard's derivation, and foreign software."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid, ScpState, StaticKeys

from centrald.cardkeys import CardAnswer, Channel, FileMasterKey, card_keys
from centrald.errors import AlreadyThere, ConfigError
from centrald.rules.model import Procedure, Transcript
from centrald.statement import Purpose, statement
from tests.unit.cardsim.example import worked_example
from tests.unit.centrald.world import OK, SELECT_JPKI, HeldCard, ManualClock

PROCEDURE = Procedure.SIGNING_PASSWORD


@pytest.fixture(scope="module")
def example() -> dict[str, bytes]:
    return worked_example()


def channel_of(example: dict[str, bytes]) -> Channel:
    transcript = Transcript(
        example["key_version"][0],
        example["diversification_data"],
        example["host_challenge"],
        example["card_challenge"],
    )
    return Channel(FileMasterKey(example["master_key"]), PROCEDURE, transcript)


def test_the_documented_example_is_what_we_compute(example: dict[str, bytes]) -> None:
    master = FileMasterKey(example["master_key"])
    keys = card_keys(master, PROCEDURE, example["key_version"][0], example["diversification_data"])
    assert (keys.enc, keys.mac) == (example["k_enc"], example["k_mac"])
    channel = channel_of(example)
    assert (channel.s_enc, channel.s_mac) == (example["s_enc"], example["s_mac"])
    assert channel.s_rmac == example["s_rmac"]
    assert channel.card_is_genuine(example["card_cryptogram"])
    assert channel.external_authenticate() == example["external_authenticate"]
    assert channel.receipt_is_valid(example["chaining_value"], example["r_mac"])


def test_the_documented_answer_is_taken_apart(example: dict[str, bytes]) -> None:
    answer = CardAnswer.parse(example["initialize_update_answer"][:-2])
    assert answer.diversification_data == example["diversification_data"]
    assert answer.key_version == example["key_version"][0]
    assert answer.speaks_our_protocol
    assert (answer.card_challenge, answer.cryptogram) == (example["card_challenge"], example["card_cryptogram"])
    with pytest.raises(ValueError, match="29 bytes"):
        CardAnswer.parse(example["initialize_update_answer"])


def test_the_documented_statements_are_what_we_verify(example: dict[str, bytes]) -> None:
    attempt, kiosk = example["attempt_id"].decode(), example["kiosk_id"].decode()
    assert statement(Purpose.RESET, PROCEDURE, attempt, kiosk, example["challenge"]) == example["reset_statement"]
    assert statement(Purpose.RESERVE, PROCEDURE, "", "", example["challenge"]) == example["reserve_statement"]


@pytest.mark.parametrize("flip", ["chaining_value", "r_mac"])
def test_a_receipt_with_any_bit_changed_is_invalid(example: dict[str, bytes], flip: str) -> None:
    channel = channel_of(example)
    for bit in range(8 * len(example[flip])):
        changed = int.from_bytes(example[flip], "big") ^ (1 << bit)
        values = example | {flip: changed.to_bytes(len(example[flip]), "big")}
        assert not channel.receipt_is_valid(values["chaining_value"], values["r_mac"])


def test_static_keys_follow_sp_800_108() -> None:
    for _ in range(10):
        master, diversification = secrets.token_bytes(32), secrets.token_bytes(10)
        version = 1 + secrets.randbelow(127)
        context = bytes([PROCEDURE, version]) + diversification
        enc, mac = (
            KBKDFCMAC(AES, Mode.CounterMode, 16, 1, 2, CounterLocation.BeforeFixed, label, context, None).derive(master)
            for label in (b"JPKI-RESET K-ENC", b"JPKI-RESET K-MAC")
        )
        keys = card_keys(FileMasterKey(master), PROCEDURE, version, diversification)
        assert (keys.enc, keys.mac) == (enc, mac)


def test_keys_differ_by_version_and_card() -> None:
    master = FileMasterKey(bytes(32))
    keys = {
        (one.enc, one.mac)
        for version in (0x31, 0x32)
        for diversification in (bytes(10), bytes(9) + b"\x01")
        for one in [card_keys(master, PROCEDURE, version, diversification)]
    }
    assert len(keys) == 4


def test_a_foreign_host_computes_the_same_channel(initialized: Path) -> None:
    held = HeldCard.issue(initialized, ManualClock().now())
    master = FileMasterKey.load(initialized / "keys/master.key")
    answers: list[bytes] = []

    def send(cla: int, ins: int, p1: int, p2: int, data: bytes) -> bytes:
        held.card.reset()
        assert held.card.transmit(SELECT_JPKI) == OK
        answers.append(held.card.transmit(bytes([cla, ins, p1, p2, len(data)]) + data + b"\x00")[:-2])
        return answers[-1]

    for _ in range(10):
        host_challenge = secrets.token_bytes(8)
        diversification = bytes.fromhex(held.issued.registry_entry.diversification_data)  # type: ignore[union-attr]
        static = card_keys(master, PROCEDURE, 0x31, diversification)
        parameters = Scp03KeyParams(KeyRef(ScpKid.SCP03, 0x31), StaticKeys(static.enc, static.mac))
        state, cryptogram = ScpState.scp03_init(send, parameters, host_challenge=host_challenge)
        answer = CardAnswer.parse(answers[-1])
        transcript = Transcript(0x31, answer.diversification_data, host_challenge, answer.card_challenge)
        channel = Channel(master, PROCEDURE, transcript)
        assert channel.card_is_genuine(answer.cryptogram)
        header = bytes.fromhex("8482130010")
        command = header + cryptogram + state.mac(header + cryptogram)
        assert channel.external_authenticate() == command
        assert held.card.transmit(command) == OK
        header = bytes.fromhex("042C029B18")
        ciphertext = state.encrypt(b"NEWPASS23")
        wrapped = header + ciphertext + state.mac(header + ciphertext)
        r_mac = held.card.transmit(wrapped)[:-2]
        assert channel.receipt_is_valid(state._mac_chain, r_mac)


def test_the_master_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    FileMasterKey.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    FileMasterKey.load(path)
    with pytest.raises(AlreadyThere):
        FileMasterKey.create(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="owner only"):
        FileMasterKey.load(path)


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 31, "00" * 33, "é" * 64])
def test_a_broken_master_key_file_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as raised:
        FileMasterKey.load(path)
    assert not text or text not in str(raised.value)
    path.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        FileMasterKey.load(path)


def test_no_key_is_printed(example: dict[str, bytes]) -> None:
    channel = channel_of(example)
    keys = card_keys(FileMasterKey(example["master_key"]), PROCEDURE, 0x31, bytes(10))
    assert repr(keys) == "StaticKeys()"
    for key in (channel.s_enc, channel.s_mac, channel.s_rmac):
        assert key.hex() not in repr(channel)
