"""What the session needs of the journal. `store.py` is the real one; the tests have one fake, under the same contract.

Every method returns only when its effect is durable (synced), and raises JournalUnavailable when it cannot be.
A step that would go back (a second outcome, a result for a write that was never intended) raises ValueError.
Names of outcomes and reasons are those of the gateway proto without prefix, in lower case.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt as the journal knows it."""

    attempt_id: str
    procedure: str
    started_at: datetime.datetime
    ended_at: datetime.datetime | None
    outcome: str | None  # "done", "not_done", "unknown"; None while it runs
    reason: str | None  # None while it runs, and with "done"
    resolution: str | None  # what the centre learnt later: "done", "not_done", "closed_unknown"


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """A message to the centre that has not been acknowledged. `kind` is "report" or "release"."""

    item_id: int  # grows; delivered in this order within an attempt
    attempt_id: str
    kind: str
    n: int = 0  # report: 1-3
    outcome: str = ""  # report: "done", "not_done", "unknown"
    chaining_value: bytes = field(default=b"", repr=False)  # report of done: 16 bytes
    r_mac: bytes = field(default=b"", repr=False)  # report of done: 8 bytes
    status_word: int = 0  # report of not_done
    queued_at: datetime.datetime | None = None
    rejected: str = ""  # the status code with which the centre refused it for good; "" while it may be sent


@dataclass(frozen=True, slots=True)
class TimelineRecord:
    """One durable step of an attempt."""

    at: datetime.datetime
    event: str  # accepted, begun, doubted, authorizing, intended, result, finished, acknowledged, rejected, resolved
    n: int  # write number, 1-3; 0 when it concerns no write
    detail: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a restart found unfinished and closed."""

    attempt_id: str
    outcome: str  # "unknown" when a write had been intended and had no result, else "not_done"


class JournalPort(Protocol):
    """The journal."""

    async def accept(self, attempt_id: str, procedure: str) -> bool:
        """Record a new attempt; False when the id is known already (nothing is changed then)."""
        ...

    async def begun(self, attempt_id: str) -> None:
        """Record that the centre is about to hear this id: from now on an ending without a report is released."""
        ...

    async def doubted(self, attempt_id: str) -> None:
        """Record that the centre said in_doubt: from now on no ending without a receipt is "not done"."""
        ...

    async def authorizing(self, attempt_id: str, n: int) -> None:
        """Record that write n is about to be asked for."""
        ...

    async def intend(self, attempt_id: str, n: int) -> None:
        """Record that write n is about to be handed to the card."""
        ...

    async def result(
        self,
        attempt_id: str,
        n: int,
        outcome: str,
        *,
        chaining_value: bytes = b"",
        r_mac: bytes = b"",
        status_word: int = 0,
    ) -> OutboxItem:
        """Record what became of write n and queue its report, in one commit; return the queued report."""
        ...

    async def finish(self, attempt_id: str, outcome: str, reason: str | None) -> None:
        """Record the attempt's outcome and queue its release, where one is due, in one commit.

        A write that was handed to the card and has no result becomes unknown, and is reported so; with "not_done" that
        is a ValueError, as is every outcome that contradicts the writes, their receipts' verdicts or a doubt.
        """
        ...

    async def recover(self) -> list[Recovered]:
        """Close what a stop left unfinished: intent without result is unknown (reported so), all else is released."""
        ...

    async def attempt(self, attempt_id: str) -> AttemptRecord | None:
        """Return an attempt, or None."""
        ...

    async def attempts(self, *, unresolved_only: bool, limit: int, before: str | None) -> list[AttemptRecord]:
        """Return at most `limit` attempts, newest first: those before the one of this id, or from the newest on."""
        ...

    async def timeline(self, attempt_id: str) -> list[TimelineRecord]:
        """Return what happened to an attempt, oldest first; nothing for an id that is not known."""
        ...

    async def unresolved(self) -> list[AttemptRecord]:
        """Return the attempts whose outcome is unknown and unresolved, oldest first."""
        ...

    async def resolve(self, attempt_id: str, resolution: str) -> None:
        """Record what the centre learnt of an unknown attempt: once, but "done" (a receipt that came late) always."""
        ...

    async def pending(self) -> list[OutboxItem]:
        """Return what the centre has not acknowledged, oldest first; what it has rejected is marked and stays."""
        ...

    async def acknowledged(self, item_id: int, verdict: str = "") -> None:
        """Drop an item from the outbox: the centre has recorded it. Its receipt is erased, in the log a moment later.

        `verdict` is what the centre made of the receipt of a report of *done*: "valid" resolves an attempt that ended
        unknown; "invalid" makes one that was told done unknown again. All of it in one commit.
        """
        ...

    async def rejected(self, item_id: int, code: str) -> None:
        """Mark an item that the centre will never take; it is not sent again, and people see it.

        A receipt among it is as good as one with an invalid verdict.
        """
        ...

    async def probe(self) -> None:
        """Prove that the journal can be written durably."""
        ...

    async def close(self) -> None:
        """Close the file."""
        ...
