"""Every status other than OK that the daemon itself answers with: code, fixed text and a reason that programs read.

The reasons are part of the interface; docs/ERRORS.md describes them, and a test holds the two together. A citizen's
refusal is none of them: that is a view's outcome and reason.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

DOMAIN = "gatewayd"

Context = grpc.aio.ServicerContext[Any, Any]


class ErrorReason(Enum):
    """Why a call was not served; the name is `google.rpc.ErrorInfo.reason`."""

    DEADLINE_REQUIRED = (grpc.StatusCode.INVALID_ARGUMENT, "a deadline is required")
    REQUEST_MALFORMED = (grpc.StatusCode.INVALID_ARGUMENT, "the request is not a message of its type")
    START_INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "the first request is not a well-formed start")
    START_MISSING = (grpc.StatusCode.DEADLINE_EXCEEDED, "no start came")
    ATTEMPT_KNOWN = (grpc.StatusCode.ALREADY_EXISTS, "this attempt id is known: ask GetAttempt")
    ATTEMPT_NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "this daemon knows no attempt of that id")
    PAGE_SIZE_INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "page_size: at most 200")
    PAGE_TOKEN_INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "page_token: not one of this daemon's")
    JOURNAL_UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "the journal is unavailable")
    STOPPING = (grpc.StatusCode.UNAVAILABLE, "the daemon stops")
    METHOD_UNKNOWN = (grpc.StatusCode.UNIMPLEMENTED, "this socket does not offer that method")
    SERVICE_UNKNOWN = (grpc.StatusCode.NOT_FOUND, "this socket does not offer that service")
    INTERNAL_CANCELLATION = (grpc.StatusCode.ABORTED, "internal cancellation")
    INTERNAL_ERROR = (grpc.StatusCode.INTERNAL, "internal error")

    @property
    def code(self) -> grpc.StatusCode:
        """The status code it comes with."""
        return self.value[0]

    @property
    def message(self) -> str:
        """The status message: fixed text, for logs."""
        return self.value[1]


async def refuse(context: Context, reason: ErrorReason, **metadata: str) -> NoReturn:
    """End the call with this reason. `metadata` says more in words of our own, never in a caller's or exception's."""
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason=reason.name, domain=DOMAIN, metadata=metadata))
    status = Status(code=reason.code.value[0], message=reason.message, details=[detail])
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("a call that was aborted goes on")
