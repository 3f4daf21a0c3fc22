"""The command lines as a citizen and an operator type them, against the whole stack."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pexpect.fdpexpect import fdspawn

from gatewayctl import exits, texts
from jpki_phone import problems
from tests.rig.process import BIN
from tests.rig.stack import Stack
from tests.rig.terminal import CTRL_C, SECONDS, Left, terminal

CARD = "locked"
WRONG_PIN = "0000"
WROTE = "RESET RETRY COUNTER"
Ctl, Phone = exits.ExitCode, problems.ExitCode


class Desk:
    """A terminal at the stack. What was on its screen is kept among the logs, where the search for secrets looks."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._screens = 0

    @contextmanager
    def at(self, *command: str) -> Iterator[tuple[fdspawn[str], list[Left]]]:
        """Type a command; what it left is in the list after the block."""
        left: list[Left] = []
        with terminal([str(BIN / command[0]), *command[1:]], self.stack.environment) as (child, wait):
            yield child, left
            left.append(wait())
        self._keep(left[0].screen)

    def run(self, *command: str, lines: str = "") -> tuple[str, int]:
        """Run a command without a terminal and return what it said and its exit code."""
        ended = subprocess.run(
            [BIN / command[0], *command[1:]],
            env={**os.environ, **self.stack.environment},
            input=lines,
            text=True,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        self._keep(ended.stdout + ended.stderr)
        return ended.stdout, ended.returncode

    def _keep(self, screen: str) -> None:
        self._screens += 1
        (self.stack.log_directory / f"screen-{self._screens}.log").write_text(screen)


@pytest.fixture
def desk(stack: Stack) -> Desk:
    return Desk(stack)


def entries(stack: Stack) -> int:
    """Return how many VERIFYs with a PIN the cards got."""
    return sum(
        entry["event"] == "apdu" and entry["command"] == "VERIFY" and len(entry["apdu"]) > 8
        for entry in stack.cardsim.entries()
    )


def reserve(desk: Desk, user_pin: str) -> None:
    """Reserve as the phone does, and put the card on the kiosk."""
    desk.stack.cardsim.insert(CARD, "phone")
    _, code = desk.run("jpki-phone", "reserve", lines=f"{user_pin}\n")
    assert code == Phone.RESERVED
    desk.stack.cardsim.move("phone", "kiosk")


def views(out: str) -> list[dict[str, Any]]:
    """Return the JSON lines of `gatewayctl reset --json`."""
    return [json.loads(line) for line in out.splitlines()]


def test_a_whole_reset_at_the_terminal(desk: Desk, user_pin: str, new_password: str) -> None:
    stack = desk.stack
    out, code = desk.run("gatewayctl", "status", "--json")
    assert (json.loads(out)["status"]["ready"], code) == (True, Ctl.DONE)

    with desk.at("jpki-phone", "reserve") as (child, left):
        child.expect_exact("Place the card")
        stack.cardsim.insert(CARD, "phone")
        child.expect_exact("Three tries are left (あと3回).")
        child.expect_exact("hidden: ")
        child.sendline(user_pin)
        child.expect_exact("face match: not performed")
    assert (left[0].code, left[0].echo) == (Phone.RESERVED, True)
    assert "(Asia/Tokyo)" in left[0].screen
    assert user_pin not in left[0].screen.split("Reserved")[0]

    with desk.at("gatewayctl", "reset") as (child, left):
        child.expect_exact(texts.CARD_REQUESTS["CARD_REQUEST_PLACE"])
        stack.cardsim.move("phone", "kiosk")
        child.expect_exact(texts.PIN_PROMPT)
        child.sendline(WRONG_PIN)
        child.expect_exact(texts.INPUT_PROBLEMS["INPUT_PROBLEM_USER_PIN_WRONG"])
        child.expect_exact("Two tries are left (あと2回).")
        child.expect_exact(texts.PIN_PROMPT)
        child.sendline("")  # more time
        child.expect_exact(texts.PIN_PROMPT)
        child.sendline(user_pin)
        child.expect_exact(texts.NEW_PASSWORD_PROMPT)
        for entry, complaint in ((new_password[:5], "TOO_SHORT"), ("ABCDEFGH", "NO_DIGIT")):
            child.sendline(entry)
            child.expect_exact(texts.REPEAT_PROMPT)
            child.sendline(entry)
            child.expect_exact(texts.INPUT_PROBLEMS[f"INPUT_PROBLEM_PASSWORD_{complaint}"])
            child.expect_exact(texts.NEW_PASSWORD_PROMPT)
        child.sendline(new_password.lower())
        child.expect_exact(texts.REPEAT_PROMPT)
        child.sendline(f"{new_password}X")
        child.expect_exact(texts.MISMATCH)
        child.sendline(new_password.lower())
        child.expect_exact(texts.OUTCOMES["OUTCOME_DONE"])
        child.expect_exact(texts.REMINDERS[0])
        stack.cardsim.remove("kiosk")
    assert (left[0].code, left[0].echo) == (Ctl.DONE, True)

    references = stack.cardsim.show(CARD)["references"]
    assert references["signing_password"] == {"value": new_password, "tries": 5, "limit": 5}
    assert references["user_pin"]["tries"] == 3
    assert entries(stack) == 3  # the phone's, the wrong one and the right one

    attempt = left[0].screen.split("Attempt ")[1].split(".")[0]
    out, code = desk.run("gatewayctl", "attempt", attempt, "--json")
    assert (json.loads(out)["attempt"]["outcome"], code) == ("OUTCOME_DONE", Ctl.DONE)


def test_each_ending_has_its_exit_code(desk: Desk, user_pin: str) -> None:
    stack = desk.stack
    stack.cardsim.insert(CARD, "kiosk")
    with desk.at("gatewayctl", "reset") as (child, left):
        child.expect_exact(texts.PIN_PROMPT)
        child.sendline(user_pin)
        child.expect_exact(texts.REASONS["REASON_RESERVATION_NOT_FOUND"].what)
        child.expect_exact(texts.REMINDERS[0])
        out, code = desk.run("gatewayctl", "reset", "--json")  # the next citizen
        assert views(out)[-1]["reason"] == "REASON_CARD_LEFT_BEHIND"
        assert code == Ctl.UNAVAILABLE
        stack.cardsim.remove("kiosk")
    assert left[0].code == Ctl.NOT_DONE

    stack.cardsim.insert(CARD, "kiosk")
    with desk.at("gatewayctl", "reset") as (child, left):
        child.expect_exact(texts.PIN_PROMPT)
        out, code = desk.run("gatewayctl", "reset", "--json")
        assert (views(out)[-1]["reason"], code) == ("REASON_BUSY", Ctl.UNAVAILABLE)
        child.send(CTRL_C)
        child.expect_exact(texts.REASONS["REASON_CANCELLED"].what)
        child.expect_exact(texts.REMINDERS[0])
        stack.cardsim.remove("kiosk")
    assert left[0].code == Ctl.NOT_DONE

    assert desk.run("gatewayctl", "attempt", "00000000-0000-4000-8000-000000000000")[1] == Ctl.NO_SUCH_ATTEMPT
    assert WROTE not in stack.cardsim.commands()
    stack.gatewayd.stop()
    assert desk.run("gatewayctl", "status")[1] == Ctl.BROKEN_CALL


def test_the_last_try_wants_a_yes(desk: Desk, user_pin: str) -> None:
    stack = desk.stack
    stack.cardsim.insert(CARD, "phone")
    for tries in (2, 1):
        out, code = desk.run("jpki-phone", "reserve", "--json", lines=f"{WRONG_PIN}\n")
        assert (json.loads(out)["tries_left"], code) == (tries, Phone.NOT_RESERVED)
    out, code = desk.run("jpki-phone", "reserve", "--json", lines=f"no\n{user_pin}\n")
    assert (json.loads(out)["problem"], code) == ("last_try_not_confirmed", Phone.NOT_RESERVED)
    stack.cardsim.move("phone", "kiosk")

    with desk.at("gatewayctl", "reset") as (child, left):
        child.expect_exact(texts.LAST_TRY_PROMPT)
        child.sendline("no")
        child.expect_exact(texts.REMINDERS[0])
        stack.cardsim.remove("kiosk")
    assert left[0].code == Ctl.NOT_DONE
    assert entries(stack) == 2

    stack.cardsim.insert(CARD, "kiosk")
    with desk.at("gatewayctl", "reset") as (child, left):
        child.expect_exact(texts.LAST_TRY_PROMPT)
        child.sendline("yes")
        child.expect_exact(texts.PIN_PROMPT)
        child.sendline(WRONG_PIN)
        child.expect_exact(texts.REASONS["REASON_USER_PIN_LOCKED"].what)
        child.expect_exact(texts.REMINDERS[0])
        stack.cardsim.move("kiosk", "phone")
    assert left[0].code == Ctl.NOT_DONE
    out, code = desk.run("jpki-phone", "reserve", "--json")
    assert (json.loads(out)["problem"], code) == ("user_pin_locked", Phone.NOT_RESERVED)
    assert entries(stack) == 3


def test_a_daemon_that_dies_in_the_dialogue_is_asked_once_it_is_back(desk: Desk, user_pin: str) -> None:
    stack = desk.stack
    reserve(desk, user_pin)
    with desk.at("gatewayctl", "reset") as (child, left):
        child.expect_exact(texts.PIN_PROMPT)
        child.sendline(user_pin)
        child.expect_exact(texts.NEW_PASSWORD_PROMPT)
        stack.gatewayd.kill()
        child.expect_exact("Asking the daemon what became of the attempt.")
        stack.gatewayd.start()
        child.expect_exact("The daemon's record of the attempt says:")
        child.expect_exact(texts.OUTCOMES["OUTCOME_NOT_DONE"])
    assert (left[0].code, left[0].echo) == (Ctl.NOT_DONE, True)
    assert WROTE not in stack.cardsim.commands()


def test_a_script_resets_by_lines(desk: Desk, user_pin: str, new_password: str) -> None:
    stack = desk.stack
    reserve(desk, user_pin)
    with subprocess.Popen(
        [BIN / "gatewayctl", "reset", "--json"],
        env={**os.environ, **stack.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as program:
        assert program.stdin
        assert program.stdout
        program.stdin.write(f"{user_pin}\n{new_password}\n{new_password}\n")
        program.stdin.flush()
        lines = []
        for line in program.stdout:
            lines.append(line)
            if json.loads(line).get("view", {}).get("state") == "STATE_REMOVE_CARD":
                stack.cardsim.remove("kiosk")
        assert program.wait(SECONDS) == Ctl.DONE
    assert json.loads(lines[-1])["outcome"] == "OUTCOME_DONE"
    assert new_password not in "".join(lines)


def test_the_phone_says_what_keeps_it(desk: Desk, user_pin: str) -> None:
    stack = desk.stack
    out, code = desk.run("jpki-phone", "reserve", "--json", "--wait", "0")
    assert (json.loads(out)["problem"], code) == ("no_card", Phone.READER_OR_CARD)
    out, code = desk.run("jpki-phone", "reserve", "--json", "--reader", "Nobody 00 00")
    assert (json.loads(out)["problem"], code) == ("reader_missing", Phone.READER_OR_CARD)
    out, code = desk.run("jpki-phone", "reserve", "--json", "--reader", "")
    assert (json.loads(out)["problem"], code) == ("reader_not_chosen", Phone.READER_OR_CARD)

    stack.cardsim.insert(CARD, "phone")
    stack.centrald.stop()
    out, code = desk.run("jpki-phone", "reserve", "--json", lines=f"{user_pin}\n")
    assert (json.loads(out)["problem"], code) == ("centre_unavailable", Phone.CENTRE_UNAVAILABLE)
    assert entries(stack) == 0
