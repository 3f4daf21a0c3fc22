"""Master keys in files and in a token: which one made which key version, and that none leaves its place."""

from __future__ import annotations

import asyncio
import datetime
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given, settings

from centrald import masterkeys
from centrald.cardkeys import FileMasterKey, card_keys
from centrald.errors import AlreadyThere, ConfigError, KeysUnavailable
from centrald.hsm import Token, TokenKey, cmac_of_blocks, read_pin
from centrald.masterkeys import Generation, KeyRing, TokenPlace
from centrald.rules.model import Procedure
from tests.rig.soft_token import MODULE, SoftToken, brought_in, make

PROCEDURE = Procedure.SIGNING_PASSWORD
FIRST, RING = "keys/master.key", "keys/ring.toml"
DATA = bytes(range(10))
ADDED = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.UTC)


def cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_cmac_out_of_blocks_is_cmac(key: bytes, message: bytes) -> None:
    def encrypt(block: bytes) -> bytes:
        encryptor = Cipher(AES(key), ECB()).encryptor()
        return encryptor.update(block) + encryptor.finalize()

    assert cmac_of_blocks(encrypt, message) == cmac(key, message)


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    return make(tmp_path_factory.mktemp("token"), "cards", "spare")[0]


@pytest.fixture(scope="module")
def token(soft: SoftToken) -> Iterator[Token]:
    opened = Token(MODULE, soft.label, soft.pin)
    yield opened
    opened.close()


def put(token: Token, label: str, value: bytes, *, may_leave: bool = False) -> None:
    token.at_once(lambda session: session.create_object(brought_in(label, value, may_leave=may_leave)), writing=True)


@pytest.fixture
def directory(tmp_path: Path, soft: SoftToken) -> Path:
    (tmp_path / "keys").mkdir()
    FileMasterKey.create(tmp_path / FIRST)
    pin = tmp_path / "keys/token.pin"
    pin.write_text(f"{soft.pin}\n")
    pin.chmod(0o600)
    return tmp_path


def in_token(soft: SoftToken, key: str) -> TokenPlace:
    return TokenPlace(MODULE, soft.label, key, "keys/token.pin")


def test_a_token_computes_what_a_file_does(soft: SoftToken, token: Token) -> None:
    value = secrets.token_bytes(32)
    put(token, "known", value)
    in_it, outside = token.key("known"), FileMasterKey(value)
    assert in_it._cmac_inside
    blocks = TokenKey(token, "known", cmac_inside=False)  # a token without the mechanism
    for version in (1, 0x31, 127):
        expected = card_keys(outside, PROCEDURE, version, DATA)
        assert card_keys(in_it, PROCEDURE, version, DATA) == expected
        assert card_keys(blocks, PROCEDURE, version, DATA) == expected
    assert value.hex() not in repr(in_it)
    assert soft.pin not in repr(in_it)


def test_a_key_made_in_the_token_never_leaves_it(soft: SoftToken, token: Token) -> None:
    from pkcs11 import Attribute, AttributeSensitive, Session

    def read(session: Session) -> bytes:
        (found,) = session.get_objects({Attribute.LABEL: "made-inside"})
        with pytest.raises(AttributeSensitive):
            return bytes(found[Attribute.VALUE])
        return b""

    token.generate("made-inside")
    key = token.key("made-inside")
    assert len(key.cmac(b"")) == 16
    with pytest.raises(AlreadyThere):
        token.generate("made-inside")
    assert token.at_once(read) == b""


def test_a_key_that_may_leave_is_refused(soft: SoftToken, token: Token) -> None:
    put(token, "loose", secrets.token_bytes(32), may_leave=True)
    put(token, "short", secrets.token_bytes(16))
    for label, text in (("loose", "may leave"), ("short", "256 bits"), ("none", "holds no AES key none")):
        with pytest.raises(ConfigError, match=text):
            token.key(label)
    put(token, "twice", secrets.token_bytes(32))
    put(token, "twice", secrets.token_bytes(32))
    with pytest.raises(ConfigError, match="several"):
        token.key("twice")


@pytest.mark.parametrize(
    ("module", "label", "pin", "text"),
    [
        (MODULE, "spare", "0000", "PinIncorrect"),
        (MODULE, "nobody", "4711", "NoSuchToken"),
        ("/nowhere.so", "cards", "4711", "cards: "),
    ],
)
def test_a_token_that_cannot_be_opened(soft: SoftToken, module: str, label: str, pin: str, text: str) -> None:
    token = Token(module, label, pin)
    with pytest.raises(ConfigError, match=text) as raised:
        token.key("x")
    assert pin not in str(raised.value)
    token.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the binding's own, of the lost search
async def test_a_session_that_was_lost_is_opened_again(soft: SoftToken, token: Token) -> None:
    token.generate("after-loss")
    key = token.key("after-loss")
    (before,) = await key.cmac_all([b"x"])
    soft.drop_sessions()
    assert await key.cmac_all([b"x"]) == [before]


