"""Personas: whose card it is and in what condition, as TOML files."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Generic, Literal, TypeVar

import msgspec

from cardsim.memory import TRIES, Reference, ReferenceName

Value = TypeVar("Value")

DEFAULT = "locked"
MY_NUMBER_CARD_LABEL = "JPKIAPICCTOKEN2"


class PersonaError(Exception):
    """The persona does not exist, or its file does not say what it must."""


class PerReference(msgspec.Struct, Generic[Value], forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One thing for each of the four secrets."""

    signing_password: Value
    user_pin: Value
    juki_pin: Value
    text_input_pin: Value


class Holder(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The personal data of the signing certificate. Birth date: era digit and YYYYMMDD; sex: 1, 2 or 3."""

    name: str
    birth_date: str
    sex: str
    address: str


Certificate = Literal["user", "signing"]


class Persona(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A card's starting condition.

    `signing_certificate` false makes the card of a child under 15, `application` false a card that is not Japanese at
    all. `expired` and `revoked` name certificates; revocation is the centre's to record. A card that is not
    `registered` gets no entry for the centre; without `genuine_keys` its channel keys are not those of its entry.
    `answer_seconds` are added to every answer, and a `mute` card gives none.
    """

    description: str
    values: PerReference[str]
    tries: PerReference[int]
    holder: Holder
    application: bool = True
    signing_certificate: bool = True
    token_label: str = MY_NUMBER_CARD_LABEL
    expired: tuple[Certificate, ...] = ()
    revoked: tuple[Certificate, ...] = ()
    registered: bool = True
    genuine_keys: bool = True
    answer_seconds: float = 0.0
    mute: bool = False

    def reference(self, name: ReferenceName) -> Reference:
        """Return the reference datum this persona starts with."""
        return Reference(name, getattr(self.values, name).encode("ascii"), getattr(self.tries, name))

    def with_values(self, *, signing_password: str | None = None, user_pin: str | None = None) -> Persona:
        """Return the same persona with other secrets. Raises PersonaError for a value the card would not take."""
        changes = {"signing_password": signing_password, "user_pin": user_pin}
        values = msgspec.structs.replace(self.values, **{key: value for key, value in changes.items() if value})
        persona = msgspec.structs.replace(self, values=values)
        _check(persona)
        return persona


def names() -> list[str]:
    """Return the names of the personas that come with the simulator."""
    folder = importlib.resources.files("cardsim") / "personas"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load(name_or_path: str = DEFAULT) -> Persona:
    """Load a persona by name, or from a TOML file by its path. Raises PersonaError."""
    try:
        if name_or_path.endswith(".toml"):
            text = Path(name_or_path).read_bytes()
        elif name_or_path in names():
            text = (importlib.resources.files("cardsim") / "personas" / f"{name_or_path}.toml").read_bytes()
        else:
            raise PersonaError(
                f"no persona {name_or_path!r}; there are: {', '.join(names())}, or a path to a .toml file"
            )
        persona = msgspec.toml.decode(text, type=Persona)
    except (OSError, msgspec.DecodeError) as error:
        raise PersonaError(f"persona {name_or_path!r}: {error}") from error
    _check(persona)
    return persona


def _check(persona: Persona) -> None:
    for name in ReferenceName:
        try:
            reference = persona.reference(name)
        except UnicodeEncodeError as error:
            raise PersonaError(f"values.{name}: not ASCII") from error
        if not reference.permits(reference.value):
            raise PersonaError(f"values.{name}: 4 digits, or for the signing password 6-16 of A-Z and 0-9")
        if not 0 <= reference.tries <= TRIES[name]:
            raise PersonaError(f"tries.{name}: 0 to {TRIES[name]}")
