"""The worked example of docs/CARD-PROTOCOL.md is right: by the formulas, on the card, and with a foreign host."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid, ScpState, SessionKeys, StaticKeys

from cardsim.card import Card
from cardsim.issue import derive_static_keys
from cardsim.memory import ChannelMemory, ReferenceName
from tests.unit.cardsim.example import DOCUMENT, worked_example
from tests.unit.cardsim.making import SELECT_JPKI, MakeCard, send, verify

GIVEN = (
    "master_key",
    "procedure",
    "key_version",
    "diversification_data",
    "host_challenge",
    "card_challenge",
    "new_password",
)
DONE = bytes.fromhex("9000")


@pytest.fixture(scope="module")
def example() -> Mapping[str, bytes]:
    """The values of the document."""
    return worked_example()


def aes_cmac(key: bytes, message: bytes) -> bytes:
    mac = cmac.CMAC(algorithms.AES(key))
    mac.update(message)
    return mac.finalize()


def encrypt(key: bytes, mode: modes.ECB | modes.CBC, plain: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), mode).encryptor()
    return encryptor.update(plain) + encryptor.finalize()


def computed(given: Mapping[str, bytes]) -> dict[str, bytes]:
    """Compute the example from what is given, as sections 2 and 3 of the document say."""
    v = {name: given[name] for name in GIVEN}
    context = v["procedure"] + v["key_version"] + v["diversification_data"]
    for name, label in (("k_enc", b"JPKI-RESET K-ENC"), ("k_mac", b"JPKI-RESET K-MAC")):
        v[f"{name}_input"] = b"\x01" + label + b"\x00" + context + bytes.fromhex("0080")
        v[name] = aes_cmac(v["master_key"], v[f"{name}_input"])
    challenges = v["host_challenge"] + v["card_challenge"]
    for name, key, constant, bits in (
        ("s_enc", "k_enc", 4, 128),
        ("s_mac", "k_mac", 6, 128),
        ("s_rmac", "k_mac", 7, 128),
        ("card_cryptogram", "s_mac", 0, 64),
        ("host_cryptogram", "s_mac", 1, 64),
    ):
        v[f"{name}_input"] = bytes(11) + bytes((constant, 0)) + bits.to_bytes(2, "big") + b"\x01" + challenges
        v[name] = aes_cmac(v[key], v[f"{name}_input"])[: bits // 8]
    version = v["key_version"]
    v["initialize_update"] = bytes.fromhex("8050") + version + bytes.fromhex("0008") + v["host_challenge"] + b"\x00"
    information = version + bytes.fromhex("0360")
    proof = v["card_challenge"] + v["card_cryptogram"]
    v["initialize_update_answer"] = v["diversification_data"] + information + proof + DONE
    command = bytes.fromhex("8482130010") + v["host_cryptogram"]
    v["external_authenticate_mac_input"] = bytes(16) + command
    first_value = aes_cmac(v["s_mac"], v["external_authenticate_mac_input"])
    v["external_authenticate_chaining_value"] = first_value
    v["external_authenticate"] = command + first_value[:8]
    v["external_authenticate_answer"] = DONE
    v["encryption_counter"] = (1).to_bytes(16, "big")
    v["initial_chaining_vector"] = encrypt(v["s_enc"], modes.ECB(), v["encryption_counter"])
    v["padded_password"] = (v["new_password"] + b"\x80").ljust(16, b"\x00")
    v["ciphertext"] = encrypt(v["s_enc"], modes.CBC(v["initial_chaining_vector"]), v["padded_password"])
    command = bytes.fromhex("042C029B18") + v["ciphertext"]
    v["reset_retry_counter_mac_input"] = first_value + command
    v["chaining_value"] = aes_cmac(v["s_mac"], v["reset_retry_counter_mac_input"])
    v["reset_retry_counter"] = command + v["chaining_value"][:8]
    v["r_mac_input"] = v["chaining_value"] + DONE
    v["r_mac"] = aes_cmac(v["s_rmac"], v["r_mac_input"])[:8]
    v["reset_retry_counter_answer"] = v["r_mac"] + DONE
    return v


def statements(given: Mapping[str, bytes]) -> dict[str, bytes]:
    """Compute the statements, as section 4 of the document says."""
    v = {name: given[name] for name in ("attempt_id", "kiosk_id", "challenge")}
    label = b"JPKI-RESET-STATEMENT"
    lengths = {name: len(v[name]).to_bytes(2, "big") + v[name] for name in ("attempt_id", "kiosk_id")}
    v["reset_statement"] = label + bytes((1, 2, 1)) + lengths["attempt_id"] + lengths["kiosk_id"] + v["challenge"]
    prefix = bytes.fromhex("3031300D060960864801650304020105000420")
    v["reset_statement_digest_info"] = prefix + hashlib.sha256(v["reset_statement"]).digest()
    v["compute_digital_signature"] = bytes.fromhex("002A009733") + v["reset_statement_digest_info"] + b"\x00"
    v["reserve_statement"] = label + bytes((1, 1, 1)) + bytes(4) + v["challenge"]
    v["reserve_statement_digest"] = hashlib.sha256(v["reserve_statement"]).digest()
    return v


def test_every_line_follows_from_the_first_seven(example: Mapping[str, bytes]) -> None:
    expected = {**computed(example), **statements(example)}
    assert {name: value.hex() for name, value in example.items()} == {n: v.hex() for n, v in expected.items()}


def test_the_card_answers_as_the_example_says(make_card: MakeCard, example: Mapping[str, bytes]) -> None:
    keys = derive_static_keys(example["master_key"], 1, 0x31, example["diversification_data"])
    memory = make_card("locked").memory
    memory.channel = ChannelMemory(example["diversification_data"], {0x31: keys})
    card = Card(memory, lambda size: example["card_challenge"][:size])
    card.power_on()
    send(card, SELECT_JPKI)
    for name in ("initialize_update", "external_authenticate", "reset_retry_counter"):
        assert card.transmit(example[name]).hex() == example[f"{name}_answer"].hex()
    assert memory.reference(ReferenceName.SIGNING_PASSWORD).tries == 5
    assert send(card, verify("9B", example["new_password"])) == "9000"


def test_a_foreign_host_computes_the_same(example: Mapping[str, bytes]) -> None:
    def send_apdu(cla: int, ins: int, p1: int, p2: int, data: bytes) -> bytes:
        assert bytes((cla, ins, p1, p2, len(data))) + data == example["initialize_update"][:-1]
        return example["initialize_update_answer"][:-2]

    static = StaticKeys(example["k_enc"], example["k_mac"])
    session = static.derive(example["host_challenge"] + example["card_challenge"])
    assert session == SessionKeys(example["s_enc"], example["s_mac"], example["s_rmac"])
    parameters = Scp03KeyParams(KeyRef(ScpKid.SCP03, 0x31), static)
    state, cryptogram = ScpState.scp03_init(send_apdu, parameters, host_challenge=example["host_challenge"])
    assert cryptogram == example["host_cryptogram"]
    assert state.mac(example["external_authenticate"][:-8]) == example["external_authenticate"][-8:]
    assert state.encrypt(example["new_password"]) == example["ciphertext"]
    assert state.mac(example["reset_retry_counter"][:-8]) == example["reset_retry_counter"][-8:]
    assert state.unmac(example["r_mac"], 0x9000) == b""


def test_the_document_says_that_the_real_command_is_not_public() -> None:
    assert "unblock command of the real My Number Card is not public" in DOCUMENT.read_text()
