"""The servers on the local sockets: one for front-ends, one for operators. A caller's role is the socket it reached."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2_grpc
from jpkireset.gateway.v1 import (
    gateway_service_pb2,
    gateway_service_pb2_grpc,
    operator_service_pb2,
    operator_service_pb2_grpc,
    reset_service_pb2,
    reset_service_pb2_grpc,
)

from gatewayd.errors import ConfigError
from gatewayd.rpc import health
from gatewayd.rpc.gateway_service import GatewayService
from gatewayd.rpc.interceptors import Guard
from gatewayd.rpc.operator_service import OperatorService
from gatewayd.rpc.reflection import Reflection
from gatewayd.rpc.reset_service import ResetService

LARGEST_MESSAGE = 16 * 1024  # bytes; a request has a few hundred
MOST_CALLS = 256  # open at once, streams included
OWNER_ONLY = 0o600
OWNER_AND_GROUP = 0o660
PING_MS = 2000  # a frozen client is noticed within 2 + 2 s

OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", PING_MS),
    ("grpc.keepalive_timeout_ms", PING_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.ping_timeout_ms", PING_MS),  # without it a stopped client is never noticed
    ("grpc.http2.max_pings_without_data", 0),
)

RESET = reset_service_pb2.DESCRIPTOR.services_by_name["ResetService"].full_name
GATEWAY = gateway_service_pb2.DESCRIPTOR.services_by_name["GatewayService"].full_name
OPERATOR = operator_service_pb2.DESCRIPTOR.services_by_name["OperatorService"].full_name

Register = Callable[[grpc.aio.Server], None]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One socket and what it offers."""

    section: str  # of the configuration, for what is said of a mistake there
    socket: Path
    group: str  # that may connect; empty: the daemon's own user only
    services: Mapping[str, Register]  # by full name
    reflection: bool = False


def for_front_ends(socket: str, group: str, reset: ResetService, gateway: GatewayService) -> Endpoint:
    """Return the kiosk's socket: the reset and the status, and no more."""
    services = {
        RESET: lambda server: reset_service_pb2_grpc.add_ResetServiceServicer_to_server(reset, server),
        GATEWAY: lambda server: gateway_service_pb2_grpc.add_GatewayServiceServicer_to_server(gateway, server),
    }
    return Endpoint("api", Path(socket), group, services)


def for_operators(socket: str, group: str, gateway: GatewayService, operator: OperatorService) -> Endpoint:
    """Return the operators' socket: the status, the journal's attempts, and reflection."""
    services = {
        GATEWAY: lambda server: gateway_service_pb2_grpc.add_GatewayServiceServicer_to_server(gateway, server),
        OPERATOR: lambda server: operator_service_pb2_grpc.add_OperatorServiceServicer_to_server(operator, server),
    }
    return Endpoint("operators", Path(socket), group, services, reflection=True)


class Server:
    """Serves every endpoint.

    Health says NOT_SERVING on each until `ready`, and of the reset for as long as `admits` says so.
    """

    def __init__(self, endpoints: Sequence[Endpoint], guard: Guard) -> None:
        self._listeners = [_Listener(endpoint, guard) for endpoint in endpoints]

    async def start(self) -> None:
        """Bind every socket with its final owner and mode, then serve. Raises ConfigError when one cannot be bound."""
        for listener in self._listeners:
            listener.bind()
        for listener in self._listeners:
            await listener.start()

    def ready(self) -> None:
        """Tell health checks that calls are served; the reset's may not be, all the same."""
        for listener in self._listeners:
            listener.health.tell({"", GATEWAY, OPERATOR}, able=True)

    def admits(self, attempts: bool) -> None:
        """Tell health checks of the reset whether an attempt could begin; GetStatus says why not."""
        for listener in self._listeners:
            listener.health.tell({RESET}, able=attempts)

    async def stop(self, grace_s: float) -> None:
        """Tell health checks, then let calls end within the grace; called again, the shorter one holds."""
        for listener in self._listeners:
            listener.health.end()
        await asyncio.gather(*(listener.stop(grace_s) for listener in self._listeners))


class _Listener:
    """One endpoint being served."""

    def __init__(self, endpoint: Endpoint, guard: Guard) -> None:
        self._endpoint = endpoint
        self._server = grpc.aio.server(interceptors=[guard], options=OPTIONS, maximum_concurrent_rpcs=MOST_CALLS)
        self.start = self._server.start
        self.stop = self._server.stop
        self.health = health.Health(endpoint.services)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        for register in endpoint.services.values():
            register(self._server)
        if endpoint.reflection:
            self._server.add_generic_rpc_handlers((Reflection((*endpoint.services, health.SERVICE)),))

    def bind(self) -> None:
        """Make the socket; nobody else can connect before it has its group. Raises ConfigError."""
        socket, group, section = self._endpoint.socket, self._endpoint.group, self._endpoint.section
        if socket.exists() and not stat.S_ISSOCK(socket.stat().st_mode):
            raise ConfigError(f"{socket} exists and is not a socket - at `$.{section}.socket`")
        before = os.umask(0o777 & ~OWNER_ONLY)  # the file appears with this mode
        try:
            self._server.add_insecure_port(f"unix:{socket}")
        except RuntimeError as error:
            raise ConfigError(f"cannot bind {socket} - at `$.{section}.socket`") from error
        finally:
            os.umask(before)
        if group:
            try:
                if socket.group() != group:  # as it is not in a folder with that group and the set-group-ID bit
                    shutil.chown(socket, group=group)
            except (LookupError, OSError) as error:
                raise ConfigError(f"cannot give {socket} to `{group}` - at `$.{section}.group`") from error
            socket.chmod(OWNER_AND_GROUP)
