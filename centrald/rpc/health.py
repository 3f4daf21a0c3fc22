"""`grpc.health.v1` on one listener, so made that nobody who asks can hold up another, or the service.

gRPC's own servicer writes to its watchers while it holds the lock they all share: one that takes no bytes (a window of
HTTP/2 that it never opens) stops every change of the health from then on, and the end of the service.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from centrald.rpc.receiving import NoRequest, request_of
from centrald.service.guards import subscriber

SERVICE = "grpc.health.v1.Health"
MOST = 32  # calls and watches that last, at once: each keeps one of the listener's places for calls
MOST_OF_ONE = 4  # of them, from one address: nobody keeps a balancer from asking

_Answer: TypeAlias = health_pb2.HealthCheckResponse
_Status: TypeAlias = health_pb2.HealthCheckResponse.ServingStatus.ValueType
_Context = grpc.aio.ServicerContext[Any, Any]


class Health:
    """Whether calls can be served now, for "" and each of these services."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = frozenset({"", *services})
        self._status: _Status = _Answer.NOT_SERVING
        self._changed = asyncio.Event()
        self._over = False
        self._places: Counter[str] = Counter()

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """Return the handlers by method; they read and write by themselves, so that both are counted."""
        return {
            name: grpc.stream_stream_rpc_method_handler(
                cast("Any", work), response_serializer=_Answer.SerializeToString
            )
            for name, work in (("Check", self._check), ("Watch", self._watch))
        }

    def serving(self, able: bool) -> None:
        """Say whether calls can be served now."""
        if not self._over:
            self._set(_Answer.SERVING if able else _Answer.NOT_SERVING)

    def end(self) -> None:
        """Say that nothing is served any more, and end every watch."""
        self._over = True
        self._set(_Answer.NOT_SERVING)

    def _set(self, status: _Status) -> None:
        self._status = status
        before, self._changed = self._changed, asyncio.Event()
        before.set()

    async def _check(self, _: object, context: _Context) -> None:
        async with self._place(context) as known:
            if not known:
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
            await context.write(_Answer(status=self._status))

    async def _watch(self, _: object, context: _Context) -> None:
        async with self._place(context) as known:
            told: _Status | None = None
            while True:
                changed = self._changed
                status = self._status if known else _Answer.SERVICE_UNKNOWN
                if status != told:
                    await context.write(_Answer(status=status))
                    told = status
                if self._over:
                    return
                await changed.wait()

    @contextlib.asynccontextmanager
    async def _place(self, context: _Context) -> AsyncIterator[bool]:
        """Take a place for one call, and tell whether the service it asks for is known."""
        peer = subscriber(context.peer())
        if self._places.total() >= MOST or self._places[peer] >= MOST_OF_ONE:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many health checks at once")
        self._places[peer] += 1
        try:
            yield await _service_of(context) in self._services
        finally:
            self._places[peer] -= 1
            self._places += Counter()  # forgets who has none


async def _service_of(context: _Context) -> str:
    try:
        request = health_pb2.HealthCheckRequest.FromString(await request_of(context))
    except (NoRequest, DecodeError):
        with contextlib.suppress(grpc.aio.InternalError):  # who went away is told nothing
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no request came, or it is no message of its type")
        raise asyncio.CancelledError from None
    service: str = request.service
    return service
