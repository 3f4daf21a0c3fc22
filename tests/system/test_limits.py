"""What ends when time is over, on a daemon whose clock leaps. All else is the whole stack as it is."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Iterator
from typing import TypeVar

import pytest
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.reset_service_pb2 import CARD_REQUEST_LIFT, OUTCOME_NOT_DONE

from tests.rig.citizen import Citizen
from tests.rig.doubt import (
    DONE,
    UNKNOWN,
    WRITE,
    resolving,
    told,
    torn_write,
    until_resolved,
    until_struck,
    until_written,
)
from tests.rig.front_end import ADMITTING, FINISHED, REMOVE_CARD, RESOLVING, Attempt
from tests.rig.process import ROOT
from tests.rig.site import Site
from tests.rig.stack import Stack

T = TypeVar("T")

LEAPING = (sys.executable, "-P", ROOT / "tests/rig/leap.py")
LATE = [(1, "unknown", None, "in_doubt"), (1, "done", "valid", "used")]


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Stack]:
    """The whole stack, with a daemon whose clock leaps."""
    with Stack(tmp_path_factory.mktemp("limits") / "stack", site=site, daemon=LEAPING) as running:
        yield running


def leap(citizen: Citizen) -> None:
    """Let more than two minutes pass."""
    citizen.stack.gatewayd.signal(signal.SIGUSR1)


async def leaping(citizen: Citizen, awaited: Awaitable[T]) -> T:
    """Let time fly until something comes to be."""
    task = asyncio.ensure_future(awaited)
    while not task.done():
        leap(citizen)
        await asyncio.wait({task}, timeout=1)
    return task.result()


async def ended(citizen: Citizen, attempt: Attempt) -> tuple[int, int]:
    """Take the card, if it lies there, and return what the attempt ended with; the journal says the same."""
    if attempt.view.state == REMOVE_CARD:
        citizen.lift()
    view = await attempt.end()
    record = await citizen.front.attempt_record(attempt.id)
    assert (record.outcome, record.reason) == (view.outcome, view.reason)
    return view.outcome, view.reason


@pytest.mark.reason("NO_CARD")
async def test_no_card_is_placed(citizen: Citizen) -> None:
    attempt = await citizen.agree()
    leap(citizen)
    assert await ended(citizen, attempt) == (OUTCOME_NOT_DONE, reasons.REASON_NO_CARD)


@pytest.mark.reason("TIMED_OUT")
async def test_no_pin_is_entered(citizen: Citizen) -> None:
    attempt = await citizen.to_pin()
    leap(citizen)
    await attempt.until(REMOVE_CARD)
    assert await ended(citizen, attempt) == (OUTCOME_NOT_DONE, reasons.REASON_TIMED_OUT)
    assert citizen.verifications() == 0


@pytest.mark.reason("CENTRAL_UNAVAILABLE")
async def test_centre_is_not_there(citizen: Citizen) -> None:
    citizen.stack.centrald.stop()
    try:
        attempt = await citizen.front.attempt()
        await attempt.until_view(lambda view: view.state == ADMITTING)
        await leaping(citizen, attempt.until(FINISHED))
        assert await ended(citizen, attempt) == (OUTCOME_NOT_DONE, reasons.REASON_CENTRAL_UNAVAILABLE)
    finally:
        citizen.stack.centrald.start()


@pytest.mark.reason("CARD_UNREADABLE")
async def test_verify_whose_answer_is_too_late(citizen: Citizen) -> None:
    """The card has taken the PIN. Nothing is sent again, and nothing follows from the answer."""
    attempt = await citizen.to_pin()
    fault = citizen.stack.cardsim.plan("verify", "mute")
    await attempt.user_pin(citizen.user_pin)
    await until_struck(citizen, fault)
    leap(citizen)
    await attempt.until(REMOVE_CARD)
    citizen.stack.cardsim.release()
    assert await ended(citizen, attempt) == (OUTCOME_NOT_DONE, reasons.REASON_CARD_UNREADABLE)
    assert citizen.verifications() == 1
    assert "COMPUTE DIGITAL SIGNATURE" not in citizen.commands()


# --- unknown ----------------------------------------------------------------------------------------------------------


async def silent_write(citizen: Citizen, password: str) -> Attempt:
    """Reserve and reset; the card sets the password and does not answer in time, and is to be lifted."""
    citizen.reserve()
    attempt = await citizen.to_password()
    fault = citizen.stack.cardsim.plan(WRITE, "mute")
    await attempt.new_password(password)
    await until_struck(citizen, fault)
    leap(citizen)
    view = await attempt.until(RESOLVING)
    assert (view.card_request, view.outcome) == (CARD_REQUEST_LIFT, 0)
    return attempt


async def test_same_card_is_not_placed_again(citizen: Citizen, new_password: str) -> None:
    attempt = await torn_write(citizen, new_password)
    leap(citizen)
    assert await ended(citizen, attempt) == UNKNOWN
    assert await until_written(citizen, attempt, 1) == [(1, "unknown", None, "in_doubt")]
    assert citizen.commands().count("RESET RETRY COUNTER") == 1


async def test_late_answer_of_the_change_resolves_it(citizen: Citizen, new_password: str) -> None:
    """It has the card's receipt, which is as good late as in time."""
    attempt = await silent_write(citizen, new_password)
    citizen.stack.cardsim.release()
    await attempt.until(REMOVE_CARD)
    assert await ended(citizen, attempt) == DONE
    assert await until_written(citizen, attempt, 2) == LATE
    assert citizen.commands().count("RESET RETRY COUNTER") == 1


async def test_answer_of_the_change_after_the_end_resolves_it(citizen: Citizen, new_password: str) -> None:
    attempt = await silent_write(citizen, new_password)
    await attempt.cancel()
    view = await attempt.until(REMOVE_CARD)
    assert told(view) == UNKNOWN
    citizen.stack.cardsim.release()
    assert await until_written(citizen, attempt, 2) == LATE
    await until_resolved(citizen.front, attempt)
    view = await citizen.leave(attempt)
    assert told(view) == UNKNOWN, "a view that was shown is not taken back"


async def test_mute_card_that_is_lifted_and_placed_again_is_written_once_more(
    citizen: Citizen, new_password: str
) -> None:
    attempt = await silent_write(citizen, new_password)
    citizen.lift()
    await resolving(attempt)
    citizen.place()
    await attempt.until(REMOVE_CARD)
    assert await ended(citizen, attempt) == DONE
    assert await until_written(citizen, attempt, 2) == [(1, "unknown", None, "in_doubt"), (2, "done", "valid", "used")]
