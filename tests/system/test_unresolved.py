"""The change was carried out and its answer is not there: who is told what, and how the same card resolves it."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.gateway_service_pb2 import READINESS_PROBLEM_CARD_LEFT_BEHIND, READINESS_PROBLEM_DRAINING
from jpkireset.gateway.v1.gateway_service_pb2 import Attempt as Record
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE, OUTCOME_UNKNOWN, OUTCOME_UNSPECIFIED

from tests.rig import metrics
from tests.rig.citizen import Citizen
from tests.rig.front_end import FINISHED, PLACE_SAME, REMOVE_CARD, RESOLVING, WRITING, Attempt, FrontEnd
from tests.rig.secrecy import PASSWORD_LENGTH, Planted

WRITE = "RESET RETRY COUNTER"
PATIENCE_S = 20.0
POLL_S = 0.02


@asynccontextmanager
async def change_held(citizen: Citizen, password: str) -> AsyncIterator[Attempt]:
    """An attempt in the middle of the change: the card has the new password, and its answer is kept back meanwhile."""
    cardsim = citizen.stack.cardsim
    attempt = await citizen.to_password()
    with cardsim.held(WRITE):
        await attempt.new_password(password)
        await attempt.until_view(lambda view: view.state == WRITING)
        async with asyncio.timeout(PATIENCE_S):
            while WRITE not in citizen.commands():
                await asyncio.sleep(POLL_S)
        assert citizen.references["signing_password"] == {"value": password, "tries": 5, "limit": 5}
        yield attempt


async def until_reported(citizen: Citizen, attempt_id: str) -> tuple[str, str]:
    """Wait for the centre's entry of a report, and return what was reported and where the reservation stands."""
    sql = "SELECT outcome, state_after FROM ledger WHERE attempt_id = ? AND event = 'reported'"
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with closing(sqlite3.connect(citizen.stack.site.central / "centrald.db", timeout=5)) as database:
                if row := database.execute(sql, (attempt_id,)).fetchone():
                    return row[0], row[1]
            await asyncio.sleep(POLL_S)


async def until_ended(citizen: Citizen, attempt_id: str) -> Record:
    """Wait until an attempt has its outcome."""
    async with asyncio.timeout(PATIENCE_S):
        while not (record := await citizen.front.attempt_record(attempt_id)).outcome:
            await asyncio.sleep(POLL_S)
    return record


