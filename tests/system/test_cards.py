"""Cards that are lifted, put back, exchanged, or none of ours."""

from __future__ import annotations

import asyncio

import pytest
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.gateway_service_pb2 import READINESS_PROBLEM_CARD_LEFT_BEHIND
from jpkireset.gateway.v1.reset_service_pb2 import CARD_REQUEST_NONE, OUTCOME_DONE, OUTCOME_NOT_DONE

from tests.rig.citizen import Citizen
from tests.rig.foreign_card import ForeignCard, inserted
from tests.rig.front_end import (
    ENTER_NEW_PASSWORD,
    ENTER_USER_PIN,
    FINISHED,
    PLACE_SAME,
    REMOVE_CARD,
    WAITING_FOR_CARD,
    Attempt,
)
from tests.rig.pcscd import KIOSK

OTHER_CARD = "forgotten"
SELECT_BY_NAME = bytes.fromhex("00A4040C")


async def test_card_is_lifted_while_the_password_is_typed_and_put_back(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    attempt = await citizen.to_password()
    citizen.lift()
    await citizen.front.until_status(lambda status: not status.card_present)
    assert attempt.view.card_request == CARD_REQUEST_NONE
    citizen.place()
    await citizen.front.until_status(lambda status: status.card_present)
    await attempt.new_password(new_password)
    assert (await attempt.until(REMOVE_CARD)).outcome == OUTCOME_DONE
    assert (await citizen.leave(attempt)).outcome == OUTCOME_DONE
    assert citizen.verifications() == 1


async def test_lifted_card_is_asked_for_when_the_password_is_confirmed(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    attempt = await password_typed_without_card(citizen, new_password)
    citizen.place()
    assert (await attempt.until(REMOVE_CARD)).outcome == OUTCOME_DONE
    assert citizen.references["signing_password"]["value"] == new_password
    assert citizen.verifications() == 1


async def test_card_that_is_lifted_at_the_pin_page_is_asked_for_again(citizen: Citizen) -> None:
    citizen.reserve()
    attempt = await citizen.to_pin()
    view = await citizen.lift_seen(attempt)
    assert view.state == ENTER_USER_PIN
    citizen.place()
    view = await attempt.until(ENTER_USER_PIN)
    assert (view.card_request, view.user_pin_tries_left) == (CARD_REQUEST_NONE, 3)
    await attempt.user_pin(citizen.user_pin)
    await attempt.until(ENTER_NEW_PASSWORD)
    assert citizen.verifications() == 1


@pytest.mark.reason("DIFFERENT_CARD")
async def test_another_card_at_the_pin_page_is_not_touched(citizen: Citizen) -> None:
    attempt = await citizen.to_pin()
    await citizen.lift_seen(attempt)
    await assert_other_card_is_refused(citizen, attempt)
    assert citizen.verifications() == 0


@pytest.mark.reason("DIFFERENT_CARD")
async def test_another_card_for_the_change_is_not_touched(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    attempt = await password_typed_without_card(citizen, new_password)
    await assert_other_card_is_refused(citizen, attempt)
    assert "INITIALIZE UPDATE" not in citizen.commands()


async def password_typed_without_card(citizen: Citizen, password: str) -> Attempt:
    """The card is lifted while the password is typed, and asked for when it is confirmed."""
    attempt = await citizen.to_password()
    citizen.lift()
    await citizen.front.until_status(lambda status: not status.card_present)
    await attempt.new_password(password)
    await attempt.until_view(lambda view: view.card_request == PLACE_SAME)
    return attempt


async def assert_other_card_is_refused(citizen: Citizen, attempt: Attempt) -> None:
    """Place another good card: the attempt ends, and nothing of either card has moved."""
    before = citizen.stack.cardsim.show(OTHER_CARD)["references"], citizen.references
    citizen.place(OTHER_CARD)
    view = await attempt.until(REMOVE_CARD)
    assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, reasons.REASON_DIFFERENT_CARD)
    assert (citizen.stack.cardsim.show(OTHER_CARD)["references"], citizen.references) == before
    await citizen.leave(attempt)


@pytest.mark.reason("NOT_A_MY_NUMBER_CARD")
async def test_card_of_another_kind_is_sent_nothing_but_the_selection(citizen: Citizen) -> None:
    card = ForeignCard()
    async with inserted(card, citizen.stack.pcscd.readers[KIOSK].port):
        attempt = await citizen.front.attempt()
        view = await attempt.until(REMOVE_CARD)
        assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, reasons.REASON_NOT_A_MY_NUMBER_CARD)
    await attempt.end()
    assert [command[:4] for command in card.commands] == [SELECT_BY_NAME]


async def test_card_that_lies_there_before_the_start_is_welcome(citizen: Citizen) -> None:
    citizen.place()
    await citizen.front.until_status(lambda status: status.card_present)
    attempt = await citizen.front.attempt()
    await attempt.until(ENTER_USER_PIN)
    assert WAITING_FOR_CARD not in {view.state for view in attempt.views}


@pytest.mark.reason("CARD_LEFT_BEHIND")
async def test_card_from_before_the_daemon_is_left_behind(citizen: Citizen) -> None:
    citizen.place()
    await citizen.front.until_status(lambda status: status.card_present)  # pcscd has seen it
    citizen.stack.gatewayd.restart()
    status = await citizen.front.until_status(lambda status: status.card_present)
    assert list(status.problems)[-1:] == [READINESS_PROBLEM_CARD_LEFT_BEHIND]
    attempt = await citizen.front.attempt()
    assert (await attempt.until(FINISHED)).reason == reasons.REASON_CARD_LEFT_BEHIND
    await attempt.end()
    citizen.lift()
    await citizen.front.ready()
    again = await citizen.agree()
    citizen.place()
    await asyncio.wait_for(again.until(ENTER_USER_PIN), 5)
