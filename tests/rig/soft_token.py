"""A PKCS #11 token in software (SoftHSM 2), in a directory of its own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
SECONDS = 20


@dataclass(frozen=True)
class SoftToken:
    """A token and its PIN."""

    label: str
    pin: str

    def drop_sessions(self) -> None:
        """End every session of this process, as a token does that is taken out and put back."""
        pkcs11.lib(MODULE).reinitialize()


def brought_in(label: str, value: bytes, *, may_leave: bool = False) -> dict[Attribute, object]:
    """Return what an AES key is in a token that comes from outside; for `Session.create_object`."""
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.VALUE: value,
        Attribute.LABEL: label,
        Attribute.TOKEN: True,
        Attribute.SIGN: True,
        Attribute.ENCRYPT: True,
        Attribute.SENSITIVE: not may_leave,
        Attribute.EXTRACTABLE: may_leave,
    }


def make(directory: Path, *labels: str) -> list[SoftToken]:
    """Make tokens, and let the library forget those it knew: it looks for them only once."""
    folder = directory / "tokens"
    folder.mkdir(parents=True)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}\nobjectstore.backend = file\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    tokens = [SoftToken(label, "4711") for label in labels]
    for token in tokens:
        command = ["softhsm2-util", "--init-token", "--free", "--label", token.label, "--pin", token.pin]
        subprocess.run([*command, "--so-pin", "0815"], check=True, capture_output=True, timeout=SECONDS)
    pkcs11.lib(MODULE).reinitialize()
    return tokens
