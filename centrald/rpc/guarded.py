"""What holds for every call: it is measured, needs a deadline, and only here does an exception become a status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from centrald.clock import monotonic
from centrald.errors import CallError, StorageFailed
from centrald.metrics import Metrics
from centrald.rpc import refusal
from centrald.rpc.refusal import Context, ErrorReason

_log = logging.getLogger(__name__)

_CODES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}

_Handler = Callable[[Any, Context], Awaitable[Any]]


def handlers(
    service: ServiceDescriptor, servicer: object, metrics: Metrics | None = None
) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Return the handlers of a service of unary calls, by method, each guarded and measured.

    They take the request's bytes and decode them themselves: what cannot be decoded is a refusal like any other. An
    interceptor would do the same and cost more, for gRPC asks it anew for every call.
    """
    made: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        decode: Callable[[bytes], Any] = GetMessageClass(method.input_type).FromString
        call: _Handler = guarded(method.full_name, getattr(servicer, method.name), decode, metrics)
        if metrics is not None:
            call = _measured(f"{service.name}/{method.name}", call, metrics)
        encode = GetMessageClass(method.output_type).SerializeToString
        made[method.name] = grpc.unary_unary_rpc_method_handler(cast("Any", call), response_serializer=encode)
    return made


def _measured(method: str, call: _Handler, metrics: Metrics) -> _Handler:
    async def measured(data: bytes, context: Context) -> Any:
        begun = monotonic()
        metrics.call_begun()
        try:
            return await call(data, context)
        finally:
            metrics.call_ended(method, code_of(context), monotonic() - begun)

    return measured


def code_of(context: Context) -> str:
    """Return the name of the status a call ends with."""
    if context.cancelled():
        return "CANCELLED"
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _CODES.get(int(code), "UNKNOWN") if code else "OK"


def guarded(method: str, call: _Handler, decode: Callable[[bytes], Any] | None, metrics: Metrics | None) -> _Handler:
    """Return a call that turns exceptions into statuses, with fixed texts for what nobody foresaw."""

    async def refuse(context: Context, reason: ErrorReason, message: str) -> NoReturn:
        if metrics is not None:
            metrics.call_refused(reason.name)
        await refusal.refuse(context, reason, message)

    async def guarded_call(data: bytes, context: Context) -> Any:
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
        except StorageFailed as error:
            _log.error("storage failed", extra={"method": method, "error": type(error).__name__})
            await refuse(context, ErrorReason.STORAGE_UNAVAILABLE, "storage unavailable")
        except Exception:  # noqa: BLE001 - the one place where everything else ends
            _log.exception("unhandled", extra={"method": method})
            await refuse(context, ErrorReason.INTERNAL_ERROR, "internal error")

    return guarded_call
