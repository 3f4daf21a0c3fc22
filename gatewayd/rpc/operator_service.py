"""`OperatorService`: what the journal knows, for people who look after the kiosk."""

from __future__ import annotations

import grpc
from jpkireset.gateway.v1 import operator_service_pb2 as operator
from jpkireset.gateway.v1 import operator_service_pb2_grpc as operator_grpc

from gatewayd.errors import JournalUnavailable
from gatewayd.rpc import mapping
from gatewayd.rpc.refusal import ErrorReason, refuse
from gatewayd.session.manager import Manager

PAGE_SIZE = 50  # unless the caller says otherwise
LARGEST_PAGE = 200


class OperatorService(operator_grpc.OperatorServiceServicer):
    """Translates attempts and their timelines. A page's token is the id of the last attempt on it."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def ListAttempts(  # noqa: N802 - the proto's name
        self,
        request: operator.ListAttemptsRequest,
        context: grpc.aio.ServicerContext[operator.ListAttemptsRequest, operator.ListAttemptsResponse],
    ) -> operator.ListAttemptsResponse:
        """See the proto."""
        size = request.page_size or PAGE_SIZE
        if size > LARGEST_PAGE:
            await refuse(context, ErrorReason.PAGE_SIZE_INVALID)
        try:
            if request.page_token and await self._manager.attempt(request.page_token) is None:
                await refuse(context, ErrorReason.PAGE_TOKEN_INVALID)
            records = await self._manager.attempts(
                unresolved_only=request.unresolved_only, limit=size + 1, before=request.page_token or None
            )
        except JournalUnavailable:
            await refuse(context, ErrorReason.JOURNAL_UNAVAILABLE)
        page = records[:size]
        return operator.ListAttemptsResponse(
            attempts=[mapping.attempt(record, self._manager.running_state(record.attempt_id)) for record in page],
            next_page_token=page[-1].attempt_id if len(records) > size else "",
        )

    async def GetTimeline(  # noqa: N802 - the proto's name
        self,
        request: operator.GetTimelineRequest,
        context: grpc.aio.ServicerContext[operator.GetTimelineRequest, operator.GetTimelineResponse],
    ) -> operator.GetTimelineResponse:
        """See the proto."""
        try:
            record = await self._manager.attempt(request.attempt_id)
            entries = await self._manager.timeline(request.attempt_id)
        except JournalUnavailable:
            await refuse(context, ErrorReason.JOURNAL_UNAVAILABLE)
        if record is None:
            await refuse(context, ErrorReason.ATTEMPT_NOT_FOUND)
        return operator.GetTimelineResponse(
            attempt=mapping.attempt(record, self._manager.running_state(record.attempt_id)),
            entries=[mapping.timeline_entry(entry) for entry in entries],
        )
