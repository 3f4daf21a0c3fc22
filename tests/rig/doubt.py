"""Writes whose result is lost: how a citizen gets there, and what centre and kiosk hold of them."""

from __future__ import annotations

import asyncio
from typing import Any

from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.gateway_service_pb2 import Attempt as Record
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE, OUTCOME_UNKNOWN, View

from tests.rig.citizen import Citizen
from tests.rig.front_end import PLACE_SAME, RESOLVING, Attempt, FrontEnd

WRITE = "reset_retry_counter"
PATIENCE_S = 20.0
POLL_S = 0.02
DONE = (OUTCOME_DONE, reasons.REASON_UNSPECIFIED)
UNKNOWN = (OUTCOME_UNKNOWN, reasons.REASON_OUTCOME_UNRESOLVED)


def told(view: View) -> tuple[int, int]:
    """The outcome that is shown, and why."""
    return view.outcome, view.reason


def writes(citizen: Citizen, attempt: Attempt) -> list[tuple[Any, ...]]:
    """What the centre holds of an attempt's writes: number, outcome, verdict, and the reservation's state after it."""
    return [
        (entry["n"], entry["outcome"], entry.get("verdict"), entry["state_after"])
        for entry in citizen.stack.centrald.ledger(attempt.id)
        if entry["event"] == "reported"
    ]


async def until_written(citizen: Citizen, attempt: Attempt, count: int) -> list[tuple[Any, ...]]:
    """Wait until so many reports of an attempt are with the centre."""
    async with asyncio.timeout(PATIENCE_S):
        while len(found := writes(citizen, attempt)) < count:
            await asyncio.sleep(POLL_S)
    return found


async def resolving(attempt: Attempt) -> View:
    """Wait until the same card is asked for; a card that still lies there is to be lifted first."""
    return await attempt.until_view(lambda view: view.state == RESOLVING and view.card_request == PLACE_SAME)


async def torn_write(citizen: Citizen, password: str) -> Attempt:
    """Reserve and reset, and lift the card too early: it has the new password, and its answer is lost."""
    citizen.reserve()
    attempt = await citizen.to_password()
    with citizen.stack.cardsim.fault(WRITE, "tear"):
        await attempt.new_password(password)
        await resolving(attempt)
    assert citizen.references["signing_password"]["value"] == password
    return attempt


async def given_up(citizen: Citizen, attempt: Attempt) -> None:
    """Cancel instead of placing the card again."""
    await attempt.cancel()
    assert told(await attempt.end()) == UNKNOWN


async def until_resolved(front: FrontEnd, attempt: Attempt) -> Record:
    """Wait until the daemon knows that an attempt was done after all."""
    async with asyncio.timeout(PATIENCE_S):
        while (record := await front.attempt_record(attempt.id)).outcome != OUTCOME_DONE:
            await asyncio.sleep(POLL_S)
    return record


async def until_struck(citizen: Citizen, fault: int) -> None:
    """Wait until a planned fault has fired."""
    async with asyncio.timeout(PATIENCE_S):
        while not citizen.stack.cardsim.struck(fault):
            await asyncio.sleep(POLL_S)


async def held_before_the_change(citizen: Citizen, password: str) -> Attempt:
    """Confirm the password; the write is authorised, and the card does not answer the EXTERNAL AUTHENTICATE yet."""
    attempt = await citizen.to_password()
    fault = citizen.stack.cardsim.plan("external_authenticate", "mute")
    await attempt.new_password(password)
    await until_struck(citizen, fault)
    return attempt
