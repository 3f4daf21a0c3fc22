"""Hidden questions on a real terminal: nothing typed is ever shown, and the terminal is given back as it was."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.gateway.v1 import reset_service_pb2 as pb
from jpkireset.gateway.v1.gateway_service_pb2 import READINESS_PROBLEM_OUT_OF_HOURS, Attempt, Status
from jpkireset.gateway.v1.reason_pb2 import REASON_CANCELLED
from pexpect.fdpexpect import fdspawn

from gatewayctl import texts
from gatewayctl.exits import ExitCode
from gatewayctl.terminal import LOCAL_FLAGS, Terminal
from jpki_phone import person as phone_person
from jpki_phone.problems import PROBLEMS, Problem
from tests.rig.process import BIN, wait_until
from tests.rig.terminal import CTRL_BACKSLASH, CTRL_C, CTRL_D, SECONDS, Left, terminal
from tests.unit.clients.scripted_daemon import Daemon, Script, Stage, serve
from tests.unit.clients.test_ctl_reset import ATTEMPT, PASSWORD, PIN, ask_password, ask_pin, end, take_pin, to_pin

TYPED_AHEAD = "8642086420"


async def reset(script: Script, drive: Callable[[fdspawn[str]], None], *options: str) -> Left:
    """Run `gatewayctl reset` at a terminal against the script."""

    def run(socket: str) -> Left:
        with terminal([str(BIN / "gatewayctl"), "--socket", socket, "reset", *options]) as (child, left):
            drive(child)
            return left()

    async with serve(Daemon(script=script)) as socket, asyncio.timeout(2 * SECONDS):
        return await asyncio.to_thread(run, socket)


def waiting(child: fdspawn[str]) -> int:
    """How many bytes lie in the terminal and were not read yet; what is written to it gets there a little later."""
    terminal_side = os.open(child.name, os.O_RDONLY | os.O_NOCTTY)
    try:
        count = fcntl.ioctl(terminal_side, termios.FIONREAD, bytes(4))
    finally:
        os.close(terminal_side)
    return int.from_bytes(count, sys.byteorder)


async def test_nothing_typed_is_shown_and_nothing_typed_ahead_is_taken() -> None:
    taken, typed_ahead = threading.Event(), threading.Event()

    async def script(stage: Stage) -> None:
        await to_pin(stage, tries=2)
        assert (await take_pin(stage)).user_pin == b"0000"
        taken.set()
        assert await asyncio.to_thread(typed_ahead.wait, SECONDS)
        await ask_pin(stage, 1, pb.INPUT_PROBLEM_USER_PIN_WRONG)
        assert (await take_pin(stage)).user_pin == PIN
        await ask_password(stage)
        assert (await stage.take()).new_password.new_password == PASSWORD
        await end(stage, pb.OUTCOME_DONE)

    def drive(child: fdspawn[str]) -> None:
        child.expect_exact(texts.PIN_PROMPT)
        child.sendline("0000")
        assert taken.wait(SECONDS)
        child.sendline(TYPED_AHEAD)  # answers nothing: the next question was not on the screen yet
        wait_until(lambda: waiting(child) > len(TYPED_AHEAD), SECONDS, "what was typed ahead has reached the terminal")
        typed_ahead.set()
        child.expect_exact(texts.LAST_TRY_PROMPT)
        child.sendline("yes")
        child.expect_exact(texts.PIN_PROMPT)
        child.sendline(PIN.decode())
        for prompt in (texts.NEW_PASSWORD_PROMPT, texts.REPEAT_PROMPT):
            child.expect_exact(prompt)
            child.sendline(PASSWORD.decode())

    left = await reset(script, drive, "--attempt-id", ATTEMPT)
    assert left.code == ExitCode.DONE
    assert left.echo
    assert texts.OUTCOMES["OUTCOME_DONE"] in left.screen
    for secret in ("0000", TYPED_AHEAD, PIN.decode(), PASSWORD.decode()):
        assert secret not in left.screen.replace(ATTEMPT, "")


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D, CTRL_BACKSLASH])
async def test_ctrl_c_and_the_end_of_input_cancel_and_wait(key: str) -> None:
    async def script(stage: Stage) -> None:
        await to_pin(stage)
        assert (await stage.take()).HasField("cancel")
        await end(stage, pb.OUTCOME_NOT_DONE, REASON_CANCELLED)

    def drive(child: fdspawn[str]) -> None:
        child.expect_exact(texts.PIN_PROMPT)
        child.send("" if key is CTRL_D else "12")  # half an entry goes nowhere
        child.send(key)

    left = await reset(script, drive, "--attempt-id", ATTEMPT)
    assert (left.code, left.echo) == (ExitCode.NOT_DONE, True)
    assert texts.OUTCOMES["OUTCOME_NOT_DONE"] in left.screen


async def test_a_second_ctrl_c_leaves_with_the_terminal_as_it_was() -> None:
    async def script(stage: Stage) -> None:
        await to_pin(stage)
        assert (await stage.take()).HasField("cancel")
        with pytest.raises(EOFError):
            await stage.take()

    def drive(child: fdspawn[str]) -> None:
        child.expect_exact(texts.PIN_PROMPT)
        child.send(CTRL_C)
        child.expect_exact(texts.CANCELLING)
        child.send(CTRL_C)

    left = await reset(script, drive, "--attempt-id", ATTEMPT)
    assert (left.code, left.echo) == (ExitCode.LEFT, True)
    assert texts.LEFT.format(attempt_id=ATTEMPT) in left.screen


async def run(
    arguments: list[str], daemon: Daemon, stdin: bytes = b"", *, variable: str = "GATEWAYD_SOCKET"
) -> tuple[str, str, int]:
    """Run `gatewayctl` without a terminal and return both outputs and the exit code."""
    async with serve(daemon) as socket, asyncio.timeout(2 * SECONDS):
        process = await asyncio.create_subprocess_exec(
            BIN / "gatewayctl",
            *arguments,
            env={**os.environ, variable: socket},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return out.decode(), err.decode(), process.returncode


async def test_a_script_drives_the_dialogue_by_lines_and_reads_json() -> None:
    async def script(stage: Stage) -> None:
        await to_pin(stage, tries=1)
        assert (await take_pin(stage)).last_try_confirmed
        await ask_password(stage)
        assert (await stage.take()).new_password.new_password == PASSWORD
        await end(stage, pb.OUTCOME_DONE)

    lines = b"\n".join([b"yes", PIN, PASSWORD, PASSWORD, b""])
    out, err, code = await run(["reset", "--json", "--attempt-id", ATTEMPT], Daemon(script=script), lines)
    assert code == ExitCode.DONE
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["view"]["number"] for event in events[:-1]] == list(range(1, 9))
    assert events[3]["view"]["user_pin_tries_left"] == 1
    assert events[-1]["outcome"] == "OUTCOME_DONE"
    assert texts.OUTCOMES["OUTCOME_DONE"] in err
    assert PASSWORD.decode() not in out + err


async def test_a_file_can_be_standard_input(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await to_pin(stage)
        await take_pin(stage)
        await ask_password(stage)
        assert (await stage.take()).HasField("cancel")  # the file is at its end
        await end(stage, pb.OUTCOME_NOT_DONE, REASON_CANCELLED)

    answers = tmp_path / "answers"
    answers.write_bytes(PIN + b"\n")
    async with serve(Daemon(script=script)) as socket, asyncio.timeout(SECONDS):
        with answers.open("rb") as stdin:
            process = await asyncio.create_subprocess_exec(
                BIN / "gatewayctl", "--socket", socket, "reset", stdin=stdin, stdout=asyncio.subprocess.DEVNULL
            )
        assert await process.wait() == ExitCode.NOT_DONE


READY = Status(ready=True, reader="Kiosk 00 00", kiosk_id="chain-a/store-0001/kiosk-1", version="0.1.0")
CLOSED = Status(problems=[READINESS_PROBLEM_OUT_OF_HOURS], opens_at=Timestamp(seconds=1_795_296_600))


async def test_status_in_words() -> None:
    out, _, code = await run(["status"], Daemon(statuses=[READY]))
    assert code == ExitCode.DONE
    assert "Kiosk 00 00" in out
    out, _, code = await run(["status"], Daemon(statuses=[CLOSED]))
    assert code == ExitCode.UNAVAILABLE
    assert "out_of_hours: out of opening hours" in out
    assert "Sun 2026-11-22 06:30:00 (Asia/Tokyo)" in out
    assert "Centre" not in out
    out, _, _ = await run(["status"], Daemon(statuses=[Status(central_detail="dns, circuit open")]))
    assert "Centre" in out
    assert "dns, circuit open" in out


async def test_status_is_told_to_an_operator_who_may_not_use_the_kiosks_socket() -> None:
    out, _, code = await run(["status"], Daemon(statuses=[READY]), variable="GATEWAYD_OPERATORS_SOCKET")
    assert code == ExitCode.DONE
    assert "Kiosk 00 00" in out


async def test_status_is_watched_until_the_daemon_goes() -> None:
    out, err, code = await run(["status", "--watch", "--json"], Daemon(statuses=[READY, CLOSED]))
    assert [json.loads(line)["status"]["ready"] for line in out.splitlines()] == [True, False]
    assert code == ExitCode.BROKEN_CALL
    assert "the daemon ended the stream" in err


async def test_attempts_are_told_from_the_record() -> None:
    done = Attempt(state=pb.STATE_FINISHED, outcome=pb.OUTCOME_DONE)
    out, _, code = await run(["attempt", ATTEMPT], Daemon(attempts=[done]))
    assert code == ExitCode.DONE
    assert texts.OUTCOMES["OUTCOME_DONE"] in " ".join(out.split())
    out, _, code = await run(["attempt", ATTEMPT, "--json"], Daemon(attempts=[Attempt(state=pb.STATE_WRITING)]))
    assert (json.loads(out)["attempt"]["state"], code) == ("STATE_WRITING", ExitCode.RUNNING)
    _, _, code = await run(["attempt", ATTEMPT], Daemon())
    assert code == ExitCode.NO_SUCH_ATTEMPT


@pytest.mark.parametrize("arguments", [["attempt", "no-uuid"], ["reset", "--attempt-id", "no-uuid"], ["unheard-of"]])
async def test_a_wrong_command_line_is_code_2(arguments: list[str]) -> None:
    assert (await run(arguments, Daemon()))[2] == ExitCode.USAGE


def test_help_needs_neither_grpc_nor_the_contract() -> None:
    for module in ("gatewayctl.cli", "jpki_phone.cli"):
        code = (
            f"import sys, {module}; sys.exit(any(m in sys.modules for m in ('grpc', 'google.protobuf', 'smartcard')))"
        )
        assert subprocess.run([sys.executable, "-c", code], timeout=SECONDS, check=False).returncode == 0


PHONE = "from jpki_phone.person import ask_user_pin; assert ask_user_pin({tries}) == b'{pin}'"


@pytest.mark.parametrize("tries", [3, 1])
def test_the_phones_pin_is_hidden_too(tries: int) -> None:
    program = PHONE.format(tries=tries, pin=PIN.decode())
    with terminal([sys.executable, "-c", program]) as (child, left):
        child.expect_exact(phone_person.tries_left(tries))
        if tries == 1:
            child.expect_exact("Type yes")
            child.sendline("yes")
        child.expect_exact("hidden: ")
        child.sendline(PIN.decode())
        end_of_it = left()
    assert (end_of_it.code, end_of_it.echo) == (0, True)
    assert PIN.decode() not in end_of_it.screen


def test_what_is_no_text_is_no_pin() -> None:
    with terminal([sys.executable, "-c", PHONE.format(tries=3, pin=PIN.decode())]) as (child, left):
        child.expect_exact("hidden: ")
        os.write(child.child_fd, b"\xff" + PIN + b"\n")
        end_of_it = left()
    assert end_of_it.echo
    assert PROBLEMS[Problem.USER_PIN_FORMAT].what in end_of_it.screen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_at_the_phones_question_leaves_the_terminal_as_it_was(number: signal.Signals) -> None:
    """The program tells its own number first: a terminal knows only its shell."""
    program = "import os; print(f'[pid {os.getpid()}]', flush=True); " + PHONE.format(tries=3, pin=PIN.decode())
    with terminal([sys.executable, "-c", program]) as (child, left):
        child.expect(r"\[pid (\d+)\]")
        assert isinstance(child.match, re.Match)
        process = int(child.match[1])
        child.expect_exact("hidden: ")
        child.send("13")
        os.kill(process, number)
        end_of_it = left()
    assert (end_of_it.code, end_of_it.echo) == (128 + number, True)


@pytest.mark.parametrize(
    ("tries", "lines", "key"),
    [
        (1, "no\n7391\n", "last_try_not_confirmed"),
        (2, "", "nothing_entered"),
        (2, "12345\n", "user_pin_format"),
        (2, "12a4\n", "user_pin_format"),
    ],
)
def test_the_phone_takes_four_digits_from_a_script_and_nothing_else(tries: int, lines: str, key: str) -> None:
    program = PHONE.format(tries=tries, pin=PIN.decode())
    ended = subprocess.run(
        [sys.executable, "-c", program], input=lines, text=True, capture_output=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith(PROBLEMS[Problem(key)].what)


async def test_echo_is_taken_back_after_a_shell_had_the_terminal() -> None:
    keyboard, descriptor = os.openpty()
    try:
        reader = Terminal(descriptor, lambda text: None)
        with reader.hushed():
            attributes = termios.tcgetattr(descriptor)
            attributes[LOCAL_FLAGS] |= termios.ECHO
            termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
            reader.hush_again()
            assert not termios.tcgetattr(descriptor)[LOCAL_FLAGS] & termios.ECHO
        assert termios.tcgetattr(descriptor)[LOCAL_FLAGS] & termios.ECHO
    finally:
        os.close(keyboard)
        os.close(descriptor)
