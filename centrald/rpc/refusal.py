"""Every status other than OK that the centre itself answers with: code and a reason that programs read.

The reasons are part of the interface; docs/CENTRAL.md describes them, and a test holds the two together. A refusal of
the service is none of them: that is a field of the answer.
"""

from __future__ import annotations

import datetime
from enum import Enum
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from centrald import errors

DOMAIN = "centrald"

Context = grpc.aio.ServicerContext[Any, Any]


class ErrorReason(Enum):
    """Why a call was not served; the name is `google.rpc.ErrorInfo.reason`, the value the status code."""

    DEADLINE_REQUIRED = (grpc.StatusCode.INVALID_ARGUMENT, 1)
    REQUEST_MALFORMED = (grpc.StatusCode.INVALID_ARGUMENT, 2)
    REQUEST_INVALID = (grpc.StatusCode.INVALID_ARGUMENT, 3)
    CONTENT_CHANGED = (grpc.StatusCode.INVALID_ARGUMENT, 4)
    OUT_OF_ORDER = (grpc.StatusCode.FAILED_PRECONDITION, 5)
    ATTEMPT_OF_ANOTHER_KIOSK = (grpc.StatusCode.PERMISSION_DENIED, 6)
    KIOSK_NOT_IDENTIFIED = (grpc.StatusCode.UNAUTHENTICATED, 7)
    ATTEMPT_NOT_FOUND = (grpc.StatusCode.NOT_FOUND, 8)
    TOO_MANY_REQUESTS = (grpc.StatusCode.RESOURCE_EXHAUSTED, 9)
    KEYS_UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, 10)
    STORAGE_UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, 11)
    INTERNAL_CANCELLATION = (grpc.StatusCode.ABORTED, 12)
    INTERNAL_ERROR = (grpc.StatusCode.INTERNAL, 13)

    @property
    def code(self) -> grpc.StatusCode:
        """The status code it comes with."""
        return self.value[0]


_REASONS: dict[type[errors.CallError], ErrorReason] = {
    errors.BadContent: ErrorReason.REQUEST_INVALID,
    errors.ContentChanged: ErrorReason.CONTENT_CHANGED,
    errors.OutOfOrder: ErrorReason.OUT_OF_ORDER,
    errors.NotYours: ErrorReason.ATTEMPT_OF_ANOTHER_KIOSK,
    errors.NotIdentified: ErrorReason.KIOSK_NOT_IDENTIFIED,
    errors.NeverBegun: ErrorReason.ATTEMPT_NOT_FOUND,
    errors.TooMany: ErrorReason.TOO_MANY_REQUESTS,
    errors.KeysUnavailable: ErrorReason.KEYS_UNAVAILABLE,
}


def reason_of(error: errors.CallError) -> ErrorReason:
    """Return the reason a broken call is answered with."""
    return _REASONS[type(error)]


async def refuse_call(context: Context, error: errors.CallError) -> NoReturn:
    """End a broken call with its reason, its own text, and how long to wait where that is known."""
    wait = error.wait if isinstance(error, errors.TooMany) else None
    await refuse(context, reason_of(error), str(error), wait)


async def refuse(
    context: Context, reason: ErrorReason, message: str, wait: datetime.timedelta | None = None
) -> NoReturn:
    """End the call with this reason; the message holds nothing of the request or of an exception of others."""
    details = [AnyMessage()]
    details[0].Pack(ErrorInfo(reason=reason.name, domain=DOMAIN))
    if wait is not None:
        retry = RetryInfo()
        retry.retry_delay.FromTimedelta(wait)
        details.append(AnyMessage())
        details[1].Pack(retry)
    status = Status(code=reason.code.value[0], message=message, details=details)
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("a call that was aborted goes on")
