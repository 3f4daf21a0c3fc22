"""Whole attempts through gRPC, on the real PC/SC stack, against the real centre."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from jpkireset.gateway.v1 import reset_service_pb2
from jpkireset.gateway.v1.reason_pb2 import Reason
from jpkireset.gateway.v1.reset_service_pb2 import View

from tests.rig import front_end, metrics
from tests.rig.front_end import Attempt, FrontEnd
from tests.rig.opensc import SIGNING_TOKEN, OpenSC, Tries
from tests.rig.phone import reserve
from tests.rig.secrecy import Planted
from tests.rig.stack import Stack

LOCKED, FORGOTTEN, USER_PIN_LOCKED = "locked", "forgotten", "user-pin-locked"
WRITES = {"EXTERNAL AUTHENTICATE", "RESET RETRY COUNTER"}
DONE, NOT_DONE = reset_service_pb2.OUTCOME_DONE, reset_service_pb2.OUTCOME_NOT_DONE


@pytest.fixture
async def front(stack: Stack) -> AsyncIterator[FrontEnd]:
    """A front-end of a kiosk that is ready."""
    async with FrontEnd(stack.gatewayd.socket) as front:
        await front.ready()
        yield front


def reserve_at_home(stack: Stack, card: str, user_pin: str) -> None:
    """The card on the phone, a reservation, the card in the pocket."""
    stack.cardsim.insert(card, "phone")
    reserve(stack.environment, user_pin)
    stack.cardsim.remove("phone")


async def place(stack: Stack, front: FrontEnd, card: str) -> Attempt:
    """Begin an attempt and place a card."""
    attempt = await front.attempt()
    await attempt.until(front_end.WAITING_FOR_CARD)
    stack.cardsim.insert(card, "kiosk")
    return attempt


async def ending(stack: Stack, attempt: Attempt) -> View:
    """Wait for the outcome, take the card away, and return the last view."""
    await attempt.until(front_end.REMOVE_CARD)
    stack.cardsim.remove("kiosk")
    return await attempt.end()


@pytest.mark.parametrize(("card", "tries"), [(LOCKED, 0), (FORGOTTEN, 5)])
async def test_reset_gives_the_card_a_new_password(
    stack: Stack, front: FrontEnd, opensc: OpenSC, user_pin: str, new_password: str, card: str, tries: int
) -> None:
    before = stack.cardsim.show(card)["references"]
    assert before["signing_password"]["tries"] == tries
    reserve_at_home(stack, card, user_pin)

    attempt = await place(stack, front, card)
    await attempt.until(front_end.ENTER_USER_PIN)
    await attempt.user_pin(user_pin)
    await attempt.until(front_end.ENTER_NEW_PASSWORD)
    await attempt.new_password(new_password)
    last = await ending(stack, attempt)

    assert last.outcome == DONE
    assert (await front.attempt_record(attempt.id)).outcome == DONE
    after = stack.cardsim.show(card)["references"]
    assert after["signing_password"] == {"value": new_password, "tries": 5, "limit": 5}
    assert {**after, "signing_password": None} == {**before, "signing_password": None}
    commands = stack.cardsim.commands()
    assert [commands.count(name) for name in sorted(WRITES)] == [1, 1]
    assert [entry["verdict"] for entry in stack.centrald.ledger(attempt.id) if entry["verdict"]] == ["valid"]

    stack.cardsim.insert(card, "phone")
    assert opensc.tries_left() == Tries(user_pin=3, signing_password=5)
    signature = opensc.sign(SIGNING_TOKEN, 2, new_password, b"data")
    assert opensc.verify(opensc.certificate(2, new_password), b"data", signature)

    families = metrics.scrape(stack.gatewayd.metrics_url)
    assert [name for name, count in metrics.histograms(families).items() if not count] == []
    assert metrics.value(families, "gatewayd_attempts_total", outcome="done") == 1
    assert metrics.value(families, "gatewayd_reader_lock_held") == 0


async def test_without_a_reservation_nothing_is_written(stack: Stack, front: FrontEnd, user_pin: str) -> None:
    attempt = await place(stack, front, LOCKED)
    await attempt.until(front_end.ENTER_USER_PIN)
    await attempt.user_pin(user_pin)
    last = await ending(stack, attempt)
    assert (last.outcome, last.reason) == (NOT_DONE, Reason.REASON_RESERVATION_NOT_FOUND)
    assert not WRITES.intersection(stack.cardsim.commands())


async def test_used_reservation_is_told(stack: Stack, front: FrontEnd, user_pin: str, new_password: str) -> None:
    reserve_at_home(stack, LOCKED, user_pin)
    reasons = []
    for _ in range(2):
        attempt = await place(stack, front, LOCKED)
        await attempt.until(front_end.ENTER_USER_PIN)
        await attempt.user_pin(user_pin)
        if (await attempt.until(front_end.ENTER_NEW_PASSWORD, front_end.REMOVE_CARD)).state != front_end.REMOVE_CARD:
            await attempt.new_password(new_password)
            await attempt.until(front_end.REMOVE_CARD)
        stack.cardsim.remove("kiosk")
        reasons.append((await attempt.end()).reason)
    assert reasons == [Reason.REASON_UNSPECIFIED, Reason.REASON_RESERVATION_USED]
    assert stack.cardsim.commands().count("RESET RETRY COUNTER") == 1


async def test_locked_user_pin_ends_before_anything_is_asked(stack: Stack, front: FrontEnd) -> None:
    last = await ending(stack, await place(stack, front, USER_PIN_LOCKED))
    assert (last.outcome, last.reason) == (NOT_DONE, Reason.REASON_USER_PIN_LOCKED)


async def test_wrong_pins_are_counted_and_the_last_try_is_confirmed(
    stack: Stack, front: FrontEnd, planted: Planted
) -> None:
    planted.pins.append("9753")
    attempt = await place(stack, front, LOCKED)
    view = await attempt.until(front_end.ENTER_USER_PIN)
    assert view.user_pin_tries_left == 3
    for left in (2, 1):
        await attempt.user_pin("9753")
        view = await attempt.until(front_end.ENTER_USER_PIN)
        assert (view.user_pin_tries_left, view.input_problem) == (left, reset_service_pb2.INPUT_PROBLEM_USER_PIN_WRONG)
    await attempt.user_pin("9753")
    view = await attempt.until(front_end.ENTER_USER_PIN)
    assert view.input_problem == reset_service_pb2.INPUT_PROBLEM_LAST_TRY_NOT_CONFIRMED
    assert view.user_pin_tries_left == 1
    await attempt.user_pin("9753", last_try_confirmed=True)
    last = await ending(stack, attempt)
    assert (last.outcome, last.reason) == (NOT_DONE, Reason.REASON_USER_PIN_LOCKED)
    apdus = [entry["apdu"] for entry in stack.cardsim.entries() if entry["event"] == "apdu"]
    assert len([apdu for apdu in apdus if apdu.startswith("0020") and apdu.endswith("[4]")]) == 3


async def test_bad_passwords_are_named_by_rule_and_never_reach_the_card(
    stack: Stack, front: FrontEnd, planted: Planted, user_pin: str
) -> None:
    planted.passwords += ["NODIGITSNODIGITS", "SIXTEEN_NOT_GOOD"]
    reserve_at_home(stack, LOCKED, user_pin)
    attempt = await place(stack, front, LOCKED)
    await attempt.until(front_end.ENTER_USER_PIN)
    await attempt.user_pin(user_pin)
    await attempt.until(front_end.ENTER_NEW_PASSWORD)
    for password, problem in (
        ("ABC12", reset_service_pb2.INPUT_PROBLEM_PASSWORD_TOO_SHORT),
        ("ABCDEFGHIJKLMNOP1", reset_service_pb2.INPUT_PROBLEM_PASSWORD_TOO_LONG),
        ("SIXTEEN_NOT_GOOD", reset_service_pb2.INPUT_PROBLEM_PASSWORD_CHARACTER),
        ("NODIGITSNODIGITS", reset_service_pb2.INPUT_PROBLEM_PASSWORD_NO_DIGIT),
        ("1234567890", reset_service_pb2.INPUT_PROBLEM_PASSWORD_NO_LETTER),
    ):
        await attempt.new_password(password)
        assert (await attempt.until(front_end.ENTER_NEW_PASSWORD)).input_problem == problem
    await attempt.cancel()
    last = await ending(stack, attempt)
    assert (last.outcome, last.reason) == (NOT_DONE, Reason.REASON_CANCELLED)
    assert not WRITES.intersection(stack.cardsim.commands())


async def test_second_citizen_is_told_that_the_reader_is_busy(stack: Stack, front: FrontEnd) -> None:
    first = await front.attempt()
    await first.until(front_end.WAITING_FOR_CARD)
    second = await front.attempt()
    last = await second.end()
    assert (last.outcome, last.reason) == (NOT_DONE, Reason.REASON_BUSY)
    await first.cancel()
    assert (await first.end()).reason == Reason.REASON_CANCELLED
