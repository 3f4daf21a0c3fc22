"""The master keys that are live at once, one for each generation, and which key versions of cards each one made.

A card keeps for life the keys it was issued with. So the registry says which key version a card has, and the ring which
generation made that version: the last one whose `from_version` is not above it. Rotation adds a generation from a
version no card has yet; cards issued from then on have that version, and all others go on as before. Generation 1 is
`keys.master` of the configuration, unless the ring has one from version 1.
"""

from __future__ import annotations

import datetime
import json
import tomllib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import msgspec

from centrald import files
from centrald.cardkeys import FileMasterKey, MasterKey, StaticKeys, derivation
from centrald.errors import AlreadyThere, ConfigError
from centrald.hsm import Token, TokenKey, read_pin
from centrald.rules.model import Procedure

FIRST_VERSION, LAST_VERSION = 1, 127  # GPC_SPE_014 7.1.1.3: P1, key version number
_CHECK_MESSAGE = bytes(16)  # no derivation begins with zero
_CHECK_BYTES = 3


class CardKeys(Protocol):
    """Where the keys of a card come from."""

    async def static_keys(self, procedure: Procedure, key_version: int, diversification_data: bytes) -> StaticKeys:
        """Derive the keys of one card (10 bytes of data); raises KeysUnavailable."""
        ...


