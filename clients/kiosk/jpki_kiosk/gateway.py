"""The daemon, over its socket for front-ends. The only module that speaks gRPC; everything else gets our own values."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1 import reason_pb2
from jpkireset.gateway.v1 import reset_service_pb2 as reset
from jpkireset.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from jpkireset.gateway.v1.reset_service_pb2_grpc import ResetServiceStub

from jpki_kiosk.values import CardRequest, Outcome, Record, State, Status, View

CALL_S = 5.0  # a unary call, and the writing of one input
STATUS_S = 3.0  # the status, which costs the daemon nothing
LARGEST_MESSAGE_BYTES = 64 * 1024  # views and statuses are far below a kilobyte
OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
    ("grpc.max_send_message_length", LARGEST_MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
)

E = TypeVar("E", State, CardRequest, Outcome)


class BrokenCall(Exception):
    """The daemon gave no answer, or none of use. `code` is gRPC's name of the status."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class NoSuchAttempt(Exception):
    """The daemon never accepted an attempt of that id."""


class Conversation:
    """The stream of one attempt. Reading and answering may go on side by side."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def views(self, attempt_id: str) -> AsyncIterator[View]:
        """Begin the attempt, and yield every view until the daemon ends the stream. Raises BrokenCall."""
        start = reset.Start(attempt_id=attempt_id, procedure=reset.PROCEDURE_SIGNING_PASSWORD, terms_accepted=True)
        with _translated():
            async with asyncio.timeout(CALL_S):
                await self._call.write(reset.ResetPasswordRequest(start=start))
            while (response := await self._call.read()) is not grpc.aio.EOF:
                yield view_of(response.view)
            if (code := await self._call.code()) is not grpc.StatusCode.OK:
                raise BrokenCall(code.name)

    async def enter_user_pin(self, view_number: int, value: bytearray, *, last_try_confirmed: bool) -> None:
        """Answer a view with the 4-digit PIN; the caller wipes it. Raises BrokenCall."""
        user_pin = reset.UserPin(user_pin=bytes(value), last_try_confirmed=last_try_confirmed)
        await self._answer(reset.ResetPasswordRequest(view_number=view_number, user_pin=user_pin))

    async def enter_new_password(self, view_number: int, value: bytearray) -> None:
        """Answer a view with the new password; the caller wipes it. Raises BrokenCall."""
        new_password = reset.NewPassword(new_password=bytes(value))
        await self._answer(reset.ResetPasswordRequest(view_number=view_number, new_password=new_password))

    async def ask_for_more_time(self, view_number: int) -> None:
        """Answer a view with the wish for more time. Raises BrokenCall."""
        await self._answer(reset.ResetPasswordRequest(view_number=view_number, more_time=reset.MoreTime()))

    async def cancel(self, view_number: int) -> None:
        """Answer a view with a cancel. Raises BrokenCall."""
        await self._answer(reset.ResetPasswordRequest(view_number=view_number, cancel=reset.Cancel()))

    def leave(self) -> None:
        """Go away, as a client does that is no more: no cancel. Harmless when repeated."""
        self._call.cancel()

    async def _answer(self, request: reset.ResetPasswordRequest) -> None:
        try:
            with _translated():
                async with asyncio.timeout(CALL_S):
                    await self._call.write(request)
        finally:
            request.Clear()


class Gateway:
    """The daemon's two services on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._resets = ResetServiceStub(channel)
        self._gateway = GatewayServiceStub(channel)

    def converse(self) -> Conversation:
        """Open the stream of a new attempt; nothing is sent before its views are read."""
        return Conversation(self._resets.ResetPassword())

    async def status(self) -> Status:
        """Return the status. Raises BrokenCall."""
        with _translated():
            response = await self._gateway.GetStatus(gateway.GetStatusRequest(), timeout=STATUS_S)
        return status_of(response.status)

    async def statuses(self) -> AsyncIterator[Status]:
        """Yield the status now and after every change. Raises BrokenCall, also when the daemon ends the stream."""
        call = self._gateway.WatchStatus(gateway.WatchStatusRequest())
        try:
            with _translated():
                async for response in call:
                    yield status_of(response.status)
        finally:
            call.cancel()
        raise BrokenCall(grpc.StatusCode.UNAVAILABLE.name)

    async def record(self, attempt_id: str) -> Record:
        """Return what the daemon knows of an attempt. Raises NoSuchAttempt or BrokenCall."""
        request = gateway.GetAttemptRequest(attempt_id=attempt_id)
        with _translated():
            response = await self._gateway.GetAttempt(request, timeout=CALL_S)
        return record_of(response.attempt)


