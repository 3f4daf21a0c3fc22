"""A daemon that a test plays view by view: the two services of the contract on a real Unix socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Self

import grpc
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1 import reset_service_pb2 as reset
from jpkireset.gateway.v1.gateway_service_pb2_grpc import GatewayServiceServicer, add_GatewayServiceServicer_to_server
from jpkireset.gateway.v1.reset_service_pb2_grpc import ResetServiceServicer, add_ResetServiceServicer_to_server

SECONDS = 20.0
READY = gateway.Status(ready=True, kiosk_id="chain-a/store-0001/kiosk-1", version="0")


class PlayedAttempt:
    """One stream, seen from the daemon."""

    def __init__(self, context: Any, attempt_id: str) -> None:
        self.id = attempt_id
        self.number = 0
        self.over = asyncio.Event()  # the daemon ends the stream
        self.left = asyncio.Event()  # the client went away
        self._context = context

    async def show(self, state: reset.State.ValueType, **fields: Any) -> int:
        """Send the next view and return its number."""
        self.number += 1
        seconds = fields.pop("seconds_left", None)
        view = reset.View(number=self.number, attempt_id=self.id, state=state, cancellable=True, **fields)
        if seconds is not None:
            view.time_left.FromMilliseconds(int(seconds * 1000))
        await self._context.write(reset.ResetPasswordResponse(view=view))
        return self.number

    async def ask_for_pin(self, tries: int = 3, **fields: Any) -> int:
        """Show the view that asks for the PIN."""
        return await self.show(reset.STATE_ENTER_USER_PIN, user_pin_tries_left=tries, seconds_left=90, **fields)

    async def end(self, outcome: reset.Outcome.ValueType, reason: int = 0) -> None:
        """Show the last view and end the stream."""
        await self.show(reset.STATE_FINISHED, outcome=outcome, reason=reason)
        self.over.set()

    async def take(self) -> reset.ResetPasswordRequest:
        """Return the client's next message."""
        async with asyncio.timeout(SECONDS):
            request = await self._context.read()
        assert isinstance(request, reset.ResetPasswordRequest), "the client closed its side"
        return request


class PlayedDaemon(ResetServiceServicer, GatewayServiceServicer):
    """Both services. `records` is what GetAttempt answers; an id that is not there was never accepted."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.records: dict[str, gateway.Attempt] = {}
        self.refuse_records: grpc.StatusCode | None = None
        self.refuse_attempts: grpc.StatusCode | None = None
        self.mute = False  # the status is not told
        self.asked_for: list[str] = []  # ids, by GetAttempt
        self._begun: asyncio.Queue[PlayedAttempt] = asyncio.Queue()
        self._status = READY
        self._news = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> Self:
        """Serve from now on."""
        self._server = grpc.aio.server()
        add_ResetServiceServicer_to_server(self, self._server)
        add_GatewayServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.socket}")
        await self._server.start()
        return self

    async def stop(self) -> None:
        """Break every stream and serve no more."""
        if self._server:
            await self._server.stop(None)
            self._server = None
        self.socket.unlink(missing_ok=True)

    async def attempt(self) -> PlayedAttempt:
        """Return the attempt that begins next."""
        async with asyncio.timeout(SECONDS):
            return await self._begun.get()

    async def say(self, **fields: Any) -> None:
        """Tell a new status."""
        async with self._news:
            self._status = gateway.Status(kiosk_id=READY.kiosk_id, **fields)
            self._news.notify_all()

    async def ResetPassword(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802 - the contract's name
        request = await context.read()
        assert request.start.terms_accepted
        assert request.start.procedure == reset.PROCEDURE_SIGNING_PASSWORD
        if self.refuse_attempts:
            await context.abort(self.refuse_attempts, "refused by the test")
        attempt = PlayedAttempt(context, request.start.attempt_id)
        self._begun.put_nowait(attempt)
        try:
            await attempt.over.wait()
        finally:
            attempt.left.set()

    async def GetStatus(self, request: Any, context: Any) -> gateway.GetStatusResponse:  # noqa: N802
        assert context.time_remaining() is not None, "a unary call has a deadline"
        if self.mute:
            await asyncio.sleep(SECONDS)
        return gateway.GetStatusResponse(status=self._status)

    async def WatchStatus(self, request: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        async with self._news:
            while True:
                await context.write(gateway.WatchStatusResponse(status=self._status))
                await self._news.wait()

    async def GetAttempt(self, request: Any, context: Any) -> gateway.GetAttemptResponse:  # noqa: N802
        assert context.time_remaining() is not None, "a unary call has a deadline"
        self.asked_for.append(request.attempt_id)
        if self.refuse_records:
            await context.abort(self.refuse_records, "refused by the test")
        if request.attempt_id not in self.records:
            await context.abort(grpc.StatusCode.NOT_FOUND, "never accepted")
        return gateway.GetAttemptResponse(attempt=self.records[request.attempt_id])

    def record(
        self,
        attempt: PlayedAttempt,
        state: reset.State.ValueType,
        outcome: reset.Outcome.ValueType = reset.OUTCOME_UNSPECIFIED,
        reason: Any = 0,
    ) -> None:
        """Say from now on what became of an attempt."""
        self.records[attempt.id] = gateway.Attempt(attempt_id=attempt.id, state=state, outcome=outcome, reason=reason)
