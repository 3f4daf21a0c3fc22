"""What holds for every call: a deadline, a metric, and no word of an exception's text to the caller."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc

from gatewayd.clock import Clock
from gatewayd.metrics import Metrics

log = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context = grpc.aio.ServicerContext[Any, Any]


class Guard(grpc.aio.ServerInterceptor):
    """Maps what leaves a handler: a cancellation of our own to ABORTED, an unforeseen exception to INTERNAL, both with
    fixed text; refuses unary calls without a deadline; measures every call.

    An exception's text may hold a secret, and grpc would send it to the caller.
    """  # noqa: D205 - the list is the summary

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """See `grpc.aio.ServerInterceptor`."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None:  # an unknown method: grpc answers UNIMPLEMENTED
            return None
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        inner = handler.unary_unary or handler.unary_stream or handler.stream_stream
        guarded = self._stream(inner, method) if handler.response_streaming else self._unary(inner, method)
        return make(
            guarded,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, inner: Any, method: str) -> Callable[[Any, Context], Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            begun = self._clock.monotonic()
            try:
                if context.time_remaining() is None:
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a deadline is required")
                return await inner(request, context)
            except asyncio.CancelledError:
                await self._cancelled(context)
                raise
            except grpc.aio.AbortError:
                raise
            except Exception:
                log.exception("unhandled", extra={"method": method})
                await context.abort(grpc.StatusCode.INTERNAL, "internal error")
            finally:
                self._metrics.rpc(method, code_of(context), self._clock.monotonic() - begun)

        return call

    def _stream(self, inner: Any, method: str) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            begun = self._clock.monotonic()
            try:
                async for response in inner(request, context):
                    yield response
            except asyncio.CancelledError:
                await self._cancelled(context)
                raise
            except grpc.aio.AbortError:
                raise
            except Exception:
                log.exception("unhandled", extra={"method": method})
                await context.abort(grpc.StatusCode.INTERNAL, "internal error")
            finally:
                self._metrics.rpc(method, code_of(context), self._clock.monotonic() - begun)

        return call

    @staticmethod
    async def _cancelled(context: Context) -> None:
        """A cancellation that gRPC did not order would leave the caller without any status."""
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            await context.abort(grpc.StatusCode.ABORTED, "internal cancellation")


def code_of(context: Context) -> str:
    """Return the name of the status a call ends with."""
    if context.cancelled():
        return "CANCELLED"
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return "OK" if not code else _NAMES.get(int(code), "UNKNOWN")


_NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}
