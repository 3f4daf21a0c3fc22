"""What holds for every call: a deadline is demanded, and only here does an exception become a status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from centrald.errors import (
    BadContent,
    CallError,
    NeverBegun,
    NotIdentified,
    NotYours,
    OutOfOrder,
    StorageFailed,
    TooMany,
)

_log = logging.getLogger(__name__)

_OURS = "/jpkireset."
_CODES = {
    BadContent: grpc.StatusCode.INVALID_ARGUMENT,
    OutOfOrder: grpc.StatusCode.FAILED_PRECONDITION,
    NotYours: grpc.StatusCode.PERMISSION_DENIED,
    NotIdentified: grpc.StatusCode.UNAUTHENTICATED,
    NeverBegun: grpc.StatusCode.NOT_FOUND,
    TooMany: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

_Context = grpc.aio.ServicerContext[Any, Any]
_Handler = Callable[[Any, _Context], Awaitable[Any]]


class CallGuard(grpc.aio.ServerInterceptor):
    """Turns exceptions of our unary calls into statuses, with fixed texts for what nobody foresaw."""

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
        return grpc.unary_unary_rpc_method_handler(
            _guarded(method, cast("_Handler", handler.unary_unary)),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _guarded(method: str, call: _Handler) -> _Handler:
    async def guarded(request: Any, context: _Context) -> Any:
        if context.time_remaining() is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a call needs a deadline")
        try:
            return await call(request, context)
        except CallError as error:
            await context.abort(_CODES[type(error)], str(error))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # gRPC's own: the caller went away
                raise
            await context.abort(grpc.StatusCode.ABORTED, "cancelled inside the service")
        except grpc.aio.AbortError:
            raise
        except (StorageFailed, DBAPIError, PoolTimeoutError) as error:
            _log.error("storage failed", extra={"method": method, "error": type(error).__name__})
            await context.abort(grpc.StatusCode.UNAVAILABLE, "storage unavailable")
        except Exception:  # noqa: BLE001 - the one place where everything else ends
            _log.exception("unhandled", extra={"method": method})
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")

    return guarded
