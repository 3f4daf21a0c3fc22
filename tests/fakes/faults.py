"""What can go wrong between a reader and a card, in words that the fake reader and the virtual slot share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class SimulatedCard(Protocol):
    """What lies on the reader; `cardsim.card.Card` is one."""

    def power_on(self) -> bytes: ...

    def power_off(self) -> None: ...

    def reset(self) -> None: ...

    def transmit(self, apdu: bytes, /) -> bytes: ...


class Fault(Enum):
    """What happens to one command. BEFORE and AFTER: whether the card has executed it."""

    TORN_BEFORE = "torn_before"  # lifted: the card never saw it
    TORN_AFTER = "torn_after"  # lifted: the card has executed it, the answer is lost
    SLIPPED_AFTER = "slipped_after"  # as TORN_AFTER, but back so fast that PC/SC never missed the card
    SERVICE_LOST_BEFORE = "service_lost_before"  # pcscd dies
    SERVICE_LOST_AFTER = "service_lost_after"
    MUTE_AFTER = "mute_after"  # executed, and no answer until `answer`, or until the card is lifted


@dataclass(frozen=True, slots=True)
class Exchange:
    """One command that reached the card; no answer when it was lost."""

    command: bytes
    answer: bytes | None
