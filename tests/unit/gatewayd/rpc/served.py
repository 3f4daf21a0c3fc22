"""The daemon's two sockets as a test sees them, and what a refused call says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from jpkireset.gateway.v1 import gateway_service_pb2_grpc, operator_service_pb2_grpc, reset_service_pb2_grpc

from gatewayd.rpc.server import Server
from tests.fakes.kiosk import Kiosk


@dataclass
class Daemon:
    """The daemon's two sockets, and what is behind them."""

    kiosk: Kiosk
    server: Server
    api: grpc.aio.Channel
    operators: grpc.aio.Channel
    sockets: tuple[Path, Path]

    @property
    def resets(self) -> reset_service_pb2_grpc.ResetServiceAsyncStub:
        return reset_service_pb2_grpc.ResetServiceStub(self.api)

    @property
    def gateway(self) -> gateway_service_pb2_grpc.GatewayServiceAsyncStub:
        return gateway_service_pb2_grpc.GatewayServiceStub(self.api)

    @property
    def operator(self) -> operator_service_pb2_grpc.OperatorServiceAsyncStub:
        return operator_service_pb2_grpc.OperatorServiceStub(self.operators)


def error_info(error: grpc.aio.AioRpcError) -> ErrorInfo:
    """What a refused call says to programs."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    (detail,) = status.details
    info = ErrorInfo()
    assert detail.Unpack(info)
    return info
