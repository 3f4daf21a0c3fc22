"""Nothing of an attempt outlives it: no object of the daemon's, no task, no thread, no descriptor."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from gatewayd.dialogue.events import ClientGone
from gatewayd.dialogue.vocabulary import Outcome, State
from tests.fakes.faults import Fault
from tests.fakes.kiosk import LULL_S, PATIENCE_S, Citizen, Kiosk

ROUNDS = int(os.environ.get("SOAK_ATTEMPTS", "20"))
WARM_UP = 6


def held() -> Counter[str]:
    """Living objects of the daemon's own classes, tasks, threads and descriptors."""
    gc.collect()
    living = Counter(
        type(one).__name__ for one in gc.get_objects() if str(type(one).__module__).startswith("gatewayd.")
    )
    living["tasks"] = len(asyncio.all_tasks())
    living["threads"] = threading.active_count()
    living["descriptors"] = len(list(Path("/proc/self/fd").iterdir()))
    return living


async def round_of(kiosk: Kiosk, number: int) -> None:
    """One attempt: whole, torn at some command, left by its front-end, or cancelled."""
    forget(kiosk)
    card = kiosk.card()
    session = await kiosk.open(f"attempt-{number}")
    citizen = Citizen(kiosk, card)
    match number % 4:
        case 0:
            assert (await citizen.do(session)).shown.outcome is Outcome.DONE
        case 1:
            kiosk.reader.plan(1 + number % 25, Fault.TORN_AFTER)
            citizen.check(await citizen.do(session))
        case 2:
            await kiosk.until(lambda: session.view.shown.state is State.WAITING_FOR_CARD)
            kiosk.reader.insert(citizen.card)
            await kiosk.until(lambda: session.view.shown.state is State.ENTER_USER_PIN)
            session.tell(ClientGone())
            kiosk.reader.remove()
        case 3:
            await kiosk.until(lambda: session.view.shown.state is State.WAITING_FOR_CARD)
            session.submit_cancel(session.view.number)
    await kiosk.until(lambda: kiosk.manager.session is None)
    if kiosk.reader.card is not None:
        kiosk.reader.remove()
    await kiosk.settled()


@pytest.mark.timeout(60 + ROUNDS)
async def test_attempts_leave_nothing(kiosk: Kiosk) -> None:
    for number in range(WARM_UP):
        await round_of(kiosk, number)
    forget(kiosk)
    before = held()
    for number in range(WARM_UP, WARM_UP + ROUNDS):
        await round_of(kiosk, number)
    forget(kiosk)
    after = held()
    give_up = time.monotonic() + PATIENCE_S
    while after - before and time.monotonic() < give_up:  # idle, the journal's thread opens its log for a moment
        await asyncio.sleep(LULL_S)
        after = held()
    print(f"after {ROUNDS} attempts: {after.total()} objects, tasks, threads and descriptors; before: {before.total()}")
    assert after - before == Counter()


def forget(kiosk: Kiosk) -> None:
    """What the fakes remember of the past is no leak of the daemon's."""
    kiosk.reader.exchanges.clear()
    kiosk.central.calls.clear()
    kiosk.central.reports.clear()
