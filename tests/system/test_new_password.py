"""The new password: which rule it breaks is told, its value never is."""

from __future__ import annotations

from jpkireset.gateway.v1.reset_service_pb2 import (
    INPUT_PROBLEM_PASSWORD_CHARACTER,
    INPUT_PROBLEM_PASSWORD_NO_DIGIT,
    INPUT_PROBLEM_PASSWORD_NO_LETTER,
    INPUT_PROBLEM_PASSWORD_TOO_LONG,
    INPUT_PROBLEM_PASSWORD_TOO_SHORT,
    INPUT_PROBLEM_UNSPECIFIED,
    OUTCOME_DONE,
    NewPassword,
    ResetPasswordRequest,
)

from tests.rig.citizen import Citizen
from tests.rig.front_end import ENTER_NEW_PASSWORD, REMOVE_CARD
from tests.rig.secrecy import Planted

LETTERS = str.maketrans("0123456789", "QRSTUVWXYZ")
DIGITS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "01234567890123456789012345")


async def test_each_broken_rule_is_named_and_then_a_good_one_works(
    citizen: Citizen, new_password: str, planted: Planted
) -> None:
    only_letters, only_digits = new_password.translate(LETTERS), new_password.translate(DIGITS)
    with_hyphen = new_password[:-1] + "-"
    bad = (
        (new_password[:5], INPUT_PROBLEM_PASSWORD_TOO_SHORT),
        ("", INPUT_PROBLEM_PASSWORD_TOO_SHORT),
        (new_password + "7", INPUT_PROBLEM_PASSWORD_TOO_LONG),
        (only_letters, INPUT_PROBLEM_PASSWORD_NO_DIGIT),
        (only_digits, INPUT_PROBLEM_PASSWORD_NO_LETTER),
        (with_hyphen, INPUT_PROBLEM_PASSWORD_CHARACTER),
        (new_password[:-1] + " ", INPUT_PROBLEM_PASSWORD_CHARACTER),
        (new_password[:-1] + "あ", INPUT_PROBLEM_PASSWORD_CHARACTER),
        (new_password[:-1] + "é", INPUT_PROBLEM_PASSWORD_CHARACTER),
    )
    planted.passwords += [only_letters, only_digits, with_hyphen]
    citizen.reserve()
    attempt = await citizen.to_password()
    commands = len(citizen.commands())
    for password, problem in bad:
        await attempt.new_password(password)
        view = await attempt.until(ENTER_NEW_PASSWORD)
        assert view.input_problem == problem, f"rule {problem}"
        assert not password or password.encode() not in view.SerializeToString()
    assert len(citizen.commands()) == commands, "a bad password moved something"

    await attempt.new_password(new_password)
    view = await attempt.until(REMOVE_CARD)
    assert (view.outcome, view.input_problem) == (OUTCOME_DONE, INPUT_PROBLEM_UNSPECIFIED)
    assert citizen.references["signing_password"]["value"] == new_password


async def test_password_that_is_no_text_is_refused(citizen: Citizen) -> None:
    citizen.reserve()
    attempt = await citizen.to_password()
    entry = NewPassword(new_password=b"\xff\xfeABC123")
    await attempt.call.write(ResetPasswordRequest(view_number=attempt.view.number, new_password=entry))
    view = await attempt.until(ENTER_NEW_PASSWORD)
    assert view.input_problem == INPUT_PROBLEM_PASSWORD_CHARACTER


async def test_many_confirmations_of_one_view_are_one_write(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    attempt = await citizen.to_password()
    number, entry = attempt.view.number, NewPassword(new_password=new_password.encode())
    for _ in range(50):
        await attempt.call.write(ResetPasswordRequest(view_number=number, new_password=entry))
    view = await attempt.until(REMOVE_CARD)
    assert view.outcome == OUTCOME_DONE
    assert citizen.commands().count("RESET RETRY COUNTER") == citizen.commands().count("INITIALIZE UPDATE") == 1