class TokenPlace(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A key in a PKCS #11 token."""

    module: str  # the token's PKCS #11 library
    token: str  # label
    key: str  # label
    pin: str  # file, relative to the service's directory, mode 0600


class Generation(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """One master key: in a file (relative to the service's directory), or in a token."""

    from_version: Annotated[int, msgspec.Meta(ge=FIRST_VERSION, le=LAST_VERSION)]
    file: str | None = None
    token: TokenPlace | None = None
    check_value: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{6}$")] | None = None  # another key is refused
    added_at: datetime.datetime | None = None

    @property
    def place(self) -> str:
        """Where the key is, for people."""
        if self.token is not None:
            return f"token {self.token.token}, key {self.token.key}"
        return f"file {self.file}"


class _Ring(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    generation: tuple[Generation, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A generation and its key, opened."""

    generation: Generation
    key: FileMasterKey | TokenKey

    @property
    def check_value(self) -> str:
        """Six hexadecimal digits by which people tell keys apart; they say nothing about the key itself."""
        return check_value(self.key)


class KeyRing:
    """Every generation's key, opened. See `CardKeys`."""

    def __init__(self, live: list[LiveKey], tokens: list[Token]) -> None:
        self.live = live
        self._from = [one.generation.from_version for one in live]
        self._tokens = tokens

    @classmethod
    def open(cls, directory: Path, first: str, ring: str) -> KeyRing:
        """Open every key; raises ConfigError when one is missing, open to others, or not the one that was added."""
        tokens: dict[tuple[str, str], Token] = {}
        try:
            live = [_live(directory, generation, tokens) for generation in generations(directory, first, ring)]
        except BaseException:
            _close(tokens.values())
            raise
        return cls(live, list(tokens.values()))

    def of(self, key_version: int) -> LiveKey:
        """Return the generation that made this key version (1-127)."""
        return self.live[max(0, bisect_right(self._from, key_version) - 1)]

    async def static_keys(self, procedure: Procedure, key_version: int, diversification_data: bytes) -> StaticKeys:
        """See `CardKeys`."""
        key = self.of(key_version).key
        messages = derivation(procedure, key_version, diversification_data)
        if isinstance(key, TokenKey):
            enc, mac = await key.cmac_all(messages)
        else:
            enc, mac = map(key.cmac, messages)
        return StaticKeys(enc=enc, mac=mac)

    def close(self) -> None:
        """End the sessions with the tokens."""
        _close(self._tokens)


def generations(directory: Path, first: str, ring: str) -> list[Generation]:
    """Read which generations there are, in order of their versions; raises ConfigError."""
    path = directory / ring
    try:
        added = list(msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Ring).generation)
    except FileNotFoundError:
        added = []
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from None
    for one in added:
        if (one.file is None) == (one.token is None):
            raise ConfigError(f"{path}: generation from version {one.from_version}: either file or token")
    if not any(one.from_version == FIRST_VERSION for one in added):
        added.append(Generation(FIRST_VERSION, file=first))
    added.sort(key=lambda one: one.from_version)
    if len({one.from_version for one in added}) != len(added):
        raise ConfigError(f"{path}: two generations from the same version")
    return added


def add(directory: Path, first: str, ring: str, new: Generation) -> Generation:
    """Open the key of a new generation and write it into the ring; raises AlreadyThere, ConfigError.

    Its versions come after those of every other generation. From version 1 it takes the place of `keys.master`.
    """
    path = directory / ring
    refuse_unless_next(directory, first, ring, new.from_version)
    tokens: dict[tuple[str, str], Token] = {}
    try:
        new = _with_check_value(new, check_value(_open(directory, new, tokens)))
    finally:
        _close(tokens.values())
    before = path.read_text(encoding="utf-8") if path.exists() else _HEAD
    files.replace(path, (before + _text(new)).encode())
    generations(directory, first, ring)
    return new


def refuse_unless_next(directory: Path, first: str, ring: str, from_version: int) -> None:
    """Raise AlreadyThere unless a new generation may begin at this version: above all others, or as the very first."""
    newest = generations(directory, first, ring)[-1].from_version
    if from_version <= newest and not (from_version == FIRST_VERSION and not (directory / ring).exists()):
        raise AlreadyThere(f"a new generation begins above version {newest}, where the last one begins")


def generate(directory: Path, new: Generation) -> None:
    """Make the key of a generation in its place; raises AlreadyThere, ConfigError."""
    place = new.token
    if place is None:
        assert new.file is not None
        FileMasterKey.create(directory / new.file)
        return
    token = Token(place.module, place.token, read_pin(directory / place.pin))
    try:
        token.generate(place.key)
    finally:
        token.close()


def check_value(key: MasterKey) -> str:
    """Return a key's check value: three bytes of its AES-CMAC over zeros, in hexadecimal."""
    return key.cmac(_CHECK_MESSAGE)[:_CHECK_BYTES].hex()


_HEAD = "# Master keys of the cards; `centrald keys add` writes here. Each makes the key versions from its own on.\n"


def _with_check_value(generation: Generation, value: str) -> Generation:
    return msgspec.structs.replace(generation, check_value=value)


def _text(generation: Generation) -> str:
    lines = ["", "[[generation]]"]
    for name, value in msgspec.to_builtins(generation, builtin_types=(datetime.datetime,)).items():
        if isinstance(value, dict):
            inner = ", ".join(f"{key} = {json.dumps(one)}" for key, one in value.items())
            lines.append(f"{name} = {{ {inner} }}")
        elif isinstance(value, datetime.datetime):
            lines.append(f"{name} = {value.isoformat(timespec='seconds')}")
        else:
            lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def _live(directory: Path, generation: Generation, tokens: dict[tuple[str, str], Token]) -> LiveKey:
    opened = LiveKey(generation, _open(directory, generation, tokens))
    if generation.check_value not in (None, opened.check_value):
        raise ConfigError(f"{generation.place} is not the key that was added to the ring")
    return opened


def _open(directory: Path, generation: Generation, tokens: dict[tuple[str, str], Token]) -> FileMasterKey | TokenKey:
    place = generation.token
    if place is None:
        assert generation.file is not None
        return FileMasterKey.load(directory / generation.file)
    name = (place.module, place.token)
    if name not in tokens:
        tokens[name] = Token(place.module, place.token, read_pin(directory / place.pin))
    return tokens[name].key(place.key)


def _close(tokens: Iterable[Token]) -> None:
    for token in tokens:
        token.close()
