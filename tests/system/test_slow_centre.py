"""A centre that takes its time: the card stays connected, and operators see for how long."""

from __future__ import annotations

import asyncio
import signal

from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE

from tests.rig import metrics
from tests.rig.citizen import Citizen
from tests.rig.front_end import AUTHORIZING, REMOVE_CARD

STEPS = 3
HELD, AGE = "gatewayd_reader_lock_held", "gatewayd_reader_lock_age_seconds"


async def test_lock_is_seen_to_be_held_and_to_age(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    attempt = await citizen.to_password()
    assert reader_lock(citizen) == (0, 0)
    centre = citizen.stack.centrald.process
    centre.signal(signal.SIGSTOP)
    try:
        await attempt.new_password(new_password)
        await attempt.until_view(lambda view: view.state == AUTHORIZING)
        async with asyncio.timeout(5):
            while not reader_lock(citizen)[1]:
                pass
            ages = [reader_lock(citizen)[1] for _ in range(STEPS)]
            while reader_lock(citizen)[1] < ages[-1] + 0.1:
                pass
            assert reader_lock(citizen)[0] == 1
    finally:
        centre.signal(signal.SIGCONT)
    assert 0 < ages[0] < ages[1] < ages[2]
    assert (await attempt.until(REMOVE_CARD)).outcome == OUTCOME_DONE
    assert reader_lock(citizen) == (0, 0)
    assert citizen.commands().count("RESET RETRY COUNTER") == 1


def reader_lock(citizen: Citizen) -> tuple[float, float]:
    """Whether the card is connected, and for how many seconds, as a scrape shows it."""
    families = metrics.scrape(citizen.stack.gatewayd.metrics_url)
    return metrics.value(families, HELD), metrics.value(families, AGE)
