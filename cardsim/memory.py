"""What a card keeps without power: its applications with their files, its reference data, its channel keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.constant_time import bytes_eq

from cardsim.scp03 import StaticKeys

JPKI_AID = bytes.fromhex("D392F000260100000001")  # as OpenSC's card-jpki.c and jpki/myna select it
RESIDENT_REGISTER_AID = bytes.fromhex("D3921000310001010401")  # 住基AP
TEXT_INPUT_AID = bytes.fromhex("D3921000310001010408")  # 券面事項入力補助AP
ISSUER_DOMAIN_AID = bytes.fromhex("A0000001510000")  # GlobalPlatform issuer security domain

EF_SIGNING_CERTIFICATE = 0x0001
EF_SIGNING_AUTHORITY = 0x0002
EF_TOKEN_INFO = 0x0006
EF_FLAGS = 0x0008
EF_USER_CERTIFICATE = 0x000A
EF_USER_AUTHORITY = 0x000B
EF_INSTITUTION_KEY = 0x0016  # 特定機関認証
EF_USER_KEY = 0x0017
EF_USER_PIN = 0x0018
EF_SIGNING_KEY = 0x001A
EF_SIGNING_PASSWORD = 0x001B
EF_TEXT_INPUT_PIN = 0x0011
EF_RESIDENT_REGISTER_PIN = 0x001C


class ReferenceName(StrEnum):
    """The four secrets of a citizen."""

    SIGNING_PASSWORD = "signing_password"  # noqa: S105 - a name
    USER_PIN = "user_pin"
    JUKI_PIN = "juki_pin"
    TEXT_INPUT_PIN = "text_input_pin"


FOUR_DIGITS = re.compile(rb"[0-9]{4}")
SIGNING_PASSWORD_VALUE = re.compile(rb"[A-Z0-9]{6,16}")  # what the card checks; the mix is the terminal's business

TRIES: Mapping[ReferenceName, int] = {
    ReferenceName.SIGNING_PASSWORD: 5,
    ReferenceName.USER_PIN: 3,
    ReferenceName.JUKI_PIN: 3,
    ReferenceName.TEXT_INPUT_PIN: 3,
}


@dataclass(slots=True)
class Reference:
    """One reference datum: its value (ASCII, no padding) and its retry counter."""

    name: ReferenceName
    value: bytes = field(repr=False)
    tries: int

    @property
    def limit(self) -> int:
        """What a full counter reads."""
        return TRIES[self.name]

    def verify(self, value: bytes) -> bool:
        """Compare once. A right value fills the counter, a wrong one costs a try; call only while tries are left."""
        if bytes_eq(self.value, value):
            self.tries = self.limit
            return True
        self.tries -= 1
        return False

    def permits(self, value: bytes) -> bool:
        """Whether the card takes this as a new value."""
        pattern = SIGNING_PASSWORD_VALUE if self.name is ReferenceName.SIGNING_PASSWORD else FOUR_DIGITS
        return pattern.fullmatch(value) is not None

    def replace(self, value: bytes) -> None:
        """Store a permitted new value and fill the counter."""
        self.value = value
        self.tries = self.limit


@dataclass(frozen=True, slots=True)
class TransparentFile:
    """An EF of bytes, at its physical size; readable when its guard is verified, or always."""

    content: bytes
    guard: ReferenceName | None = None


@dataclass(frozen=True, slots=True)
class ReferenceFile:
    """An EF that holds a reference datum."""

    reference: Reference


@dataclass(frozen=True, slots=True, repr=False)
class KeyFile:
    """An EF that holds an RSA-2048 private key, usable when its guard is verified."""

    key: RSAPrivateKey
    guard: ReferenceName


@dataclass(frozen=True, slots=True)
class OpaqueFile:
    """An EF that can be selected and named in a command, and gives nothing away."""


ElementaryFile = TransparentFile | ReferenceFile | KeyFile | OpaqueFile


@dataclass(frozen=True, slots=True)
class Application:
    """A dedicated file: name, application identifier and elementary files by file id."""

    name: str
    aid: bytes
    files: Mapping[int, ElementaryFile] = field(default_factory=dict)

    def by_short_id(self, short_id: int) -> int | None:
        """Return the file id whose low five bits are this short EF identifier."""
        return next((fid for fid in self.files if fid & 0x1F == short_id), None)  # ISO/IEC 7816-4:2020, 7.2.2


@dataclass(slots=True, repr=False)
class ChannelMemory:
    """The secure channel's share: diversification data (10 bytes), keys by version, wrong cryptograms in a row."""

    diversification_data: bytes
    keys: Mapping[int, StaticKeys]
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Habits:
    """How this chip behaves: the seconds each answer takes on top, and whether it answers any command at all."""

    answer_seconds: float = 0.0
    mute: bool = False


@dataclass(slots=True)
class Memory:
    """All of it. The first application is the one selected at power-up."""

    applications: tuple[Application, ...]
    channel: ChannelMemory
    habits: Habits = Habits()

    def application_by_name(self, aid: bytes) -> Application | None:
        """Return the first application whose identifier starts with these bytes (ISO/IEC 7816-4:2020, 11.2.2)."""
        return next((each for each in self.applications if aid and each.aid.startswith(aid)), None)

    def references(self) -> Iterator[Reference]:
        """Yield every reference datum, in file order."""
        for application in self.applications:
            for file in application.files.values():
                if isinstance(file, ReferenceFile):
                    yield file.reference

    def reference(self, name: ReferenceName) -> Reference:
        """Return one reference datum. Raises KeyError when the card has none of this name."""
        for reference in self.references():
            if reference.name is name:
                return reference
        raise KeyError(name)

    def mutable_state(self) -> tuple[object, ...]:
        """Return a value that differs whenever anything that survives power loss has changed."""
        return (*((each.name, each.value, each.tries) for each in self.references()), self.channel.failures)


RandomBytes = Callable[[int], bytes]
