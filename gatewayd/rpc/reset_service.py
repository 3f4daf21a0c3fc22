"""`ResetService`: one stream is one attempt. The attempt itself is the session's; the stream may end at any time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import grpc
from jpkireset.gateway.v1 import reset_service_pb2 as reset
from jpkireset.gateway.v1 import reset_service_pb2_grpc as reset_grpc

from gatewayd.dialogue.events import ClientGone
from gatewayd.rpc import mapping
from gatewayd.rpc.refusal import ErrorReason, refuse
from gatewayd.session.manager import AttemptKnown, Manager
from gatewayd.session.session import Session
from gatewayd.session.view import View

START_LIMIT_S = 10.0  # a stream that sends nothing is not kept

Context = grpc.aio.ServicerContext[reset.ResetPasswordRequest, reset.ResetPasswordResponse]


class ResetService(reset_grpc.ResetServiceServicer):
    """Translates requests to inputs and views to responses."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def ResetPassword(  # noqa: N802 - the proto's name
        self, request_iterator: AsyncIterator[reset.ResetPasswordRequest], context: Context
    ) -> AsyncIterator[reset.ResetPasswordResponse]:
        """See the proto."""
        start = await self._start(request_iterator, context)
        try:
            opened = await self._manager.open(start.attempt_id or str(uuid.uuid4()))
        except AttemptKnown:
            await refuse(context, ErrorReason.ATTEMPT_KNOWN)
        if isinstance(opened, View):
            yield reset.ResetPasswordResponse(view=mapping.view(opened))
            return
        listener = asyncio.create_task(listen(opened, request_iterator))
        try:
            async for view in opened.views():
                yield reset.ResetPasswordResponse(view=mapping.view(view))
            if listener.done():
                listener.result()  # raises what was wrong with a request; the attempt saw a client that went away
        finally:
            listener.cancel()
            opened.tell(ClientGone())  # a listener that never ran tells nothing

    async def _start(
        self, request_iterator: AsyncIterator[reset.ResetPasswordRequest], context: Context
    ) -> reset.Start:
        """Return the well-formed start that a stream begins with, or abort it."""
        try:
            async with asyncio.timeout(START_LIMIT_S):
                request = await anext(aiter(request_iterator), reset.ResetPasswordRequest())
        except TimeoutError:
            await refuse(context, ErrorReason.START_MISSING)
        problem = start_problem(request)
        if problem:
            await refuse(context, ErrorReason.START_INVALID, problem=problem)
        return request.start


def start_problem(request: reset.ResetPasswordRequest) -> str:
    """Return what is wrong with the first request of a stream; empty when nothing is."""
    start = request.start
    if request.WhichOneof("input") != "start":
        return "the first request must be a start"
    if start.procedure != mapping.PROCEDURE:
        return "start.procedure: only PROCEDURE_SIGNING_PASSWORD is offered"
    if not start.terms_accepted:
        return "start.terms_accepted: the citizen must have accepted the terms"
    if start.attempt_id and not is_canonical_uuid(start.attempt_id):
        return "start.attempt_id: a UUID in its 36-character form, in lower case, or nothing"
    return ""


def is_canonical_uuid(text: str) -> bool:
    """Say whether this is a UUID written the one way it is stored (RFC 9562, section 4)."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


async def listen(session: Session, requests: AsyncIterator[reset.ResetPasswordRequest]) -> None:
    """Hand every input to the session; the end of the stream, however it comes, is a client that went away."""
    try:
        async for request in requests:
            submit(session, request)
            await session.caught_up()
    finally:
        session.tell(ClientGone())


def submit(session: Session, request: reset.ResetPasswordRequest) -> None:
    """Hand one input to the session; a second start, or nothing, is ignored."""
    number = request.view_number
    match request.WhichOneof("input"):
        case "user_pin":
            pin = request.user_pin
            session.submit_user_pin(number, pin.user_pin, last_try_confirmed=pin.last_try_confirmed)
        case "new_password":
            session.submit_new_password(number, request.new_password.new_password)
        case "more_time":
            session.submit_more_time(number)
        case "cancel":
            session.submit_cancel(number)
        case _:
            pass
