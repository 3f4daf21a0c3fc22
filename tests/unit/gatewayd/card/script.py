"""A card that says what a test wants, command by command."""

from __future__ import annotations

from collections.abc import Mapping

from gatewayd.errors import LinkError

OK = "9000"
SELECT = "00A4040C0AD392F000260100000001"
LABEL = "00B0860020"
FLAGS = "00B0880003"
QUERY_USER_PIN = "00200098"
QUERY_SIGNING_PASSWORD = "0020009B"
READ_FIRST = "00B08A0000"
VERIFY_1357 = "002000980431333537"
SIGN_HEADER = "002A0097"

TOKEN = b"JPKIAPICCTOKEN2".ljust(32).hex()
CERTIFICATE = bytes.fromhex("30820629") + bytes(number % 251 for number in range(0x629))  # 1,581 bytes

Answer = str | LinkError


class ScriptedCard:
    """Answers by the longest key that begins the command, in hex; everything else is 6D00. "RESET" is the reset."""

    def __init__(self, answers: Mapping[str, Answer] | None = None, *, certificate: bytes = CERTIFICATE) -> None:
        self.sent: list[str] = []
        self._certificate = certificate
        self._answers: dict[str, Answer] = {
            SELECT: OK,
            LABEL: TOKEN + OK,
            FLAGS: "8F8F00" + OK,
            QUERY_USER_PIN: "63C3",
            QUERY_SIGNING_PASSWORD: "63C0",
            VERIFY_1357: OK,
            SIGN_HEADER: "5A" * 256 + OK,
            **(answers or {}),
        }

    def transmit(self, command: bytes) -> bytes:
        said = command.hex().upper()
        self.sent.append(said)
        matching = [key for key in self._answers if said.startswith(key)]
        if matching:
            return self._say(self._answers[max(matching, key=len)])
        if said.startswith("00B0"):
            return self._read(command)
        return bytes.fromhex("6D00")

    def reset(self) -> None:
        self.sent.append("RESET")
        self._say(self._answers.get("RESET", OK))

    def _say(self, answer: Answer) -> bytes:
        if isinstance(answer, LinkError):
            raise answer
        return bytes.fromhex(answer)

    def _read(self, command: bytes) -> bytes:
        """READ BINARY of the certificate, in a file that ends with it."""
        offset = 0 if command[2] & 0x80 else int.from_bytes(command[2:4])
        return self._certificate[offset : offset + (command[4] or 256)] + b"\x90\x00"
