from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from gatewayd.clock import SystemClock
from gatewayd.rpc.gateway_service import GatewayService
from gatewayd.rpc.interceptors import Guard
from gatewayd.rpc.operator_service import OperatorService
from gatewayd.rpc.reset_service import ResetService
from gatewayd.rpc.server import Server, for_front_ends, for_operators
from tests.fakes.kiosk import Kiosk
from tests.unit.gatewayd.rpc.served import Daemon

OWN_CHANNEL = (("grpc.use_local_subchannel_pool", 1),)  # no test inherits another's back-off


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
