"""The way to the daemon: one channel on its Unix socket, unary calls with a time-out."""

from __future__ import annotations

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
from jpkireset.gateway.v1.reset_service_pb2_grpc import ResetServiceStub

CALL_S = 5.0
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
    """The daemon never accepted an attempt of that id."""


class Link:
    """The daemon's two services on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.reset_service = ResetServiceStub(channel)
        self._gateway = GatewayServiceStub(channel)

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
        request = GetAttemptRequest(attempt_id=attempt_id)
        try:
            with _translated():
                response = await self._gateway.GetAttempt(
                    request, timeout=max(CALL_S, wait_s), wait_for_ready=wait_s > 0
                )
        except BrokenCall as error:
            if error.code == grpc.StatusCode.NOT_FOUND.name:
                raise NoSuchAttempt(attempt_id) from error
            raise
        return response.attempt


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise broken(error) from None


def broken(error: grpc.aio.AioRpcError) -> BrokenCall:
    """Return gRPC's error as ours."""
    return BrokenCall(error.code().name, error.details() or "no detail")


@asynccontextmanager
async def open_link(socket: str) -> AsyncIterator[Link]:
    """Open a channel to the daemon's Unix socket; nothing is connected before the first call."""
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=OPTIONS) as channel:
        yield Link(channel)
