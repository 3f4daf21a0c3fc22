"""The dialogue against a scripted daemon: what is asked, what is sent, what is claimed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.gateway.v1 import reset_service_pb2 as pb
from jpkireset.gateway.v1.gateway_service_pb2 import Attempt
from jpkireset.gateway.v1.reason_pb2 import (
    REASON_BUSY,
    REASON_CANCELLED,
    REASON_OUTCOME_UNRESOLVED,
    REASON_RESERVATION_NOT_FOUND,
    REASON_RESTARTED,
)

from gatewayctl import texts
from gatewayctl.conversation import Conversation
from gatewayctl.exits import ExitCode
from gatewayctl.link import open_link
from gatewayctl.report import Ending, Reporter, Source
from gatewayctl.terminal import Terminal
from tests.unit.clients.scripted_daemon import Daemon, Script, Stage, serve

ATTEMPT = "0f0e0d0c-0000-4000-8000-000000000001"
PIN = b"7391"
PASSWORD = b"QX7RT2MPLK94ZWB3"


@dataclass
class Person:
    """Types lines, one for each question as it is asked, and reads the screen."""

    lines: list[bytes] = field(default_factory=list)
    screen: str = ""
    emitted: list[str] = field(default_factory=list)
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.descriptor, self._keyboard = os.pipe()

    def read(self, text: str) -> None:
        """Read what is written; a prompt is answered with the next line."""
        self.screen += text
        self.seen.set()
        if text.endswith(": ") and self.lines:
            self.type(self.lines.pop(0))

    def type(self, line: bytes) -> None:
        """Type a line."""
        os.write(self._keyboard, line + b"\n")

    async def until(self, text: str, times: int = 1) -> None:
        """Wait until the text is on the screen."""
        async with asyncio.timeout(10):
            while self.screen.count(text) < times:
                self.seen.clear()
                await self.seen.wait()

    def hang_up(self) -> None:
        """End the input."""
        if self._keyboard >= 0:
            os.close(self._keyboard)
            self._keyboard = -1

    def close(self) -> None:
        """Give the descriptors back."""
        self.hang_up()
        os.close(self.descriptor)


@pytest.fixture
def person() -> Iterator[Person]:
    someone = Person()
    yield someone
    someone.close()


async def hold(daemon: Daemon, person: Person, script: Script) -> Ending:
    daemon.script = script
    async with serve(daemon) as socket, asyncio.timeout(20), open_link(socket) as link:
        return await conversation(link, person).run()


def conversation(link: object, person: Person) -> Conversation:
    terminal = Terminal(person.descriptor, person.read)
    return Conversation(link, terminal, Reporter(terminal.say, person.emitted.append), ATTEMPT)  # type: ignore[arg-type]


async def to_pin(stage: Stage, tries: int = 3) -> None:
    await stage.show(state=pb.STATE_ADMITTING, busy=True, cancellable=True)
    await stage.show(state=pb.STATE_WAITING_FOR_CARD, card_request=pb.CARD_REQUEST_PLACE, cancellable=True)
    await stage.show(state=pb.STATE_READING_CARD, busy=True, cancellable=True)
    await ask_pin(stage, tries)


async def ask_pin(stage: Stage, tries: int, problem: pb.InputProblem.ValueType = pb.INPUT_PROBLEM_UNSPECIFIED) -> None:
    await stage.show(
        state=pb.STATE_ENTER_USER_PIN,
        card_request=pb.CARD_REQUEST_NONE,
        user_pin_tries_left=tries,
        input_problem=problem,
        cancellable=True,
    )


async def ask_password(stage: Stage, problem: pb.InputProblem.ValueType = pb.INPUT_PROBLEM_UNSPECIFIED) -> None:
    await stage.show(state=pb.STATE_ENTER_NEW_PASSWORD, input_problem=problem, user_pin_tries_left=3, cancellable=True)


async def end(stage: Stage, outcome: pb.Outcome.ValueType, reason: int = 0) -> None:
    for state, request in ((pb.STATE_REMOVE_CARD, pb.CARD_REQUEST_LIFT), (pb.STATE_FINISHED, pb.CARD_REQUEST_NONE)):
        await stage.show(state=state, card_request=request, outcome=outcome, reason=reason)


async def take_pin(stage: Stage) -> pb.UserPin:
    request = await stage.take()
    assert request.HasField("user_pin"), request.WhichOneof("input")
    await stage.show(state=pb.STATE_ENTER_USER_PIN, busy=True, user_pin_tries_left=3, cancellable=True)
    return request.user_pin


async def test_a_whole_reset_ends_done(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await to_pin(stage)
        assert (await take_pin(stage)).user_pin == PIN
        await stage.show(state=pb.STATE_CHECKING_RESERVATION, busy=True, cancellable=True)
        await ask_password(stage)
        assert (await stage.take()).new_password.new_password == PASSWORD
        await stage.show(state=pb.STATE_AUTHORIZING, busy=True, cancellable=True)
        await stage.show(state=pb.STATE_WRITING, busy=True)
        for number in range(4):
            await stage.show(
                state=pb.STATE_REMOVE_CARD,
                card_request=pb.CARD_REQUEST_LIFT,
                reminder_stage=number,
                outcome=pb.OUTCOME_DONE,
            )
        await stage.show(state=pb.STATE_FINISHED, outcome=pb.OUTCOME_DONE)

    person.lines = [PIN, PASSWORD, PASSWORD]
    ending = await hold(Daemon(), person, script)

    assert ending == Ending(ATTEMPT, Source.VIEW, pb.OUTCOME_DONE, 0, ExitCode.DONE)  # type: ignore[arg-type]
    for sentence in (
        texts.CARD_REQUESTS["CARD_REQUEST_PLACE"],
        "Three tries are left",
        texts.STATES["STATE_WRITING"],
        *texts.REMINDERS,
    ):
        assert person.screen.count(sentence) == 1
    assert person.screen.count(texts.OUTCOMES["OUTCOME_DONE"]) == 1
    events = [json.loads(line) for line in person.emitted]
    assert [event["event"] for event in events] == ["view"] * 14 + ["ending"]
    assert events[-1] == {
        "event": "ending",
        "attempt_id": ATTEMPT,
        "outcome": "OUTCOME_DONE",
        "reason": "REASON_UNSPECIFIED",
        "source": "view",
        "exit_code": 0,
    }
    for secret in (PIN.decode(), PASSWORD.decode()):
        assert secret not in person.screen + "".join(person.emitted)


async def test_a_wrong_pin_shows_the_tries_and_the_last_try_wants_a_yes(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await to_pin(stage)
        assert not (await take_pin(stage)).last_try_confirmed
        await ask_pin(stage, 2, pb.INPUT_PROBLEM_USER_PIN_WRONG)
        assert not (await take_pin(stage)).last_try_confirmed
        await ask_pin(stage, 1, pb.INPUT_PROBLEM_USER_PIN_WRONG)
        assert (await take_pin(stage)).last_try_confirmed
        await end(stage, pb.OUTCOME_NOT_DONE, REASON_RESERVATION_NOT_FOUND)

    person.lines = [b"0000", b"1111", b"yes", PIN]
    ending = await hold(Daemon(), person, script)

    assert ending.exit_code is ExitCode.NOT_DONE
    order = [
        "Three tries",
        texts.INPUT_PROBLEMS["INPUT_PROBLEM_USER_PIN_WRONG"],
        "Two tries",
        "One try is left (あと1回).\n",
    ]
    assert [person.screen.index(text) for text in order] == sorted(person.screen.index(text) for text in order)
    assert texts.LAST_TRY in person.screen
    assert texts.REASONS["REASON_RESERVATION_NOT_FOUND"].next in person.screen
    assert texts.OUTCOMES["OUTCOME_DONE"] not in person.screen


@pytest.mark.parametrize("answer", [b"no", b"", b"y", None])
async def test_an_unconfirmed_last_try_is_a_cancel(person: Person, answer: bytes | None) -> None:
    async def script(stage: Stage) -> None:
        await to_pin(stage, tries=1)
        assert (await stage.take()).HasField("cancel")
        await end(stage, pb.OUTCOME_NOT_DONE, REASON_CANCELLED)

    person.lines = [answer] if answer is not None else []
    if answer is None:
        person.hang_up()
    assert (await hold(Daemon(), person, script)).exit_code is ExitCode.NOT_DONE


async def test_passwords_that_differ_never_leave_the_terminal(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await ask_password(stage)
        assert (await stage.take()).new_password.new_password == PASSWORD
        await ask_password(stage, pb.INPUT_PROBLEM_PASSWORD_NO_DIGIT)
        assert (await stage.take()).HasField("new_password")
        await end(stage, pb.OUTCOME_UNKNOWN, REASON_OUTCOME_UNRESOLVED)

    person.lines = [b"FIRST1", b"OTHER1", b"OTHER2", PASSWORD, b"TYPO99", PASSWORD, PASSWORD, PASSWORD]
    ending = await hold(Daemon(), person, script)

    assert ending.exit_code is ExitCode.UNKNOWN
    assert person.screen.count(texts.MISMATCH) == 2
    assert person.screen.count(texts.MISMATCH_TWICE) == 1
    assert texts.INPUT_PROBLEMS["INPUT_PROBLEM_PASSWORD_NO_DIGIT"] in person.screen
    assert texts.OUTCOMES["OUTCOME_UNKNOWN"] in person.screen


async def test_an_empty_line_asks_for_more_time_and_the_question_stays(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await to_pin(stage)
        assert (await stage.take()).HasField("more_time")
        await ask_pin(stage, 3)  # the same question under a new number
        assert (await take_pin(stage)).user_pin == PIN
        await end(stage, pb.OUTCOME_NOT_DONE, REASON_CANCELLED)

    async def type_late() -> None:
        await person.until(texts.PIN_PROMPT, times=2)
        person.type(PIN)

    person.lines = [b""]
    async with asyncio.TaskGroup() as group:
        group.create_task(type_late())
        held = group.create_task(hold(Daemon(), person, script))
    assert held.result().exit_code is ExitCode.NOT_DONE


async def test_time_running_out_is_said_below_an_open_question(person: Person) -> None:
    async def script(stage: Stage) -> None:
        soon = Duration(seconds=30, nanos=50_000_000)
        await stage.show(state=pb.STATE_ENTER_NEW_PASSWORD, time_left=soon, cancellable=True)
        await person.until(f"{texts.MORE_TIME_SOON}\n{texts.NEW_PASSWORD_PROMPT}")
        await end(stage, pb.OUTCOME_NOT_DONE, REASON_CANCELLED)

    assert (await hold(Daemon(), person, script)).exit_code is ExitCode.NOT_DONE


async def test_a_question_is_withdrawn_when_the_view_asks_something_else(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await to_pin(stage)
        await person.until(texts.PIN_PROMPT)
        await stage.show(
            state=pb.STATE_ENTER_USER_PIN,
            card_request=pb.CARD_REQUEST_PLACE_SAME,
            user_pin_tries_left=3,
            cancellable=True,
        )
        await person.until(texts.CARD_REQUESTS["CARD_REQUEST_PLACE_SAME"])
        await ask_pin(stage, 1, pb.INPUT_PROBLEM_CARD_LIFTED)
        await person.until(texts.LAST_TRY_PROMPT)
        await end(stage, pb.OUTCOME_NOT_DONE, REASON_CANCELLED)

    assert (await hold(Daemon(), person, script)).exit_code is ExitCode.NOT_DONE


async def test_an_attempt_that_cannot_begin_has_its_own_exit_code(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await stage.show(state=pb.STATE_FINISHED, outcome=pb.OUTCOME_NOT_DONE, reason=REASON_BUSY)

    ending = await hold(Daemon(), person, script)
    assert ending.exit_code is ExitCode.UNAVAILABLE
    assert texts.REASONS["REASON_BUSY"].what in person.screen


async def test_the_reservations_end_is_said_once(person: Person) -> None:
    async def script(stage: Stage) -> None:
        expires = Timestamp(seconds=1_795_413_840)
        await stage.show(state=pb.STATE_ENTER_NEW_PASSWORD, reservation_expires_at=expires, cancellable=True)
        await stage.show(state=pb.STATE_AUTHORIZING, reservation_expires_at=expires, busy=True)
        await end(stage, pb.OUTCOME_NOT_DONE, REASON_CANCELLED)

    await hold(Daemon(), person, script)
    assert person.screen.count("lives until Mon 2026-11-23 15:04:00 (Asia/Tokyo)") == 1


async def test_doubt_is_said(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await stage.show(state=pb.STATE_ENTER_NEW_PASSWORD, in_doubt=True, cancellable=True)
        assert (await stage.take()).HasField("cancel")
        await end(stage, pb.OUTCOME_UNKNOWN, REASON_CANCELLED)

    person.hang_up()
    assert (await hold(Daemon(), person, script)).exit_code is ExitCode.UNKNOWN
    assert texts.IN_DOUBT in person.screen


async def interrupted(daemon: Daemon, person: Person, script: Script, sentences: list[str]) -> Ending:
    """Hold the conversation and press Ctrl-C at each of the sentences."""
    daemon.script = script
    async with serve(daemon) as socket, asyncio.timeout(20), open_link(socket) as link:
        talk = conversation(link, person)
        running = asyncio.create_task(talk.run())
        for sentence in sentences:
            await person.until(sentence)
            talk.interrupt()
        return await running


async def test_ctrl_c_cancels_and_waits_for_the_outcome(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await to_pin(stage)
        assert (await stage.take()).HasField("cancel")
        await end(stage, pb.OUTCOME_NOT_DONE, REASON_CANCELLED)

    ending = await interrupted(Daemon(), person, script, [texts.PIN_PROMPT])
    assert (ending.source, ending.exit_code) == (Source.VIEW, ExitCode.NOT_DONE)
    assert texts.CANCELLING in person.screen


async def test_a_cancel_that_crossed_a_newer_view_is_sent_again(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await stage.show(state=pb.STATE_WAITING_FOR_CARD, card_request=pb.CARD_REQUEST_PLACE, cancellable=True)
        stage.number += 1  # as if a newer view were already on its way when the cancel came
        await person.until(texts.CANCELLING)
        await stage.show(state=pb.STATE_WAITING_FOR_CARD, card_request=pb.CARD_REQUEST_PLACE, cancellable=True)
        request = await stage.take()
        assert request.HasField("cancel")
        await end(stage, pb.OUTCOME_NOT_DONE, REASON_CANCELLED)

    ending = await interrupted(Daemon(), person, script, [texts.CARD_REQUESTS["CARD_REQUEST_PLACE"]])
    assert ending.exit_code is ExitCode.NOT_DONE


async def test_ctrl_c_during_the_write_waits_for_the_truth(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await stage.show(state=pb.STATE_WRITING, busy=True)
        await person.until(texts.TOO_LATE_TO_CANCEL)
        await end(stage, pb.OUTCOME_DONE)

    ending = await interrupted(Daemon(), person, script, [texts.STATES["STATE_WRITING"]])
    assert ending.exit_code is ExitCode.DONE


async def test_a_second_ctrl_c_leaves_and_claims_nothing(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await stage.show(state=pb.STATE_WRITING, busy=True)
        with pytest.raises(EOFError):
            await stage.take()

    ending = await interrupted(Daemon(), person, script, [texts.STATES["STATE_WRITING"], texts.TOO_LATE_TO_CANCEL])
    assert (ending.source, ending.exit_code) == (Source.NOBODY, ExitCode.LEFT)
    assert texts.LEFT.format(attempt_id=ATTEMPT) in person.screen


async def test_a_second_ctrl_c_while_the_card_is_asked_back_keeps_the_outcome(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await stage.show(state=pb.STATE_REMOVE_CARD, card_request=pb.CARD_REQUEST_LIFT, outcome=pb.OUTCOME_DONE)
        with pytest.raises(EOFError):
            await stage.take()

    ending = await interrupted(Daemon(), person, script, [texts.REMINDERS[0], texts.TOO_LATE_TO_CANCEL])
    assert (ending.source, ending.exit_code) == (Source.VIEW, ExitCode.DONE)


@pytest.mark.parametrize(
    ("record", "source", "code"),
    [
        ([Attempt(state=pb.STATE_FINISHED, outcome=pb.OUTCOME_DONE)], Source.RECORD, ExitCode.DONE),
        (
            [Attempt(state=pb.STATE_FINISHED, outcome=pb.OUTCOME_UNKNOWN, reason=REASON_RESTARTED)],
            Source.RECORD,
            ExitCode.UNKNOWN,
        ),
        (
            [Attempt(state=pb.STATE_WRITING), Attempt(state=pb.STATE_REMOVE_CARD, outcome=pb.OUTCOME_NOT_DONE)],
            Source.RECORD,
            ExitCode.NOT_DONE,
        ),
        ([Attempt(state=pb.STATE_WRITING)], Source.RECORD, ExitCode.RUNNING),
        ([], Source.NOBODY, ExitCode.BROKEN_CALL),
    ],
)
async def test_a_broken_stream_is_answered_from_the_record(
    person: Person, record: list[Attempt], source: Source, code: ExitCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatewayctl.conversation.POLL_S", 0.01)

    async def script(stage: Stage) -> None:
        await stage.show(state=pb.STATE_WRITING, busy=True)
        await stage.context.abort(grpc.StatusCode.INTERNAL, "planted")

    ending = await hold(Daemon(attempts=record), person, script)
    assert (ending.source, ending.exit_code) == (source, code)
    assert "INTERNAL: planted" in person.screen
    if code is not ExitCode.DONE:
        assert texts.OUTCOMES["OUTCOME_DONE"] not in person.screen
    assert (texts.JOURNAL_LOST in person.screen) == (not record)
    assert texts.NEVER_ACCEPTED not in person.screen


async def test_an_attempt_that_never_began_changed_nothing(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await stage.context.abort(grpc.StatusCode.INTERNAL, "planted")

    ending = await hold(Daemon(), person, script)
    assert (ending.source, ending.exit_code) == (Source.NOBODY, ExitCode.BROKEN_CALL)
    assert texts.NEVER_ACCEPTED in person.screen


async def test_a_stream_that_just_ends_is_no_outcome(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await stage.show(state=pb.STATE_WRITING, busy=True)

    record = [Attempt(state=pb.STATE_FINISHED, outcome=pb.OUTCOME_UNKNOWN, reason=REASON_OUTCOME_UNRESOLVED)]
    assert (await hold(Daemon(attempts=record), person, script)).exit_code is ExitCode.UNKNOWN


async def test_a_known_attempt_id_begins_nothing(person: Person) -> None:
    async def script(stage: Stage) -> None:
        await stage.context.abort(grpc.StatusCode.ALREADY_EXISTS, "known")

    record = [Attempt(state=pb.STATE_FINISHED, outcome=pb.OUTCOME_NOT_DONE, reason=REASON_CANCELLED)]
    ending = await hold(Daemon(attempts=record), person, script)
    assert (ending.source, ending.exit_code) == (Source.RECORD, ExitCode.NOT_DONE)
    assert "nothing was begun now" in person.screen


async def test_without_a_daemon_nothing_is_claimed(person: Person) -> None:
    async with asyncio.timeout(20), open_link("/nonexistent/api.sock") as link:
        ending = await conversation(link, person).run()
    assert (ending.source, ending.exit_code) == (Source.NOBODY, ExitCode.BROKEN_CALL)
    assert "is not known" in person.screen
