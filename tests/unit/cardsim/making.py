"""What the cards of these tests have in common, and the commands sent to them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace

from cardsim.card import Card
from cardsim.issue import Issued
from cardsim.memory import Application, ElementaryFile, Memory, ReferenceFile
from cardsim.persona import Persona

NOW = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.UTC)
MASTER_KEY = bytes(range(32))
DIVERSIFICATION = bytes.fromhex("00112233445566778899")

MakeCard = Callable[..., Card]
IssueCard = Callable[[Persona], Issued]

SELECT_JPKI = "00A4040C0AD392F000260100000001"
SELECT_RESIDENT_REGISTER = "00A4040C0AD3921000310001010401"
SELECT_TEXT_INPUT = "00A4040C0AD3921000310001010408"
QUERY_USER_PIN = "00200098"
QUERY_SIGNING_PASSWORD = "0020009B"
USER_PIN = b"1357"
SIGNING_PASSWORD = b"OLDPASS1"


def verify(p2: str, value: bytes) -> str:
    """Return VERIFY as hex."""
    return f"002000{p2}{len(value):02X}{value.hex()}"


def send(card: Card, *apdus: str) -> str:
    """Send commands given in hex, and return the last answer in upper-case hex."""
    answer = b""
    for apdu in apdus:
        answer = card.transmit(bytes.fromhex(apdu))
    return answer.hex().upper()


def copy(memory: Memory) -> Memory:
    """Return a memory of its own with the same content; the RSA keys, which never change, are shared."""

    def copied(file: ElementaryFile) -> ElementaryFile:
        return ReferenceFile(replace(file.reference)) if isinstance(file, ReferenceFile) else file

    applications = tuple(
        Application(each.name, each.aid, {fid: copied(file) for fid, file in each.files.items()})
        for each in memory.applications
    )
    return Memory(applications, replace(memory.channel), memory.habits)
