"""What holds for every call: it is measured, needs a deadline, and only here does an exception become a status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, cast

import grpc
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from centrald.clock import monotonic
from centrald.errors import CallError, StorageFailed
from centrald.metrics import Metrics
from centrald.rpc import refusal
from centrald.rpc.refusal import Context, ErrorReason

_log = logging.getLogger(__name__)

_OURS = "/jpkireset."
_CENTRAL = "/jpkireset.central.v1."
_CODES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}

_Handler = Callable[[Any, Context], Awaitable[Any]]


class CallGuard(grpc.aio.ServerInterceptor):
    """Turns exceptions of our unary calls into statuses, with fixed texts for what nobody foresaw."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the method; health checks and unknown methods pass as they are."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or handler.unary_unary is None or not method.startswith(_OURS):
            return handler
        guarded = _guarded(method, cast("_Handler", handler.unary_unary), handler.request_deserializer, self._metrics)
        measured = guarded if self._metrics is None else _measured(method, guarded, self._metrics)
        return grpc.unary_unary_rpc_method_handler(measured, response_serializer=handler.response_serializer)


def _measured(method: str, call: _Handler, metrics: Metrics) -> _Handler:
    short = method.removeprefix(_CENTRAL)

    async def measured(data: bytes, context: Context) -> Any:
        begun = monotonic()
        metrics.call_begun()
        try:
            return await call(data, context)
        finally:
            metrics.call_ended(short, code_of(context), monotonic() - begun)

    return measured


def code_of(context: Context) -> str:
    """Return the name of the status a call ends with."""
    if context.cancelled():
        return "CANCELLED"
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _CODES.get(int(code), "UNKNOWN") if code else "OK"


def _guarded(method: str, call: _Handler, decode: Callable[[bytes], Any] | None, metrics: Metrics | None) -> _Handler:
    async def refuse(context: Context, reason: ErrorReason, message: str) -> NoReturn:
        if metrics is not None:
            metrics.call_refused(reason.name)
        await refusal.refuse(context, reason, message)

    async def guarded(data: bytes, context: Context) -> Any:
        if context.time_remaining() is None:
            await refuse(context, ErrorReason.DEADLINE_REQUIRED, "a call needs a deadline")
        try:
            request = decode(data) if decode else data
        except Exception:  # noqa: BLE001 - whatever the decoder raises, gRPC would answer with its text
            await refuse(context, ErrorReason.REQUEST_MALFORMED, "the request is not a message of its type")
        try:
            return await call(request, context)
        except CallError as error:
            if metrics is not None:
                metrics.call_refused(refusal.reason_of(error).name)
            await refusal.refuse_call(context, error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # gRPC's own: the caller went away
                raise
            await refuse(context, ErrorReason.INTERNAL_CANCELLATION, "cancelled inside the service")
        except grpc.aio.AbortError:
            raise
        except (StorageFailed, DBAPIError, PoolTimeoutError) as error:
            _log.error("storage failed", extra={"method": method, "error": type(error).__name__})
            await refuse(context, ErrorReason.STORAGE_UNAVAILABLE, "storage unavailable")
        except Exception:  # noqa: BLE001 - the one place where everything else ends
            _log.exception("unhandled", extra={"method": method})
            await refuse(context, ErrorReason.INTERNAL_ERROR, "internal error")

    return guarded