async def test_front_end_that_dies_does_not_stop_the_change(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    living = citizen.front
    async with FrontEnd(citizen.stack.gatewayd.socket) as dying:
        citizen.front = dying
        async with change_held(citizen, new_password) as attempt:
            assert not attempt.view.cancellable
            await attempt.cancel()  # too late, and so without effect
            await dying.close()
            citizen.front = living
            assert (await living.status()).running_state == WRITING
            assert not (await living.attempt_record(attempt.id)).outcome
    assert (await until_ended(citizen, attempt.id)).outcome == OUTCOME_DONE
    assert await until_reported(citizen, attempt.id) == ("done", "used")
    citizen.lift()
    await living.idle()
    assert (await living.attempt_record(attempt.id)).state == FINISHED
    assert citizen.commands().count(WRITE) == 1


async def test_stopped_daemon_finishes_the_change(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    daemon = citizen.stack.gatewayd
    async with change_held(citizen, new_password) as attempt:
        daemon.signal(signal.SIGTERM)
        await citizen.front.until_status(lambda status: READINESS_PROBLEM_DRAINING in status.problems)
    assert (await attempt.until(REMOVE_CARD, FINISHED)).outcome == OUTCOME_DONE
    citizen.lift()
    daemon.stop()  # with exit code 0
    daemon.start()
    record = await citizen.front.attempt_record(attempt.id)
    assert (record.outcome, record.reason) == (OUTCOME_DONE, reasons.REASON_UNSPECIFIED)
    assert await until_reported(citizen, attempt.id) == ("done", "used")


async def test_lost_answer_is_resolved_by_placing_the_same_card(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    async with change_held(citizen, new_password) as attempt:
        citizen.lift()
        await attempt.until(RESOLVING)
        if attempt.view.card_request != PLACE_SAME:  # pcscd says up to 0.4 s later that it is gone
            await attempt.until(RESOLVING)
        assert (attempt.view.card_request, attempt.view.outcome) == (PLACE_SAME, OUTCOME_UNSPECIFIED)
        assert attempt.view.HasField("time_left")
    assert await until_reported(citizen, attempt.id) == ("unknown", "in_doubt")
    citizen.place()
    assert (await attempt.until(REMOVE_CARD)).outcome == OUTCOME_DONE
    assert (await citizen.leave(attempt)).outcome == OUTCOME_DONE
    assert citizen.commands().count(WRITE) == 2
    assert citizen.verifications() == 1, "a PIN was verified that nobody entered"


@pytest.mark.reason("OUTCOME_UNRESOLVED")
async def test_lost_answer_without_a_citizen_is_unknown(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    async with change_held(citizen, new_password) as attempt:
        citizen.lift()
        await attempt.until(RESOLVING)
    await attempt.cancel()
    view = await attempt.until(FINISHED)
    assert (view.outcome, view.reason) == (OUTCOME_UNKNOWN, reasons.REASON_OUTCOME_UNRESOLVED)
    assert (await citizen.front.attempt_record(attempt.id)).outcome == OUTCOME_UNKNOWN


@pytest.mark.reason("RESTARTED", "OUTCOME_UNRESOLVED")
async def test_killed_daemon_says_unknown_and_the_same_card_resolves_it(
    citizen: Citizen, new_password: str, planted: Planted
) -> None:
    """Killed between the card's effect and its result; then one attempt is given up, and the next one resolves it."""
    second_password = new_password[::-1]
    assert len(second_password) == PASSWORD_LENGTH
    planted.passwords.append(second_password)
    citizen.reserve()
    async with change_held(citizen, new_password) as torn:
        citizen.stack.gatewayd.kill()
    citizen.stack.gatewayd.start()
    await citizen.front.until_status(lambda status: READINESS_PROBLEM_CARD_LEFT_BEHIND in status.problems)
    citizen.lift()

    record = await citizen.front.attempt_record(torn.id)
    assert (record.state, record.outcome, record.reason) == (FINISHED, OUTCOME_UNKNOWN, reasons.REASON_RESTARTED)
    assert record.HasField("ended_at")
    assert await until_reported(citizen, torn.id) == ("unknown", "in_doubt")
    await citizen.front.until_status(lambda status: status.ready and status.unresolved_attempts)
    families = metrics.scrape(citizen.stack.gatewayd.metrics_url)
    assert metrics.value(families, "gatewayd_attempts_unresolved") >= 1

    given_up = await citizen.to_password()
    assert given_up.view.in_doubt
    await given_up.cancel()
    view = await given_up.until(REMOVE_CARD)
    assert (view.outcome, view.reason) == (OUTCOME_UNKNOWN, reasons.REASON_OUTCOME_UNRESOLVED)
    assert view.in_doubt
    await citizen.leave(given_up)

    resolving = await citizen.to_password()
    assert resolving.view.in_doubt
    await resolving.new_password(second_password)
    view = await resolving.until(REMOVE_CARD)
    assert (view.outcome, view.in_doubt) == (OUTCOME_DONE, False)
    await citizen.leave(resolving)
    assert citizen.references["signing_password"]["value"] == second_password
    assert await until_reported(citizen, resolving.id) == ("done", "used")

    citizen.stack.gatewayd.restart()  # it asks the centre for unresolved attempts, now and then every hour
    async with asyncio.timeout(PATIENCE_S):
        for attempt in (torn, given_up):
            while (await citizen.front.attempt_record(attempt.id)).outcome != OUTCOME_DONE:
                await asyncio.sleep(POLL_S)
