"""`grpc.health.v1` on one socket, so made that nobody who asks can hold up the daemon.

gRPC's own servicer writes to its watchers while it holds the lock they share: one that takes no bytes (a window of
HTTP/2 that it never opens) stops every change of the health from then on, and the end of the daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import TypeAlias

from grpc_health.v1 import health_pb2, health_pb2_grpc

from gatewayd.rpc.refusal import Context, ErrorReason, refuse

SERVICE = str(health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)

Answer: TypeAlias = health_pb2.HealthCheckResponse
_Status: TypeAlias = health_pb2.HealthCheckResponse.ServingStatus.ValueType


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the library comes without types
    """Whether calls of "" (the socket) and of each of these services are served; none is, to begin with."""

    def __init__(self, services: Collection[str]) -> None:
        self._status: dict[str, _Status] = dict.fromkeys(("", *services), Answer.NOT_SERVING)
        self._changed = asyncio.Event()
        self._over = False

    def tell(self, services: Collection[str], *, able: bool) -> None:
        """Say whether these are served, if they are offered here; after `end` nothing is any more."""
        if not self._over:
            self._set(services, Answer.SERVING if able else Answer.NOT_SERVING)

    def end(self) -> None:
        """Say that nothing is served any more, and end every watch."""
        self._over = True
        self._set(self._status.keys(), Answer.NOT_SERVING)

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> Answer:  # noqa: N802
        """See the proto."""
        status = self._status.get(request.service)
        if status is None:
            await refuse(context, ErrorReason.SERVICE_UNKNOWN)
        return Answer(status=status)

    async def List(self, _: health_pb2.HealthListRequest, __: Context) -> health_pb2.HealthListResponse:  # noqa: N802
        """See the proto."""
        return health_pb2.HealthListResponse(
            statuses={service: Answer(status=status) for service, status in self._status.items()}
        )

    async def Watch(self, request: health_pb2.HealthCheckRequest, _: Context) -> AsyncIterator[Answer]:  # noqa: N802
        """See the proto."""
        told = None
        while True:
            changed = self._changed
            status = self._status.get(request.service, Answer.SERVICE_UNKNOWN)
            if status != told:
                yield Answer(status=status)
                told = status
            elif self._over:
                return
            else:
                await changed.wait()

    def _set(self, services: Collection[str], status: _Status) -> None:
        self._status.update(dict.fromkeys(self._status.keys() & services, status))
        before, self._changed = self._changed, asyncio.Event()
        before.set()
