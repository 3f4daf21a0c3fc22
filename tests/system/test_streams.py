"""Streams: one attempt at a time, each id once, and every way to leave before the change ends as not done."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

import grpc
import pytest
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1 import reset_service_pb2 as reset
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE, OUTCOME_NOT_DONE

from tests.rig.citizen import Citizen
from tests.rig.front_end import FINISHED, PLACE_SAME, REMOVE_CARD, SECONDS, Attempt, FrontEnd

SIGNING_PASSWORD = reset.PROCEDURE_SIGNING_PASSWORD
NO_PROCEDURE: reset.Procedure.ValueType = 2  # type: ignore[assignment]
AN_ID = "0c5d6d0e-55a8-4f0c-9e1f-6a3c6a1d7b42"


async def refusal(attempt: Attempt) -> reasons.Reason.ValueType:
    """Return why an attempt was refused before it began."""
    view = await attempt.until(FINISHED)
    assert (view.number, view.outcome) == (1, OUTCOME_NOT_DONE)
    await attempt.end()
    return view.reason


async def status_of(front: FrontEnd, *requests: reset.ResetPasswordRequest) -> grpc.StatusCode:
    """Send a stream of requests that is answered by no view, and return the status it ends with."""
    try:
        view = await front.resets.ResetPassword(iter(requests), timeout=SECONDS).read()
    except grpc.aio.AioRpcError as error:
        return error.code()
    raise AssertionError(f"answered by {view}")


@pytest.mark.reason("BUSY", "CARD_LEFT_BEHIND")
async def test_second_citizen_is_busy_and_the_first_undisturbed(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    first = await citizen.to_password()
    async with FrontEnd(citizen.stack.gatewayd.socket) as elsewhere:
        second = await elsewhere.attempt()
        assert await refusal(second) == reasons.REASON_BUSY
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await elsewhere.attempt_record(second.id)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND, "a refused attempt was never accepted"
    await first.new_password(new_password)
    assert (await first.until(REMOVE_CARD)).outcome == OUTCOME_DONE

    third = await citizen.front.attempt()
    assert await refusal(third) == reasons.REASON_CARD_LEFT_BEHIND
    assert (await citizen.leave(first)).outcome == OUTCOME_DONE


async def test_known_id_is_never_begun_again(citizen: Citizen) -> None:
    attempt = await citizen.agree()
    start = reset.ResetPasswordRequest(
        start=reset.Start(attempt_id=attempt.id, procedure=SIGNING_PASSWORD, terms_accepted=True)
    )
    assert await status_of(citizen.front, start) is grpc.StatusCode.ALREADY_EXISTS
    await attempt.cancel()
    assert (await attempt.end()).reason == reasons.REASON_CANCELLED
    assert await status_of(citizen.front, start) is grpc.StatusCode.ALREADY_EXISTS
    citizen.stack.gatewayd.restart()
    assert await status_of(citizen.front, start) is grpc.StatusCode.ALREADY_EXISTS


async def test_malformed_start_is_an_invalid_argument(citizen: Citizen) -> None:
    starts = (
        reset.Start(),
        reset.Start(procedure=SIGNING_PASSWORD),
        reset.Start(terms_accepted=True),
        reset.Start(procedure=NO_PROCEDURE, terms_accepted=True),
        *(
            reset.Start(attempt_id=text, procedure=SIGNING_PASSWORD, terms_accepted=True)
            for text in ("1", AN_ID.upper(), AN_ID.replace("-", ""), f"{{{AN_ID}}}", f"{AN_ID}\n", "../../etc/passwd")
        ),
    )
    requests = [
        reset.ResetPasswordRequest(),
        reset.ResetPasswordRequest(view_number=1, cancel=reset.Cancel()),
        reset.ResetPasswordRequest(view_number=1, user_pin=reset.UserPin(user_pin=citizen.user_pin.encode())),
        *(reset.ResetPasswordRequest(start=start) for start in starts),
    ]
    for request in requests:
        assert await status_of(citizen.front, request) is grpc.StatusCode.INVALID_ARGUMENT, request
    assert not (await citizen.front.status()).running_attempt_id


async def test_daemon_makes_an_id_for_a_start_without_one(citizen: Citizen) -> None:
    attempt = await Attempt(citizen.front.resets, "").start()
    made = (await attempt.until(reset.STATE_WAITING_FOR_CARD)).attempt_id
    assert str(uuid.UUID(made)) == made
    await attempt.cancel()
    await attempt.end()
    assert (await citizen.front.attempt_record(made)).reason == reasons.REASON_CANCELLED


async def card_asked_again(citizen: Citizen) -> Attempt:
    """The card was lifted while the PIN was asked for."""
    attempt = await citizen.to_pin()
    await citizen.lift_seen(attempt)
    return attempt


async def card_asked_for_the_change(citizen: Citizen) -> Attempt:
    """The card was lifted while the password was typed."""
    attempt = await citizen.to_password()
    citizen.lift()
    await citizen.front.until_status(lambda status: not status.card_present)
    await attempt.new_password("NEVERSET12")
    await attempt.until_view(lambda view: view.card_request == PLACE_SAME)
    return attempt


HUMAN_STEPS = [Citizen.agree, Citizen.to_pin, card_asked_again, Citizen.to_password, card_asked_for_the_change]
every_human_step = pytest.mark.parametrize("reach", HUMAN_STEPS, ids=[step.__name__ for step in HUMAN_STEPS])
Reach = Callable[[Citizen], Awaitable[Attempt]]


async def assert_nothing_is_left(citizen: Citizen, attempt_id: str, reason: reasons.Reason.ValueType) -> None:
    """The attempt ended as not done, and nothing was written."""
    assert "RESET RETRY COUNTER" not in citizen.commands()
    record = await citizen.front.attempt_record(attempt_id)
    assert (record.state, record.outcome, record.reason) == (FINISHED, OUTCOME_NOT_DONE, reason)


@pytest.mark.reason("CANCELLED")
@every_human_step
async def test_cancel(citizen: Citizen, reach: Reach) -> None:
    citizen.reserve()
    attempt = await reach(citizen)
    assert attempt.view.cancellable
    await attempt.cancel()
    view = await attempt.until(REMOVE_CARD, FINISHED)
    assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, reasons.REASON_CANCELLED)
    if view.state == REMOVE_CARD:
        citizen.lift()
    await attempt.end()
    await assert_nothing_is_left(citizen, attempt.id, reasons.REASON_CANCELLED)


@pytest.mark.reason("CLIENT_GONE")
@every_human_step
async def test_front_end_dies(citizen: Citizen, reach: Reach) -> None:
    """Its connection is closed without a word."""
    citizen.reserve()
    async with FrontEnd(citizen.stack.gatewayd.socket) as dying:
        citizen.front, living = dying, citizen.front
        attempt = await reach(citizen)
    citizen.front = living
    status = await living.status()
    if status.card_present:
        await living.until_status(lambda status: status.running_state == REMOVE_CARD)
        citizen.lift()
    await living.idle()
    await assert_nothing_is_left(citizen, attempt.id, reasons.REASON_CLIENT_GONE)


async def test_front_end_dies_before_its_first_view(citizen: Citizen) -> None:
    """It has made the id, so it can ask for the outcome all the same."""
    async with FrontEnd(citizen.stack.gatewayd.socket) as dying:
        attempt = await dying.attempt()
        await citizen.front.until_status(lambda status: status.running_attempt_id == attempt.id)
        assert not attempt.views
    await citizen.front.idle()
    await assert_nothing_is_left(citizen, attempt.id, reasons.REASON_CLIENT_GONE)


async def test_stream_that_merely_ends_is_a_front_end_that_went_away(citizen: Citizen) -> None:
    attempt = await citizen.agree()
    await attempt.call.done_writing()
    assert (await attempt.until(FINISHED)).reason == reasons.REASON_CLIENT_GONE
    await attempt.end()
