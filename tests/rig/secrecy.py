"""Looks for a citizen's secrets where none may be: in every file a stack wrote, the cards' own memory excepted."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PASSWORD_LENGTH = 16  # long enough never to occur by chance
VERIFY_HEADERS = (bytes.fromhex("0020008004"), bytes.fromhex("0020009804"))  # of the selected EF, and by short id
CARD_MEMORY = "cards"


@dataclass
class Planted:
    """Secrets used in one test, and the forms they would be found in."""

    passwords: list[str] = field(default_factory=list)
    pins: list[str] = field(default_factory=list)

    def forms(self) -> Iterator[bytes]:
        """Yield what to look for: a password in any form, a PIN only in a context that makes it one."""
        for password in self.passwords:
            assert len(password) == PASSWORD_LENGTH, "a shorter one could be found by chance"
            yield from _encodings(password.encode())
            yield from _encodings(password.lower().encode())
        for pin in self.pins:
            value = pin.encode()
            for header in VERIFY_HEADERS:
                yield from _encodings(header + value)
            yield bytes([0x0A, len(value)]) + value  # protobuf: field 1, length-delimited
            yield b'"%b"' % value  # JSON
            yield b"'%b'" % value  # Python
            yield f'"{base64.b64encode(value).decode()}"'.encode()  # protobuf's JSON
            yield ", ".join(str(byte) for byte in value).encode()

    def found(self, directory: Path, texts: dict[str, str] | None = None) -> list[str]:
        """Return where any of it is, and in which form's number; empty is good."""
        forms = list(self.forms())
        contents = {name: text.encode() for name, text in (texts or {}).items()}
        for path in sorted(directory.rglob("*")):
            name = path.relative_to(directory)
            if path.is_file() and name.parts[0] != CARD_MEMORY:
                contents[str(name)] = path.read_bytes()
        return [
            f"{name} (form {n})"
            for name, content in contents.items()
            for n, form in enumerate(forms)
            if form in content
        ]


def _encodings(value: bytes) -> Iterator[bytes]:
    yield value
    yield value.decode("latin-1").encode("utf-16-le")
    for separator in ("", " ", ":"):
        yield value.hex(separator).encode() if separator else value.hex().encode()
        yield (value.hex(separator) if separator else value.hex()).upper().encode()
    for shift in range(3):  # base64 wherever it begins inside a longer text: the bytes both neighbours leave alone
        encoded = base64.b64encode(b"\0" * shift + value)
        yield encoded[(shift * 8 + 5) // 6 : (shift + len(value)) * 8 // 6]
    yield ", ".join(str(byte) for byte in value).encode()  # a list of numbers
    yield ", ".join(f"0x{byte:02x}" for byte in value).encode()
