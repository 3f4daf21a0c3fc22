"""PC/SC service and reader go and come back under a running daemon, which heals by itself and waits idly."""

from __future__ import annotations

import asyncio

import pytest
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE, OUTCOME_NOT_DONE

from tests.rig import metrics
from tests.rig.citizen import Citizen
from tests.rig.front_end import ENTER_NEW_PASSWORD, ENTER_USER_PIN, FINISHED, REMOVE_CARD
from tests.rig.pcscd import KIOSK
from tests.rig.recovery import HEADS, MOST_BUSY, Recovery, held

HOLD_S = 0.7  # less than the 2 s that a holder is waited for
WAIT, FAILURES = "gatewayd_reader_lock_wait_seconds_sum", "gatewayd_reader_lock_failures_total"


@pytest.mark.parametrize("what", ["pcscd_killed", "pcscd_stopped", "pcscd_frozen", "reader"])
async def test_heals_and_waits_idly(citizen: Citizen, new_password: str, what: str) -> None:
    figures = await getattr(Recovery(citizen.stack, citizen.front), what)()
    print(dict(zip(HEADS, figures.row(what), strict=True)))
    assert figures.back[-1] <= figures.goal
    assert figures.busy[-1] < MOST_BUSY
    citizen.reserve()
    attempt = await citizen.reset(new_password)
    assert (await citizen.leave(attempt)).outcome == OUTCOME_DONE


async def test_another_program_that_lets_go_is_waited_for(citizen: Citizen) -> None:
    citizen.reserve()
    attempt = await citizen.to_pin()
    waited, failed = lock(citizen)
    with held(citizen.stack, citizen.stack.pcscd.readers[KIOSK].name) as holder:
        await attempt.user_pin(citizen.user_pin)
        await attempt.until_view(lambda view: view.busy)
        await asyncio.sleep(HOLD_S)
        holder.kill()
        await attempt.until(ENTER_NEW_PASSWORD)
    assert lock(citizen)[0] - waited >= HOLD_S / 2
    assert lock(citizen)[1] == failed
    assert citizen.verifications() == 1
    await attempt.cancel()
    await attempt.until(REMOVE_CARD)
    await citizen.leave(attempt)


async def test_another_program_that_stays_ends_the_attempt(citizen: Citizen) -> None:
    citizen.reserve()
    attempt = await citizen.to_pin()
    _, failed = lock(citizen)
    with held(citizen.stack, citizen.stack.pcscd.readers[KIOSK].name):
        await attempt.user_pin(citizen.user_pin)
        view = await attempt.until(REMOVE_CARD)
        assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, reasons.REASON_READER_UNAVAILABLE)
        assert lock(citizen)[1] == failed + 1
    citizen.lift()
    await attempt.until(FINISHED)
    assert citizen.verifications() == 0
    assert citizen.tries_left() == 3
    again = await citizen.to_pin()
    assert again.view.state == ENTER_USER_PIN
    await again.cancel()
    await citizen.leave(again)


def lock(citizen: Citizen) -> tuple[float, float]:
    """Seconds waited for the reader lock so far, and how often another program kept it."""
    families = metrics.scrape(citizen.stack.gatewayd.metrics_url)
    return metrics.value(families, WAIT), metrics.value(families, FAILURES, reason="reader_held")
