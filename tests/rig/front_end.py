"""A kiosk's front-end without a screen: one attempt through the generated stubs, its inputs given by the caller."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Self

import grpc
from jpkireset.gateway.v1 import (
    gateway_service_pb2,
    gateway_service_pb2_grpc,
    reset_service_pb2,
    reset_service_pb2_grpc,
)
from jpkireset.gateway.v1.reset_service_pb2 import ResetPasswordRequest, View

SECONDS = 20.0

ADMITTING = reset_service_pb2.STATE_ADMITTING
WAITING_FOR_CARD = reset_service_pb2.STATE_WAITING_FOR_CARD
ENTER_USER_PIN = reset_service_pb2.STATE_ENTER_USER_PIN
ENTER_NEW_PASSWORD = reset_service_pb2.STATE_ENTER_NEW_PASSWORD
AUTHORIZING = reset_service_pb2.STATE_AUTHORIZING
WRITING = reset_service_pb2.STATE_WRITING
RESOLVING = reset_service_pb2.STATE_RESOLVING
REMOVE_CARD = reset_service_pb2.STATE_REMOVE_CARD
FINISHED = reset_service_pb2.STATE_FINISHED
PLACE_SAME = reset_service_pb2.CARD_REQUEST_PLACE_SAME


class FrontEnd:
    """A connection to the daemon's local socket."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}")
        self.resets = reset_service_pb2_grpc.ResetServiceStub(self._channel)
        self.gateway = gateway_service_pb2_grpc.GatewayServiceStub(self._channel)

    async def status(self) -> gateway_service_pb2.Status:
        """Return the daemon's status."""
        answer = await self.gateway.GetStatus(gateway_service_pb2.GetStatusRequest(), timeout=SECONDS)
        return answer.status

    async def until_status(
        self, wanted: Callable[[gateway_service_pb2.Status], object], seconds: float = SECONDS
    ) -> gateway_service_pb2.Status:
        """Wait for a status that is wanted. Raises TimeoutError."""
        call = self.gateway.WatchStatus(gateway_service_pb2.WatchStatusRequest(), wait_for_ready=True)
        try:
            async with asyncio.timeout(seconds):
                async for answer in call:
                    if wanted(answer.status):
                        return answer.status
        finally:
            call.cancel()  # or a stop would wait for it
        raise AssertionError("the watch ended by itself")

    async def ready(self) -> None:
        """Wait until an attempt could begin. Raises TimeoutError."""
        await self.until_status(lambda status: status.ready)

    async def idle(self) -> None:
        """Wait until no attempt runs and no card lies there. Raises TimeoutError."""
        await self.until_status(lambda status: not (status.running_attempt_id or status.card_present))

    async def attempt_record(self, attempt_id: str) -> gateway_service_pb2.Attempt:
        """Return what the daemon has recorded of an attempt."""
        request = gateway_service_pb2.GetAttemptRequest(attempt_id=attempt_id)
        answer = await self.gateway.GetAttempt(request, timeout=SECONDS)
        return answer.attempt

    async def attempt(self, attempt_id: str | None = None) -> Attempt:
        """Begin an attempt."""
        return await Attempt(self.resets, attempt_id or str(uuid.uuid4())).start()

    async def close(self) -> None:
        """Close the connection; running attempts see their client go."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Attempt:
    """One stream. `views` holds every view there was."""

    def __init__(self, stub: reset_service_pb2_grpc.ResetServiceAsyncStub, attempt_id: str) -> None:
        self.id = attempt_id
        self.views: list[View] = []
        self.call = stub.ResetPassword()

    @property
    def view(self) -> View:
        """The newest view."""
        return self.views[-1]

    async def start(self) -> Self:
        """Send the start, as 「同意する」 does."""
        procedure = reset_service_pb2.PROCEDURE_SIGNING_PASSWORD
        start = reset_service_pb2.Start(attempt_id=self.id, procedure=procedure, terms_accepted=True)
        await self.call.write(ResetPasswordRequest(start=start))
        return self

    async def user_pin(self, value: str, *, last_try_confirmed: bool = False) -> None:
        """Answer the newest view with the 4-digit PIN."""
        entry = reset_service_pb2.UserPin(user_pin=value.encode(), last_try_confirmed=last_try_confirmed)
        await self.call.write(ResetPasswordRequest(view_number=self.view.number, user_pin=entry))

    async def new_password(self, value: str) -> None:
        """Answer the newest view with the new password."""
        entry = reset_service_pb2.NewPassword(new_password=value.encode())
        await self.call.write(ResetPasswordRequest(view_number=self.view.number, new_password=entry))

    async def more_time(self) -> None:
        """Answer the newest view with the wish for more time."""
        more = reset_service_pb2.MoreTime()
        await self.call.write(ResetPasswordRequest(view_number=self.view.number, more_time=more))

    async def cancel(self) -> None:
        """Answer the newest view with a cancel."""
        await self.call.write(ResetPasswordRequest(view_number=self.view.number, cancel=reset_service_pb2.Cancel()))

    async def until(self, *states: int, seconds: float = SECONDS) -> View:
        """Wait for a view in one of the states that is not busy. Raises as `until_view` does."""
        return await self.until_view(lambda view: view.state in states and not view.busy, seconds)

    async def until_view(self, wanted: Callable[[View], bool], seconds: float = SECONDS) -> View:
        """Wait for the next view that is wanted. Raises TimeoutError, AssertionError when the stream ends before."""
        async with asyncio.timeout(seconds):
            while True:
                answer = await self.call.read()
                if not isinstance(answer, reset_service_pb2.ResetPasswordResponse):
                    raise AssertionError(f"the stream ended after {self.view if self.views else 'no view'}")
                self.views.append(answer.view)
                if wanted(answer.view):
                    return answer.view

    async def end(self) -> View:
        """Read to the end of the stream and return the last view. Raises AssertionError unless it is FINISHED."""
        if not self.views or self.view.state != FINISHED:
            await self.until(FINISHED)
        async with asyncio.timeout(SECONDS):
            code = await self.call.code()
        assert code is grpc.StatusCode.OK, f"the stream ended with {code}"
        return self.view
