"""The type of every secret in the daemon: PIN, password, session keys."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Bytes without a readable form, wiped on request.

    CPython cannot promise that no copy is left: the message a secret arrived in, and the list the PC/SC binding
    wants, are out of reach. This type keeps one copy, shortens its life and keeps it out of every text.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytearray(value)

    def reveal(self) -> bytes:
        """Return the bytes, for the one call that needs them. Raises ValueError after `wipe`."""
        if not self._value:
            raise ValueError("the secret has been wiped")
        return bytes(self._value)

    def wipe(self) -> None:
        """Overwrite and drop the bytes; harmless when repeated."""
        for index in range(len(self._value)):
            self._value[index] = 0
        self._value.clear()

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("secrets are not compared")

    def __hash__(self) -> NoReturn:
        raise TypeError("secrets are not hashed")

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not copied or pickled")