async def test_a_token_that_is_stuck_delays_one_call_and_blocks_nobody(soft: SoftToken) -> None:
    token = Token(MODULE, soft.label, soft.pin, seconds=0.2)
    released = threading.Event()
    ticks = 0

    async def ticking() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    beside = asyncio.create_task(ticking())
    with pytest.raises(KeysUnavailable):
        await token.run(lambda _: released.wait(10))
    begun = threading.Event()
    with pytest.raises(KeysUnavailable):
        await token.run(lambda _: begun.set())
    beside.cancel()
    assert ticks > 5
    released.set()
    await token.run(lambda _: None)
    assert not begun.is_set()  # what gave up waiting is not done later
    token.close()


async def test_the_last_generation_not_above_a_version_made_it(directory: Path, soft: SoftToken, token: Token) -> None:
    value = secrets.token_bytes(32)
    put(token, "ring", value)
    FileMasterKey.create(directory / "keys/second.key")
    for new in (
        Generation(0x32, file="keys/second.key", added_at=ADDED),
        Generation(0x40, token=in_token(soft, "ring"), added_at=ADDED),
    ):
        masterkeys.add(directory, FIRST, RING, new)
    ring = KeyRing.open(directory, FIRST, RING)
    keys = {name: FileMasterKey.load(directory / f"keys/{name}.key") for name in ("master", "second")} | {
        "ring": FileMasterKey(value)
    }
    for version, name in (
        (1, "master"), (0x31, "master"), (0x32, "second"), (0x3F, "second"), (0x40, "ring"), (127, "ring"),
    ):  # fmt: skip
        expected = card_keys(keys[name], PROCEDURE, version, DATA)
        assert await ring.static_keys(PROCEDURE, version, DATA) == expected
    assert [one.generation.from_version for one in ring.live] == [1, 0x32, 0x40]
    assert len({one.check_value for one in ring.live}) == 3
    assert "cards" in ring.live[2].generation.place
    ring.close()


def test_a_generation_comes_after_the_others(directory: Path) -> None:
    FileMasterKey.create(directory / "keys/second.key")
    second = Generation(0x32, file="keys/second.key")
    masterkeys.add(directory, FIRST, RING, second)
    before = (directory / RING).read_bytes()
    for version in (1, 0x31, 0x32):
        with pytest.raises(AlreadyThere, match="above version 50"):
            masterkeys.add(directory, FIRST, RING, replace_version(second, version))
    with pytest.raises(ConfigError, match="No such file"):
        masterkeys.add(directory, FIRST, RING, Generation(0x33, file="keys/none.key"))
    assert (directory / RING).read_bytes() == before
    assert (directory / RING).stat().st_mode & 0o777 == 0o600


def replace_version(generation: Generation, version: int) -> Generation:
    import msgspec

    return msgspec.structs.replace(generation, from_version=version)


def test_a_ring_from_version_1_needs_no_master_key_file(directory: Path, soft: SoftToken, token: Token) -> None:
    token.generate("alone")
    masterkeys.add(directory, FIRST, RING, Generation(1, token=in_token(soft, "alone")))
    (directory / FIRST).unlink()
    ring = KeyRing.open(directory, FIRST, RING)
    assert [one.generation.place for one in ring.live] == ["token cards, key alone"]
    ring.close()


def test_another_key_in_the_same_place_is_noticed(directory: Path) -> None:
    FileMasterKey.create(directory / "keys/second.key")
    masterkeys.add(directory, FIRST, RING, Generation(0x32, file="keys/second.key"))
    KeyRing.open(directory, FIRST, RING).close()
    (directory / "keys/second.key").unlink()
    FileMasterKey.create(directory / "keys/second.key")
    with pytest.raises(ConfigError, match="not the key that was added"):
        KeyRing.open(directory, FIRST, RING)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("generation = 1", "array"),
        ("[[generation]]\nfrom_version = 0\nfile = 'x'", "from_version"),
        ("[[generation]]\nfrom_version = 128\nfile = 'x'", "from_version"),
        ("[[generation]]\nfrom_version = 2", "either file or token"),
        ("[[generation]]\nfrom_version = 2\nfile = 'x'\nelse = 1", "unknown field"),
        ("[[generation]]\nfrom_version = 2\nfile = 'x'\n" * 2, "same version"),
        ("junk", "ring.toml"),
    ],
)
def test_a_ring_that_is_broken_is_named(directory: Path, text: str, says: str) -> None:
    (directory / RING).write_text(text)
    with pytest.raises(ConfigError, match=says):
        KeyRing.open(directory, FIRST, RING)


def test_a_pin_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    with pytest.raises(ConfigError, match="No such file"):
        read_pin(path)
    path.write_text("4711\n")
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="owner only"):
        read_pin(path)
    path.chmod(0o600)
    assert read_pin(path) == "4711"
    path.write_text("\n")
    with pytest.raises(ConfigError, match="no PIN"):
        read_pin(path)