@asynccontextmanager
async def open_gateway(address: str) -> AsyncIterator[Gateway]:
    """Open a channel to `unix:PATH`; nothing is connected before the first call."""
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        yield Gateway(channel)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            raise NoSuchAttempt from None
        raise BrokenCall(error.code().name) from None
    except TimeoutError:
        raise BrokenCall(grpc.StatusCode.DEADLINE_EXCEEDED.name) from None
    except asyncio.InvalidStateError:  # the call ended under our write; the reading side learns why
        raise BrokenCall(grpc.StatusCode.CANCELLED.name) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokenCall(grpc.StatusCode.CANCELLED.name) from None  # the call was cancelled, not we


def view_of(view: reset.View) -> View:
    """Return the proto's view as ours."""
    return View(
        number=view.number,
        attempt_id=view.attempt_id,
        state=_named(State, reset.State, view.state) or State.UNSPECIFIED,
        card_request=_named(CardRequest, reset.CardRequest, view.card_request) or CardRequest.NONE,
        busy=view.busy,
        stage=min(view.reminder_stage, 3),
        tries_left=view.user_pin_tries_left if view.HasField("user_pin_tries_left") else None,
        problem=_problem(view.input_problem),
        seconds_left=view.time_left.ToTimedelta().total_seconds() if view.HasField("time_left") else None,
        expires_at=_time(view.reservation_expires_at) if view.HasField("reservation_expires_at") else None,
        in_doubt=view.in_doubt,
        cancellable=view.cancellable,
        outcome=_named(Outcome, reset.Outcome, view.outcome),
        reason=_reason(view.reason),
    )


def record_of(attempt: gateway.Attempt) -> Record:
    """Return the proto's attempt as ours."""
    return Record(
        attempt_id=attempt.attempt_id,
        state=_named(State, reset.State, attempt.state) or State.UNSPECIFIED,
        outcome=_named(Outcome, reset.Outcome, attempt.outcome),
        reason=_reason(attempt.reason),
        ended_at=_time(attempt.ended_at) if attempt.HasField("ended_at") else None,
    )


def status_of(status: gateway.Status) -> Status:
    """Return the proto's status as ours."""
    names = {value.number: value.name for value in gateway.ReadinessProblem.DESCRIPTOR.values}
    problems = (names.get(problem, "READINESS_PROBLEM_UNSPECIFIED") for problem in status.problems)
    return Status(
        ready=status.ready,
        problems=tuple(problem.removeprefix("READINESS_PROBLEM_") for problem in problems),
        card_present=status.card_present,
        running_attempt_id=status.running_attempt_id,
        kiosk_id=status.kiosk_id,
        opens_at=_time(status.opens_at) if status.HasField("opens_at") else None,
        closes_at=_time(status.closes_at) if status.HasField("closes_at") else None,
    )


def _named(ours: type[E], theirs: Any, number: int) -> E | None:
    """Return our value for a number of the proto; None for its zero, and for one this version does not know."""
    value = theirs.DESCRIPTOR.values_by_number.get(number)
    if value is None or not number:
        return None
    prefix = theirs.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return ours(value.name.removeprefix(prefix).lower())


def _problem(number: int) -> str | None:
    value = reset.InputProblem.DESCRIPTOR.values_by_number.get(number)
    return value.name.removeprefix("INPUT_PROBLEM_").lower() if value and number else None


def _reason(number: int) -> str | None:
    value = reason_pb2.Reason.DESCRIPTOR.values_by_number.get(number)
    return value.name.removeprefix("REASON_") if value and number else None


def _time(stamp: Timestamp) -> datetime.datetime:
    return stamp.ToDatetime(datetime.UTC)
