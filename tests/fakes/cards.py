"""Simulated cards without a reader: issued in this process, reached by a plain call."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from cardsim.card import Card
from cardsim.issue import CardKeys, issue
from cardsim.persona import load


class DirectLink:
    """A `CardLink` that is the card itself."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.sent: list[bytes] = []

    def transmit(self, command: bytes) -> bytes:
        self.sent.append(command)
        return self.card.transmit(command)

    def reset(self) -> None:
        self.card.reset()


@dataclass(frozen=True)
class MadeCard:
    """A card on the reader, and what the centre is told of it at issuance."""

    link: DirectLink
    certificate: bytes  # DER
    entry: str  # the registry's, JSON


class CardFactory:
    """Makes cards under one test authority; all have the same RSA keys, for those take the time."""

    def __init__(self, authority: Path, master_key: bytes) -> None:
        self._authority = authority
        self._master_key = master_key
        self._keys = CardKeys.generate()
        self._numbers: Iterator[int] = itertools.count(1)

    def make(self, now: datetime.datetime, persona: str = "locked") -> MadeCard:
        """Make a card with power, with certificates of its own."""
        issued = issue(self._authority, self._master_key, load(persona), now=now, keys=self._keys)
        card = Card(issued.memory, lambda size: next(self._numbers).to_bytes(size, "big"))
        card.power_on()
        certificate = issued.user_certificate.public_bytes(Encoding.DER)
        return MadeCard(DirectLink(card), certificate, msgspec.json.encode(issued.registry_entry).decode())
