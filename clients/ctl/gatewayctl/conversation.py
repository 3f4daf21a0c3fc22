"""One attempt in a terminal: views come, answers go, and the outcome is told as the daemon told it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import grpc
from jpkireset.gateway.v1.gateway_service_pb2 import Attempt
from jpkireset.gateway.v1.reason_pb2 import REASON_UNSPECIFIED
from jpkireset.gateway.v1.reset_service_pb2 import (
    OUTCOME_UNSPECIFIED,
    PROCEDURE_SIGNING_PASSWORD,
    Cancel,
    ResetPasswordRequest,
    Start,
    View,
)

from gatewayctl import texts
from gatewayctl.exits import ExitCode
from gatewayctl.link import BrokenCall, Link, NoSuchAttempt, broken
from gatewayctl.questions import Question, answer, question_of
from gatewayctl.report import Ending, Reporter, Source, exit_code_of, outcome_lines
from gatewayctl.terminal import Terminal

MORE_TIME_WARNING_S = 30.0
RETURN_S = 15.0  # how long a daemon that went away is waited for
POLLS = 15  # of an attempt that runs on without us
POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class _ViewCame:
    view: View


@dataclass(frozen=True, slots=True)
class _StreamEnded:
    error: BrokenCall | None


@dataclass(frozen=True, slots=True)
class _Answered:
    task: asyncio.Task[ResetPasswordRequest]


class _Interrupted:
    """Ctrl-C."""


_Event = _ViewCame | _StreamEnded | _Answered | _Interrupted


class Conversation:
    """The attempt, from start to outcome. Call `run` once; `interrupt` may be called at any time on its loop."""

    def __init__(self, link: Link, terminal: Terminal, reporter: Reporter, attempt_id: str) -> None:
        self._link = link
        self._terminal = terminal
        self._reporter = reporter
        self._attempt_id = attempt_id
        self._events: asyncio.Queue[_Event] = asyncio.Queue()
        self._call: Any = None
        self._view = View()
        self._question: Question | None = None
        self._asking: asyncio.Task[ResetPasswordRequest] | None = None
        self._warning: asyncio.TimerHandle | None = None
        self._interrupts = 0
        self._cancelling = False

    def interrupt(self) -> None:
        """Cancel; at the second time, leave."""
        self._events.put_nowait(_Interrupted())

    async def run(self) -> Ending:
        """Hold the dialogue and return what is known at its end; the person has been told by then."""
        self._call = self._link.reset_service.ResetPassword()
        receiving = asyncio.create_task(self._receive())
        try:
            ending = await self._until_ended()
        finally:
            self._stop_asking()
            self._stop_warning()
            receiving.cancel()
            self._call.cancel()
        self._reporter.ending(ending)
        return ending

    async def _receive(self) -> None:
        error: BrokenCall | None = None
        try:
            start = Start(attempt_id=self._attempt_id, procedure=PROCEDURE_SIGNING_PASSWORD, terms_accepted=True)
            await self._call.write(ResetPasswordRequest(start=start))
            while (response := await self._call.read()) is not grpc.aio.EOF:
                self._events.put_nowait(_ViewCame(response.view))
        except grpc.aio.AioRpcError as broken_call:
            error = broken(broken_call)
        except asyncio.InvalidStateError:  # the call ended under our write; its status says why
            error = BrokenCall((await self._call.code()).name, await self._call.details() or "no detail")
        self._events.put_nowait(_StreamEnded(error))

    async def _until_ended(self) -> Ending:
        while True:
            match await self._events.get():
                case _ViewCame(view):
                    await self._take_view(view)
                case _Answered(task):
                    await self._take_answer(task)
                case _Interrupted():
                    if await self._take_interrupt():
                        return self._left()
                case _StreamEnded(error):
                    self._stop_asking()
                    return await self._ended(error)

    async def _take_view(self, view: View) -> None:
        question = question_of(view)
        if self._asking and question != self._question:
            self._stop_asking()
        self._view = view
        self._reporter.view(view)
        self._warn_before_the_end(view)
        if self._cancelling:
            await self._cancel()  # the one sent before named an older view, and was dropped with it
        elif question and not self._asking:
            self._ask(question)

    async def _take_answer(self, task: asyncio.Task[ResetPasswordRequest]) -> None:
        if task is not self._asking:
            return  # the question was withdrawn before the answer was taken
        self._asking = None
        request = task.result()
        self._cancelling = self._cancelling or request.HasField("cancel")
        await self._send(request)  # every answer brings a view, which asks again if it must

    async def _take_interrupt(self) -> bool:
        self._interrupts += 1
        if self._interrupts > 1:
            return True
        self._stop_asking()
        if self._view.outcome != OUTCOME_UNSPECIFIED or (self._view.number and not self._view.cancellable):
            self._reporter.say(texts.TOO_LATE_TO_CANCEL)
        else:
            self._reporter.say(texts.CANCELLING)
        self._cancelling = True
        await self._cancel()
        return False

    async def _cancel(self) -> None:
        if self._view.cancellable and self._view.outcome == OUTCOME_UNSPECIFIED:
            await self._send(ResetPasswordRequest(cancel=Cancel()))

    async def _send(self, request: ResetPasswordRequest) -> None:
        request.view_number = self._view.number
        try:
            await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the stream ended; the reading side tells why
        finally:
            request.Clear()

    def _ask(self, question: Question) -> None:
        self._question = question
        self._asking = asyncio.create_task(answer(question, self._terminal))
        self._asking.add_done_callback(self._report_answer)

    def _report_answer(self, task: asyncio.Task[ResetPasswordRequest]) -> None:
        if not task.cancelled():
            self._events.put_nowait(_Answered(task))

    def _stop_asking(self) -> None:
        if self._asking:
            self._asking.cancel()
            self._asking = None

    def _warn_before_the_end(self, view: View) -> None:
        self._stop_warning()
        left_s = view.time_left.ToTimedelta().total_seconds() - MORE_TIME_WARNING_S
        if question_of(view) and left_s > 0:
            loop = asyncio.get_running_loop()
            self._warning = loop.call_later(left_s, self._reporter.say, texts.MORE_TIME_SOON)

    def _stop_warning(self) -> None:
        if self._warning:
            self._warning.cancel()
            self._warning = None

    def _left(self) -> Ending:
        if self._view.outcome != OUTCOME_UNSPECIFIED:
            return self._ending_of_view()
        self._reporter.say(texts.LEFT.format(attempt_id=self._attempt_id))
        return self._not_known(ExitCode.LEFT)

    async def _ended(self, error: BrokenCall | None) -> Ending:
        if self._view.outcome != OUTCOME_UNSPECIFIED:
            return self._ending_of_view()
        words = error or "the daemon ended the stream without an outcome"
        if error and error.code == grpc.StatusCode.ALREADY_EXISTS.name:
            self._reporter.say("The daemon knows this attempt id already; nothing was begun now.")
        else:
            self._reporter.say(f"The call broke ({words}). Asking the daemon what became of the attempt.")
        recording = asyncio.create_task(self._record())
        try:
            if not await self._outlasts_interrupts(recording):
                return self._left()
            return self._ending_of_record(recording.result())
        except NoSuchAttempt:
            self._reporter.say(texts.JOURNAL_LOST if self._began else texts.NEVER_ACCEPTED)
        except BrokenCall as again:
            self._reporter.say(
                f"The daemon cannot be reached ({again}). What became of the attempt is not known; "
                f"`gatewayctl attempt {self._attempt_id}` tells it once the daemon answers."
            )
        return self._not_known(ExitCode.BROKEN_CALL)

    @property
    def _began(self) -> bool:
        """Whether the daemon accepted the attempt, as far as was seen."""
        return self._view.number > 0

    async def _record(self) -> Attempt:
        attempt = await self._link.attempt(self._attempt_id, wait_s=RETURN_S if self._began else 0.0)
        for _ in range(POLLS):  # from the write on, an attempt runs to its result without its client
            if attempt.outcome != OUTCOME_UNSPECIFIED:
                break
            await asyncio.sleep(POLL_S)
            attempt = await self._link.attempt(self._attempt_id)
        return attempt

    async def _outlasts_interrupts(self, task: asyncio.Task[Attempt]) -> bool:
        """Return whether the task ended before the person left."""
        task.add_done_callback(lambda _: self._events.put_nowait(_StreamEnded(None)))  # wakes us up, no more
        while not task.done():
            if isinstance(await self._events.get(), _Interrupted):
                task.cancel()
                return False
        return True

    def _ending_of_view(self) -> Ending:
        code = exit_code_of(self._view.outcome, self._view.reason)
        return Ending(self._attempt_id, Source.VIEW, self._view.outcome, self._view.reason, code)

    def _ending_of_record(self, attempt: Attempt) -> Ending:
        if attempt.outcome == OUTCOME_UNSPECIFIED:
            self._reporter.say(
                f"The attempt is still running; `gatewayctl attempt {self._attempt_id}` tells its outcome."
            )
        else:
            self._reporter.say("The daemon's record of the attempt says:")
            for line in outcome_lines(attempt.outcome, attempt.reason):
                self._reporter.say(line)
        code = exit_code_of(attempt.outcome, attempt.reason)
        return Ending(self._attempt_id, Source.RECORD, attempt.outcome, attempt.reason, code)

    def _not_known(self, code: ExitCode) -> Ending:
        return Ending(self._attempt_id, Source.NOBODY, OUTCOME_UNSPECIFIED, REASON_UNSPECIFIED, code)
