from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from jpkireset.gateway.v1 import gateway_service_pb2_grpc, operator_service_pb2_grpc, reset_service_pb2_grpc

from gatewayd.clock import SystemClock
from gatewayd.rpc.gateway_service import GatewayService
from gatewayd.rpc.interceptors import Guard
from gatewayd.rpc.operator_service import OperatorService
from gatewayd.rpc.reset_service import ResetService
from gatewayd.rpc.server import Server, for_front_ends, for_operators
from tests.fakes.kiosk import Kiosk

OWN_CHANNEL = (("grpc.use_local_subchannel_pool", 1),)  # no test inherits another's back-off


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


@pytest.fixture
async def daemon(kiosk: Kiosk) -> AsyncIterator[Daemon]:
    with tempfile.TemporaryDirectory() as directory:  # shorter than pytest's: a socket's path has 107 bytes
        sockets = Path(directory) / "api", Path(directory) / "operators"
        gateway = GatewayService(kiosk.manager, kiosk.readiness)
        front_ends = for_front_ends(str(sockets[0]), "", ResetService(kiosk.manager), gateway)
        operators = for_operators(str(sockets[1]), "", gateway, OperatorService(kiosk.manager))
        server = Server((front_ends, operators), Guard(kiosk.metrics, SystemClock()))
        await server.start()
        api, own = (grpc.aio.insecure_channel(f"unix:{socket}", options=OWN_CHANNEL) for socket in sockets)
        yield Daemon(kiosk, server, api, own, sockets)
        await api.close()
        await own.close()
        await server.stop(0)


def error_info(error: grpc.aio.AioRpcError) -> ErrorInfo:
    """What a refused call says to programs."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    (detail,) = status.details
    info = ErrorInfo()
    assert detail.Unpack(info)
    return info
