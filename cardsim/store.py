"""A card's memory as a file: card.json, mode 0600, replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from cardsim.memory import (
    Application,
    ChannelMemory,
    ElementaryFile,
    Habits,
    KeyFile,
    Memory,
    OpaqueFile,
    Reference,
    ReferenceFile,
    ReferenceName,
    TransparentFile,
)
from cardsim.scp03 import StaticKeys

FORMAT = 1


class StoreError(Exception):
    """The file is not a card."""


class StoredFile(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One elementary file: `content` in hex, `key` in PEM, `reference` with `value` and `tries`, or `opaque`."""

    content: str | None = None
    key: str | None = None
    guard: ReferenceName | None = None
    reference: ReferenceName | None = None
    value: str | None = None
    tries: int | None = None
    opaque: bool = False


class StoredApplication(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One application: identifier in hex, files by file id in hex."""

    name: str
    aid: str
    files: dict[str, StoredFile]


class StoredKeys(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One key version of the secure channel, in hex."""

    enc: str
    mac: str


class StoredChannel(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The secure channel's share of the memory; keys by version in decimal."""

    diversification_data: str
    keys: dict[int, StoredKeys]
    failures: int


class StoredHabits(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """See `memory.Habits`."""

    answer_seconds: float = 0.0
    mute: bool = False


class StoredCard(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The whole file."""

    format: int
    applications: list[StoredApplication]
    channel: StoredChannel
    habits: StoredHabits | None = None


def save(memory: Memory, path: Path, *, exclusive: bool = False) -> None:
    """Write the card; a reader sees the old file or the new one, never a part.

    Raises FileExistsError when `exclusive` and the file is there already.
    """
    text = msgspec.json.format(msgspec.json.encode(_store(memory)), indent=1) + b"\n"
    target = path if exclusive else path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if exclusive else os.O_TRUNC)
    with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
        file.write(text)
    if not exclusive:
        target.replace(path)


def load(path: Path) -> Memory:
    """Read a card. Raises StoreError."""
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=StoredCard)
        if stored.format != FORMAT:
            raise StoreError(f"{path}: format {stored.format} is not {FORMAT}")
        return _restore(stored)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"{path}: {error}") from error


def _store(memory: Memory) -> StoredCard:
    habits = memory.habits
    return StoredCard(
        format=FORMAT,
        applications=[
            StoredApplication(
                name=each.name,
                aid=each.aid.hex().upper(),
                files={f"{fid:04X}": _store_file(file) for fid, file in each.files.items()},
            )
            for each in memory.applications
        ],
        channel=StoredChannel(
            diversification_data=memory.channel.diversification_data.hex(),
            keys={
                version: StoredKeys(enc=keys.enc.hex(), mac=keys.mac.hex())
                for version, keys in memory.channel.keys.items()
            },
            failures=memory.channel.failures,
        ),
        habits=None if habits == Habits() else StoredHabits(answer_seconds=habits.answer_seconds, mute=habits.mute),
    )


def _store_file(file: ElementaryFile) -> StoredFile:
    if isinstance(file, TransparentFile):
        return StoredFile(content=file.content.hex(), guard=file.guard)
    if isinstance(file, KeyFile):
        return StoredFile(key=_pem(file.key), guard=file.guard)
    if isinstance(file, OpaqueFile):
        return StoredFile(opaque=True)
    reference = file.reference
    return StoredFile(reference=reference.name, value=reference.value.decode("ascii"), tries=reference.tries)


def _pem(key: RSAPrivateKey) -> str:
    encoding, layout = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, layout, serialization.NoEncryption()).decode("ascii")


def _restore(stored: StoredCard) -> Memory:
    applications = tuple(
        Application(
            each.name, bytes.fromhex(each.aid), {int(fid, 16): _restore_file(f) for fid, f in each.files.items()}
        )
        for each in stored.applications
    )
    channel = ChannelMemory(
        diversification_data=bytes.fromhex(stored.channel.diversification_data),
        keys={
            version: StaticKeys(enc=bytes.fromhex(keys.enc), mac=bytes.fromhex(keys.mac))
            for version, keys in stored.channel.keys.items()
        },
        failures=stored.channel.failures,
    )
    habits = stored.habits or StoredHabits()
    return Memory(applications, channel, Habits(habits.answer_seconds, habits.mute))


def _restore_file(stored: StoredFile) -> ElementaryFile:
    if stored.content is not None:
        return TransparentFile(bytes.fromhex(stored.content), stored.guard)
    if stored.opaque:
        return OpaqueFile()
    if stored.reference is not None and stored.value is not None and stored.tries is not None:
        return ReferenceFile(Reference(stored.reference, stored.value.encode("ascii"), stored.tries))
    if stored.key is None or stored.guard is None:
        raise StoreError("an elementary file has neither content nor key nor reference")
    # The simulator wrote this key itself; to check its primes at every start costs more than all the rest of it.
    key = serialization.load_pem_private_key(stored.key.encode("ascii"), None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, RSAPrivateKey):
        raise StoreError("a private key is not RSA")
    return KeyFile(key, stored.guard)
