"""An attempt's entries, as the tests of the journal make them."""

from __future__ import annotations

from pathlib import Path

from gatewayd.clock import SystemClock
from gatewayd.journal.store import Journal

ATTEMPT = "0a6fd1b2-3d1c-4b0e-9a53-1f3c7c9f3b11"
OTHER = "5d0f5b9e-60f5-4c4c-8d5c-1b6b5f0f7d22"
CHAINING_VALUE = b"chaining-value16"
R_MAC = b"r-mac--8"


async def start(journal: Journal, attempt_id: str = ATTEMPT, *, writes: int = 0, intended: bool = True) -> None:
    assert await journal.accept(attempt_id, "signing_password")
    await journal.begun(attempt_id)
    for n in range(1, writes + 1):
        await journal.authorizing(attempt_id, n)
        if intended:
            await journal.intend(attempt_id, n)


async def done(journal: Journal, n: int = 1) -> int:
    item = await journal.result(ATTEMPT, n, "done", chaining_value=CHAINING_VALUE, r_mac=R_MAC, status_word=0x9000)
    return item.item_id


async def judged(journal: Journal, verdict: str) -> None:
    (item,) = [item for item in await journal.pending() if item.outcome == "done"]
    await journal.acknowledged(item.item_id, verdict)


async def reopened(path: Path) -> Journal:
    return await Journal.open(path, SystemClock())
