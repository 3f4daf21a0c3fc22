"""The one message of a call, read by the handler itself and waited for no longer than a moment.

gRPC takes a place for a call (`concurrent_calls`) as soon as its headers are there, and by itself waits for the message
for as long as the caller likes: a few hundred calls without any, from one address, would keep everybody else out. So
every handler here is one of streams, which runs at once, and reads what is one message to the caller.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

SECONDS = 3.0  # as long as a kiosk waits for a whole call


class NoRequest(Exception):
    """The caller ended without a message, went away, or sent none in time."""


async def request_of(context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    """Return the bytes of the request; raises NoRequest."""
    try:
        async with asyncio.timeout(SECONDS):
            data: bytes = await context.read()
    except TimeoutError:
        raise NoRequest from None
    if data is grpc.aio.EOF:  # type: ignore[comparison-overlap]
        raise NoRequest
    return data
