"""The way to the daemon: one channel on its Unix socket, unary calls with a time-out."""

from __future__ import annotations

import socket as sockets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import grpc
from jpkireset.gateway.v1.gateway_service_pb2 import (
    Attempt,
    GetAttemptRequest,
    GetStatusRequest,
    Status,
    WatchStatusRequest,
)
from jpkireset.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from jpkireset.gateway.v1.operator_service_pb2 import GetTimelineRequest, GetTimelineResponse, ListAttemptsRequest
from jpkireset.gateway.v1.operator_service_pb2_grpc import OperatorServiceStub
from jpkireset.gateway.v1.reset_service_pb2_grpc import ResetServiceStub

from gatewayctl.terminal import one_line

CALL_S = 5.0
PAGE_SIZE = 50  # attempts asked for at once
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


class BrokenCall(Exception):
    """The daemon gave no answer. `code` is gRPC's name of the status, `detail` its words."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class NoSuchAttempt(Exception):
    """The daemon knows no attempt of that id."""


class Link:
    """The daemon's services on one channel; which of them are offered is the socket's affair."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.reset_service = ResetServiceStub(channel)
        self._gateway = GatewayServiceStub(channel)
        self._operator = OperatorServiceStub(channel)

    async def status(self) -> Status:
        """Return the status. Raises BrokenCall."""
        with _translated():
            response = await self._gateway.GetStatus(GetStatusRequest(), timeout=CALL_S)
        return response.status

    async def watch(self) -> AsyncIterator[Status]:
        """Yield the status now and after every change. Raises BrokenCall, also when the daemon ends the stream."""
        with _translated():
            async for response in self._gateway.WatchStatus(WatchStatusRequest()):
                yield response.status
        raise BrokenCall(grpc.StatusCode.UNAVAILABLE.name, "the daemon ended the stream")

    async def attempt(self, attempt_id: str, *, wait_s: float = 0.0) -> Attempt:
        """Return what the daemon knows of the attempt; waits up to `wait_s` for a daemon that is coming back.

        Raises NoSuchAttempt or BrokenCall.
        """
        try:
            return await self._attempt(attempt_id, wait_s)
        except BrokenCall as error:
            # The call reached the connection of a daemon that was just dying; the next one waits for a new connection.
            if not wait_s or error.code != grpc.StatusCode.UNAVAILABLE.name:
                raise
        return await self._attempt(attempt_id, wait_s)

    async def _attempt(self, attempt_id: str, wait_s: float) -> Attempt:
        request = GetAttemptRequest(attempt_id=attempt_id)
        with _translated(), _not_found(attempt_id):
            response = await self._gateway.GetAttempt(request, timeout=max(CALL_S, wait_s), wait_for_ready=wait_s > 0)
        return response.attempt

    async def attempts(self, *, unresolved_only: bool, limit: int) -> AsyncIterator[Attempt]:
        """Yield at most `limit` attempts, newest first. Operators' socket only. Raises BrokenCall."""
        token = ""
        while limit > 0:
            request = ListAttemptsRequest(
                unresolved_only=unresolved_only, page_size=min(limit, PAGE_SIZE), page_token=token
            )
            with _translated():
                page = await self._operator.ListAttempts(request, timeout=CALL_S)
            for attempt in page.attempts:
                yield attempt
            limit -= len(page.attempts)
            token = page.next_page_token
            if not token:
                return

    async def timeline(self, attempt_id: str) -> GetTimelineResponse:
        """Return an attempt and its durable steps. Operators' socket only. Raises NoSuchAttempt or BrokenCall."""
        with _translated(), _not_found(attempt_id):
            return await self._operator.GetTimeline(GetTimelineRequest(attempt_id=attempt_id), timeout=CALL_S)


@contextmanager
def _not_found(attempt_id: str) -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            raise NoSuchAttempt(attempt_id) from None
        raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise broken(error) from None


def broken(error: grpc.aio.AioRpcError) -> BrokenCall:
    """Return gRPC's error as ours."""
    return BrokenCall(error.code().name, one_line(error.details() or "no detail"))


def unreachable(socket: str) -> OSError | None:
    """Return why nobody can be reached at a Unix socket, None when somebody is there."""
    with sockets.socket(sockets.AF_UNIX) as probe:
        probe.settimeout(CALL_S)
        try:
            probe.connect(socket)
        except OSError as error:
            return error
    return None


@asynccontextmanager
async def open_link(socket: str) -> AsyncIterator[Link]:
    """Open a channel to the daemon's Unix socket; nothing is connected before the first call."""
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=OPTIONS) as channel:
        yield Link(channel)
