"""The 4-digit PIN: a press is at most one VERIFY, and the last try is the citizen's own decision."""

from __future__ import annotations

import pytest
from jpkireset.gateway.v1.reason_pb2 import REASON_USER_PIN_LOCKED
from jpkireset.gateway.v1.reset_service_pb2 import (
    INPUT_PROBLEM_LAST_TRY_NOT_CONFIRMED,
    INPUT_PROBLEM_UNSPECIFIED,
    INPUT_PROBLEM_USER_PIN_FORMAT,
    INPUT_PROBLEM_USER_PIN_WRONG,
    OUTCOME_NOT_DONE,
    ResetPasswordRequest,
    UserPin,
    View,
)

from tests.rig.citizen import Citizen
from tests.rig.front_end import ENTER_NEW_PASSWORD, ENTER_USER_PIN, REMOVE_CARD, Attempt
from tests.rig.secrecy import Planted

WRONG_PIN = "8531"
PRESSES = 50
MALFORMED = ("", "853", "85311", "8 31", "853a", "-853", "8531\n", "８５３１", "\0\0\0\0")


async def press(attempt: Attempt, pin: str, *, confirmed: bool = False) -> View:
    """Press 「確認」 and wait for what follows."""
    await attempt.user_pin(pin, last_try_confirmed=confirmed)
    return await attempt.until(ENTER_USER_PIN, ENTER_NEW_PASSWORD, REMOVE_CARD)


@pytest.mark.reason("USER_PIN_LOCKED")
async def test_wrong_pins_are_counted_down_to_the_lock(citizen: Citizen, planted: Planted) -> None:
    planted.pins.append(WRONG_PIN)
    citizen.reserve()
    attempt = await citizen.to_pin()
    assert attempt.view.user_pin_tries_left == 3
    for left in (2, 1):
        view = await press(attempt, WRONG_PIN)
        assert (view.input_problem, view.user_pin_tries_left) == (INPUT_PROBLEM_USER_PIN_WRONG, left)
        assert citizen.tries_left() == left
        assert citizen.verifications() == 3 - left

    view = await press(attempt, WRONG_PIN)
    assert (view.input_problem, view.user_pin_tries_left) == (INPUT_PROBLEM_LAST_TRY_NOT_CONFIRMED, 1)
    assert citizen.verifications() == 2, "the last try was spent without the citizen's confirmation"

    view = await press(attempt, WRONG_PIN, confirmed=True)
    assert view.state == REMOVE_CARD
    assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, REASON_USER_PIN_LOCKED)
    assert (citizen.tries_left(), citizen.verifications()) == (0, 3)
    await citizen.leave(attempt)

    again = await citizen.agree()
    citizen.place()
    view = await again.until(REMOVE_CARD)
    assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, REASON_USER_PIN_LOCKED)
    assert citizen.verifications() == 3
    assert "RESET RETRY COUNTER" not in citizen.commands()


async def test_confirmed_last_try_that_is_right_goes_on(citizen: Citizen) -> None:
    citizen.reserve()
    attempt = await citizen.to_pin()
    for _ in range(2):
        await press(attempt, WRONG_PIN)
    view = await press(attempt, citizen.user_pin, confirmed=True)
    assert view.state == ENTER_NEW_PASSWORD
    assert (view.input_problem, view.user_pin_tries_left) == (INPUT_PROBLEM_UNSPECIFIED, 3)
    assert (citizen.tries_left(), citizen.verifications()) == (3, 3)


@pytest.mark.reason("USER_PIN_LOCKED")
async def test_locked_card_is_told_when_it_is_read(citizen: Citizen) -> None:
    citizen.card = "user-pin-locked"
    attempt = await citizen.agree()
    citizen.place()
    view = await attempt.until(REMOVE_CARD)
    assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, REASON_USER_PIN_LOCKED)
    assert citizen.verifications() == 0


async def test_many_presses_on_one_view_are_one_verify(citizen: Citizen, planted: Planted) -> None:
    planted.pins.append(WRONG_PIN)
    citizen.reserve()
    attempt = await citizen.to_pin()
    entry = UserPin(user_pin=WRONG_PIN.encode(), last_try_confirmed=True)
    request = ResetPasswordRequest(view_number=attempt.view.number, user_pin=entry)
    for _ in range(PRESSES):
        await attempt.call.write(request)
    view = await attempt.until(ENTER_USER_PIN)
    assert (view.input_problem, view.user_pin_tries_left) == (INPUT_PROBLEM_USER_PIN_WRONG, 2)

    # A press on the new view is behind all of them in the stream: when it is answered, they have been dropped.
    view = await press(attempt, citizen.user_pin)
    assert view.state == ENTER_NEW_PASSWORD
    assert (citizen.verifications(), citizen.tries_left()) == (2, 3)


async def test_malformed_pins_never_reach_the_card(citizen: Citizen) -> None:
    citizen.reserve()
    attempt = await citizen.to_pin()
    for number, pin in enumerate(MALFORMED):
        view = await press(attempt, pin)
        assert view.state == ENTER_USER_PIN
        assert view.input_problem == INPUT_PROBLEM_USER_PIN_FORMAT, f"malformed PIN {number}"
        assert view.user_pin_tries_left == 3
    assert citizen.verifications() == 0
    assert (await press(attempt, citizen.user_pin)).state == ENTER_NEW_PASSWORD
    assert citizen.verifications() == 1
