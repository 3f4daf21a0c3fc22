"""What holds for every call: a deadline, a metric, and no word of an exception's text to the caller."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from gatewayd.clock import Clock
from gatewayd.metrics import Metrics
from gatewayd.rpc.refusal import Context, ErrorReason, refuse

UNKNOWN_METHOD = "unknown"  # callers choose the names of methods that do not exist: they are no metric's label

log = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Decode: TypeAlias = "Callable[[bytes], Any] | None"


class RequestMalformed(Exception):
    """The bytes of a request are no message of its type."""


class Guard(grpc.aio.ServerInterceptor):
    """Maps what leaves a handler: a cancellation of our own to ABORTED, an unforeseen exception to INTERNAL, both with
    fixed text; refuses unary calls without a deadline; measures every call.

    An exception's text may hold a secret, and grpc would send it to the caller. Requests are decoded here, because
    what grpc makes of a failure to decode holds such a text as well.
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
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(self._stream(_unknown, UNKNOWN_METHOD, None))
        decode = handler.request_deserializer
        if handler.response_streaming:
            inner = handler.stream_stream or handler.unary_stream
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else (grpc.unary_stream_rpc_method_handler)
            )
            return make(self._stream(inner, method, decode), response_serializer=handler.response_serializer)
        assert not handler.request_streaming, "no service has such a method"
        return grpc.unary_unary_rpc_method_handler(
            self._unary(handler.unary_unary, method, decode), response_serializer=handler.response_serializer
        )

    def _unary(self, inner: Any, method: str, decode: Decode) -> Callable[[Any, Context], Awaitable[Any]]:
        async def call(request: bytes, context: Context) -> Any:
            async with self._guarded(context, method):
                if context.time_remaining() is None:
                    await refuse(context, ErrorReason.DEADLINE_REQUIRED)
                return await inner(_decoded(request, decode), context)

        return call

    def _stream(self, inner: Any, method: str, decode: Decode) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def call(request: bytes | AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async with self._guarded(context, method):
                decoded = _decoded(request, decode) if isinstance(request, bytes) else _each_decoded(request, decode)
                async for response in inner(decoded, context):
                    yield response

        return call

    @contextlib.asynccontextmanager
    async def _guarded(self, context: Context, method: str) -> AsyncIterator[None]:
        begun = self._clock.monotonic()
        try:
            yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():  # not ordered by grpc: the caller would get no status at all
                await refuse(context, ErrorReason.INTERNAL_CANCELLATION)
            raise
        except grpc.aio.AbortError:
            raise
        except RequestMalformed:
            await refuse(context, ErrorReason.REQUEST_MALFORMED)
        except Exception:
            log.exception("unhandled", extra={"method": method})
            await refuse(context, ErrorReason.INTERNAL_ERROR)
        finally:
            self._metrics.rpc(method, code_of(context), self._clock.monotonic() - begun)


async def _unknown(_: object, context: Context) -> AsyncIterator[NoReturn]:
    """Answer a method that this socket does not offer."""
    yield await refuse(context, ErrorReason.METHOD_UNKNOWN)


def _decoded(request: bytes, decode: Decode) -> Any:
    try:
        return decode(request) if decode else request
    except DecodeError:
        raise RequestMalformed from None


async def _each_decoded(requests: AsyncIterator[bytes], decode: Decode) -> AsyncIterator[Any]:
    async for request in requests:
        yield _decoded(request, decode)


def code_of(context: Context) -> str:
    """Return the name of the status a call ends with."""
    if context.cancelled():
        return "CANCELLED"
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return "OK" if not code else _NAMES.get(int(code), "UNKNOWN")


_NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}
