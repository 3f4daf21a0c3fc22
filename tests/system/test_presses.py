"""One press of 「確認」 is at most one VERIFY, whatever happens to the card meanwhile, and none on another card."""

from __future__ import annotations

import asyncio

import pytest
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.gateway_service_pb2 import READINESS_PROBLEM_CARD_LEFT_BEHIND
from jpkireset.gateway.v1.reset_service_pb2 import (
    CARD_REQUEST_NONE,
    OUTCOME_NOT_DONE,
    ResetPasswordRequest,
    UserPin,
    View,
)

from tests.rig.citizen import Citizen
from tests.rig.front_end import ENTER_NEW_PASSWORD, ENTER_USER_PIN, PLACE_SAME, Attempt
from tests.rig.secrecy import Planted

WRONG_PIN = "8531"
OTHER_CARD = "forgotten"
PRESSES = 50
PATIENCE_S = 20.0
POLL_S = 0.02


def verifications(citizen: Citizen, card: str) -> int:
    """The VERIFY commands with a value that this card was sent since the citizen came."""
    entries = citizen.stack.cardsim.entries(citizen.arrived)
    return sum("[" in entry["apdu"] for entry in entries if entry.get("command") == "VERIFY" and entry["card"] == card)


async def asked_for_the_same_card(attempt: Attempt) -> View:
    """Wait until the card is asked for again; one that lies there is to be lifted first."""
    return await attempt.until_view(lambda view: view.card_request == PLACE_SAME)


async def placed_again(citizen: Citizen, attempt: Attempt) -> View:
    """Place the card, and wait until the PIN is asked for again."""
    citizen.place()
    return await attempt.until_view(lambda view: view.card_request == CARD_REQUEST_NONE and not view.busy)


async def goes_on(citizen: Citizen, attempt: Attempt) -> None:
    """Enter the right PIN, which is accepted."""
    await attempt.user_pin(citizen.user_pin)
    view = await attempt.until_view(lambda view: not view.busy)
    assert (view.state, view.user_pin_tries_left) == (ENTER_NEW_PASSWORD, 3)


@pytest.mark.parametrize(
    ("point", "delivered", "tries"),
    [
        ("before_delivery", 0, 3),
        ("after_delivery", 1, 3),
        ("after_effect", 1, 2),
        ("inside_answer", 1, 2),
        ("after_answer", 1, 2),
    ],
)
async def test_card_is_torn_off(citizen: Citizen, planted: Planted, point: str, delivered: int, tries: int) -> None:
    """The tries are read from the card again, and the citizen decides."""
    planted.pins.append(WRONG_PIN)
    citizen.reserve()
    attempt = await citizen.to_pin()
    with citizen.stack.cardsim.fault("verify", "tear", point):
        await attempt.user_pin(WRONG_PIN)
        await asked_for_the_same_card(attempt)
    view = await placed_again(citizen, attempt)
    assert (view.state, view.user_pin_tries_left) == (ENTER_USER_PIN, tries)
    assert (citizen.verifications(), citizen.tries_left()) == (delivered, tries)
    await goes_on(citizen, attempt)
    assert citizen.verifications() == delivered + 1


@pytest.mark.parametrize("at", ["verify", "before_verify"])
async def test_another_card_in_its_place_within_an_instant(citizen: Citizen, at: str) -> None:
    """It is there before pcscd looks: for PC/SC it is the same card, and it is sent nothing."""
    citizen.reserve()
    attempt = await citizen.to_pin()
    reads = citizen.commands()[::-1].index("VERIFY")  # of the certificate, after the counters were asked for
    step, point = ("verify", "before_delivery") if at == "verify" else (f"read_binary#{reads}", "after_answer")
    with citizen.stack.cardsim.fault(step, "swap", point, other=OTHER_CARD):
        await attempt.user_pin(citizen.user_pin)
        await attempt.until_view(lambda view: view.state == ENTER_USER_PIN and not view.busy)
    citizen.lift()
    if attempt.view.card_request != PLACE_SAME:
        await asked_for_the_same_card(attempt)
    assert (verifications(citizen, OTHER_CARD), verifications(citizen, citizen.card)) == (0, 0)
    assert (await placed_again(citizen, attempt)).user_pin_tries_left == 3
    await goes_on(citizen, attempt)
    assert (verifications(citizen, OTHER_CARD), verifications(citizen, citizen.card)) == (0, 1)


async def test_presses_while_the_answer_is_late(citizen: Citizen, planted: Planted) -> None:
    """The page was pressed again and again, and nothing was heard for a second."""
    planted.pins.append(WRONG_PIN)
    attempt = await citizen.to_pin()
    entry = UserPin(user_pin=WRONG_PIN.encode(), last_try_confirmed=True)
    request = ResetPasswordRequest(view_number=attempt.view.number, user_pin=entry)
    with citizen.stack.cardsim.fault("verify", "delay", seconds=1.0):
        for _ in range(PRESSES):
            await attempt.call.write(request)
        view = await attempt.until(ENTER_USER_PIN)
    assert view.user_pin_tries_left == 2
    await attempt.cancel()  # behind all presses in the stream
    await citizen.leave(attempt)
    assert (citizen.verifications(), citizen.tries_left()) == (1, 2)


@pytest.mark.reason("RESTARTED")
async def test_daemon_dies_within_the_verify(citizen: Citizen, planted: Planted) -> None:
    """The new one sends nothing by itself: the attempt has ended, and the citizen begins again."""
    planted.pins.append(WRONG_PIN)
    daemon, cardsim = citizen.stack.gatewayd, citizen.stack.cardsim
    citizen.reserve()
    attempt = await citizen.to_pin()
    with cardsim.held("VERIFY"):
        await attempt.user_pin(WRONG_PIN)
        async with asyncio.timeout(PATIENCE_S):
            while not citizen.verifications():
                await asyncio.sleep(POLL_S)
        daemon.kill()
    daemon.start()
    await citizen.front.until_status(lambda status: READINESS_PROBLEM_CARD_LEFT_BEHIND in status.problems)
    citizen.lift()
    await citizen.front.ready()
    record = await citizen.front.attempt_record(attempt.id)
    assert (record.outcome, record.reason) == (OUTCOME_NOT_DONE, reasons.REASON_RESTARTED)
    assert (citizen.verifications(), citizen.tries_left()) == (1, 2)

    again = await citizen.to_pin()
    assert again.view.user_pin_tries_left == 2
    await goes_on(citizen, again)
    assert citizen.verifications() == 2
