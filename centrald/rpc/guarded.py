"""What holds for every call: it is measured and admitted, needs a deadline, and here exceptions become statuses."""

from __future__ import annotations

import asyncio
import contextlib
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
from centrald.rpc.receiving import NoRequest, request_of
from centrald.rpc.refusal import Context, ErrorReason

_log = logging.getLogger(__name__)

_CODES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}

_Handler = Callable[[Any, Context], Awaitable[Any]]
Admit = Callable[[str], None]
"""Lets a call of this peer (as gRPC names it) through; raises CallError."""


def handlers(
    service: ServiceDescriptor, servicer: object, metrics: Metrics | None = None, admit: Admit | None = None
) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Return the handlers of a service of unary calls, by method, each guarded and measured.

    They read the request's bytes (see `centrald.rpc.receiving`) and decode them themselves: what cannot be decoded is a
    refusal like any other. An interceptor would do the same and cost more, for gRPC asks it anew for every call.
    """
    made: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        decode: Callable[[bytes], Any] = GetMessageClass(method.input_type).FromString
        call: _Handler = guarded(method.full_name, getattr(servicer, method.name), decode, metrics, admit)
        if metrics is not None:
            call = _measured(f"{service.name}/{method.name}", call, metrics)
        encode = GetMessageClass(method.output_type).SerializeToString
        made[method.name] = grpc.stream_unary_rpc_method_handler(cast("Any", call), response_serializer=encode)
    return made


def _measured(method: str, call: _Handler, metrics: Metrics) -> _Handler:
    async def measured(requests: object, context: Context) -> Any:
        begun = monotonic()
        metrics.call_begun()
        try:
            return await call(requests, context)
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


def guarded(
    method: str,
    call: _Handler,
    decode: Callable[[bytes], Any] | None,
    metrics: Metrics | None,
    admit: Admit | None = None,
) -> _Handler:
    """Return a call that turns exceptions into statuses, with fixed texts for what nobody foresaw."""

    async def refuse(context: Context, reason: ErrorReason, message: str) -> NoReturn:
        if metrics is not None:
            metrics.call_refused(reason.name)
        await refusal.refuse(context, reason, message)

    async def received(context: Context) -> Any:
        data = await request_of(context)
        try:
            return decode(data) if decode else data
        except Exception:  # noqa: BLE001 - whatever the decoder raises, gRPC would answer with its text
            await refuse(context, ErrorReason.REQUEST_MALFORMED, "the request is not a message of its type")

    async def guarded_call(_: object, context: Context) -> Any:
        if context.time_remaining() is None:
            await refuse(context, ErrorReason.DEADLINE_REQUIRED, "a call needs a deadline")
        try:
            if admit is not None:
                admit(context.peer())
            return await call(await received(context), context)
        except NoRequest:
            with contextlib.suppress(grpc.aio.InternalError):  # who went away is told nothing
                await refuse(context, ErrorReason.REQUEST_MALFORMED, "no request came, or not in time")
            raise asyncio.CancelledError from None
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
