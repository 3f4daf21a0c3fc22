"""`GatewayService`: status, and what became of an attempt."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1 import gateway_service_pb2_grpc as gateway_grpc

from gatewayd.errors import JournalUnavailable
from gatewayd.rpc import mapping
from gatewayd.rpc.refusal import ErrorReason, refuse
from gatewayd.session.manager import Manager
from gatewayd.session.readiness import Readiness


class GatewayService(gateway_grpc.GatewayServiceServicer):
    """Translates what manager and readiness know."""

    def __init__(self, manager: Manager, readiness: Readiness) -> None:
        self._manager = manager
        self._readiness = readiness

    async def GetStatus(  # noqa: N802 - the proto's name
        self,
        request: gateway.GetStatusRequest,
        context: grpc.aio.ServicerContext[gateway.GetStatusRequest, gateway.GetStatusResponse],
    ) -> gateway.GetStatusResponse:
        """See the proto."""
        return gateway.GetStatusResponse(status=mapping.status(self._readiness.status))

    async def WatchStatus(  # noqa: N802 - the proto's name
        self,
        request: gateway.WatchStatusRequest,
        context: grpc.aio.ServicerContext[gateway.WatchStatusRequest, gateway.WatchStatusResponse],
    ) -> AsyncIterator[gateway.WatchStatusResponse]:
        """See the proto."""
        async for status in self._readiness.statuses():
            yield gateway.WatchStatusResponse(status=mapping.status(status))
        await refuse(context, ErrorReason.STOPPING)

    async def GetAttempt(  # noqa: N802 - the proto's name
        self,
        request: gateway.GetAttemptRequest,
        context: grpc.aio.ServicerContext[gateway.GetAttemptRequest, gateway.GetAttemptResponse],
    ) -> gateway.GetAttemptResponse:
        """See the proto."""
        try:
            record = await self._manager.attempt(request.attempt_id)
            running = self._manager.running_state(request.attempt_id)
            if record is not None and record.outcome is None and running is None:  # it may have ended in between
                record = await self._manager.attempt(request.attempt_id)
        except JournalUnavailable:
            await refuse(context, ErrorReason.JOURNAL_UNAVAILABLE)
        if record is None:
            await refuse(context, ErrorReason.ATTEMPT_NOT_FOUND)
        if record.outcome is None and running is None:  # the journal cannot take its outcome now
            await refuse(context, ErrorReason.JOURNAL_UNAVAILABLE)
        return gateway.GetAttemptResponse(attempt=mapping.attempt(record, running))
