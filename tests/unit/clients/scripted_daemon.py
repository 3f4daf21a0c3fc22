"""A daemon that follows a script: the contract's services on a real Unix socket, without anything behind them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from jpkireset.gateway.v1.gateway_service_pb2 import (
    Attempt,
    GetAttemptRequest,
    GetAttemptResponse,
    GetStatusRequest,
    GetStatusResponse,
    Status,
    WatchStatusRequest,
    WatchStatusResponse,
)
from jpkireset.gateway.v1.gateway_service_pb2_grpc import GatewayServiceServicer, add_GatewayServiceServicer_to_server
from jpkireset.gateway.v1.operator_service_pb2 import (
    GetTimelineRequest,
    GetTimelineResponse,
    ListAttemptsRequest,
    ListAttemptsResponse,
    TimelineEntry,
)
from jpkireset.gateway.v1.operator_service_pb2_grpc import (
    OperatorServiceServicer,
    add_OperatorServiceServicer_to_server,
)
from jpkireset.gateway.v1.reset_service_pb2 import (
    OUTCOME_UNKNOWN,
    PROCEDURE_SIGNING_PASSWORD,
    ResetPasswordRequest,
    ResetPasswordResponse,
    View,
)
from jpkireset.gateway.v1.reset_service_pb2_grpc import ResetServiceServicer, add_ResetServiceServicer_to_server


class Stage:
    """What a script does: shows views, takes requests."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.attempt_id = ""
        self.number = 0

    async def show(self, **fields: Any) -> None:
        """Send the next view."""
        self.number += 1
        view = View(number=self.number, attempt_id=self.attempt_id, procedure=PROCEDURE_SIGNING_PASSWORD, **fields)
        await self.context.write(ResetPasswordResponse(view=view))

    async def take(self) -> ResetPasswordRequest:
        """Return the next request that answers the newest view; older ones are dropped, as the contract says."""
        while True:
            request = await self.context.read()
            if request is grpc.aio.EOF:
                raise EOFError
            assert isinstance(request, ResetPasswordRequest)
            if request.HasField("start"):
                self.attempt_id = request.start.attempt_id
                return request
            if request.view_number == self.number:
                return request


Script = Callable[[Stage], Awaitable[None]]


@dataclass
class Daemon:
    """The services' shared state."""

    script: Script | None = None
    attempts: list[Attempt] = field(default_factory=list)  # GetAttempt's answers in turn, the last one for ever
    failures: list[grpc.StatusCode] = field(default_factory=list)  # GetAttempt's first answers, in turn
    asked: int = 0  # how often GetAttempt was called
    statuses: list[Status] = field(default_factory=list)
    timeline: list[TimelineEntry] | None = None  # None: a front-end's socket
    socket: str = ""


class _Reset(ResetServiceServicer):
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def ResetPassword(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802 - the contract's name
        assert self._daemon.script
        stage = Stage(context)
        start = await stage.take()
        assert start.start.terms_accepted
        await self._daemon.script(stage)


class _Gateway(GatewayServiceServicer):
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def GetStatus(self, request: GetStatusRequest, context: Any) -> GetStatusResponse:  # noqa: N802
        return GetStatusResponse(status=self._daemon.statuses[0])

    async def WatchStatus(  # noqa: N802
        self, request: WatchStatusRequest, context: Any
    ) -> AsyncIterator[WatchStatusResponse]:
        for status in self._daemon.statuses:
            yield WatchStatusResponse(status=status)

    async def GetAttempt(self, request: GetAttemptRequest, context: Any) -> GetAttemptResponse:  # noqa: N802
        attempts = self._daemon.attempts
        self._daemon.asked += 1
        if self._daemon.failures:
            await context.abort(self._daemon.failures.pop(0), "as the script says")
        if not attempts:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such attempt")
        attempt = attempts.pop(0) if len(attempts) > 1 else attempts[0]
        attempt.attempt_id = request.attempt_id
        return GetAttemptResponse(attempt=attempt)


class _Operator(OperatorServiceServicer):
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def ListAttempts(self, request: ListAttemptsRequest, context: Any) -> ListAttemptsResponse:  # noqa: N802
        wanted = [
            attempt
            for attempt in self._daemon.attempts
            if attempt.outcome == OUTCOME_UNKNOWN or not request.unresolved_only
        ]
        first = int(request.page_token or 0)
        end = first + request.page_size
        return ListAttemptsResponse(attempts=wanted[first:end], next_page_token=str(end) if end < len(wanted) else "")

    async def GetTimeline(self, request: GetTimelineRequest, context: Any) -> GetTimelineResponse:  # noqa: N802
        found = [attempt for attempt in self._daemon.attempts if attempt.attempt_id == request.attempt_id]
        if not found:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such attempt")
        return GetTimelineResponse(attempt=found[0], entries=self._daemon.timeline)


@contextlib.asynccontextmanager
async def serve(daemon: Daemon, path: str = "") -> AsyncIterator[str]:
    """Serve on this socket, or on one of a short path, and yield it."""
    server = grpc.aio.server()
    add_ResetServiceServicer_to_server(_Reset(daemon), server)
    add_GatewayServiceServicer_to_server(_Gateway(daemon), server)
    if daemon.timeline is not None:
        add_OperatorServiceServicer_to_server(_Operator(daemon), server)
    with tempfile.TemporaryDirectory(prefix="sd") as directory:
        daemon.socket = path or str(Path(directory) / "api.sock")
        server.add_insecure_port(f"unix:{daemon.socket}")
        await server.start()
        try:
            yield daemon.socket
        finally:
            await server.stop(grace=0)
