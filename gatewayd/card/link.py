"""The one thing a job needs: bytes to the card, bytes back. And how operators get to see it without its content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gatewayd.card.apdu import HEADER_LENGTH, STATUS_LENGTH
from gatewayd.errors import LinkError

OTHER_COMMAND = "other"
_VERIFY_QUERY = "verify_query"
_COMMANDS = {  # INS, ISO/IEC 7816-4:2013, 11, and GPC_SPE_034 chapter 11
    0x20: "verify",
    0x2A: "sign",
    0x2C: "reset_retry_counter",
    0x50: "initialize_update",
    0x82: "external_authenticate",
    0xA4: "select",
    0xB0: "read_binary",
}
_INS_OFFSET = 1
COMMAND_NAMES = frozenset({*_COMMANDS.values(), _VERIFY_QUERY, OTHER_COMMAND})


class CardLink(Protocol):
    """A connected card. Both calls block and raise LinkError."""

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU and return the answer, status word included.

        DeadlineExceeded and LinkEnded say that nothing was sent; after any other LinkError the card may have executed
        the command.
        """
        ...

    def reset(self) -> None:
        """Reset the card: every security state is gone."""
        ...


class Observe(Protocol):
    """Takes what may be known of one exchange; the status word is None when no usable answer came."""

    def __call__(  # noqa: D102 - the class says it
        self, name: str, seconds: float, header: str, sent: int, received: int, status_word: int | None, /
    ) -> None: ...


def command_name(command: bytes) -> str:
    """Return a name out of `COMMAND_NAMES` for an encoded command; never raises."""
    if len(command) < HEADER_LENGTH:
        return OTHER_COMMAND
    name = _COMMANDS.get(command[_INS_OFFSET], OTHER_COMMAND)
    return _VERIFY_QUERY if name == "verify" and len(command) == HEADER_LENGTH else name


def observed(link: CardLink, observe: Observe, monotonic: Callable[[], float]) -> CardLink:
    """Return the link with every exchange reported, whatever its CLA, by header, lengths and status word only."""
    return _ObservedLink(link, observe, monotonic)


class _ObservedLink:
    def __init__(self, link: CardLink, observe: Observe, monotonic: Callable[[], float]) -> None:
        self._link = link
        self._observe = observe
        self._monotonic = monotonic

    def transmit(self, command: bytes) -> bytes:
        begun = self._monotonic()
        answer = b""
        try:
            answer = self._link.transmit(command)
        except LinkError:
            self._report(command, answer, begun)
            raise
        self._report(command, answer, begun)
        return answer

    def reset(self) -> None:
        self._link.reset()

    def _report(self, command: bytes, answer: bytes, begun: float) -> None:
        status_word = int.from_bytes(answer[-STATUS_LENGTH:]) if len(answer) >= STATUS_LENGTH else None
        seconds = self._monotonic() - begun
        header = command[:HEADER_LENGTH].hex()
        self._observe(command_name(command), seconds, header, len(command), len(answer), status_word)
