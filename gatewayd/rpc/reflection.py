"""Reflection, loaded when somebody asks for it: its library would take half a MiB of every kiosk's memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc

SERVICE = (
    "grpc.reflection.v1alpha.ServerReflection"  # https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
)
_METHOD = f"/{SERVICE}/ServerReflectionInfo"


class Reflection(grpc.GenericRpcHandler):
    """Tells callers what the socket offers: the named services, and itself."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = (*services, SERVICE)
        self._handler: grpc.RpcMethodHandler[Any, Any] | None = None

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """See `grpc.GenericRpcHandler`."""
        if handler_call_details.method != _METHOD:
            return None
        if self._handler is None:
            self._handler = _load(self._services)
        return self._handler


def _load(services: tuple[str, ...]) -> grpc.RpcMethodHandler[Any, Any]:
    from grpc_reflection.v1alpha import reflection, reflection_pb2

    return grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(services).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
