"""The server on the local socket."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from jpkireset.gateway.v1 import gateway_service_pb2_grpc, reset_service_pb2_grpc

from gatewayd.errors import ConfigError
from gatewayd.rpc.gateway_service import GatewayService
from gatewayd.rpc.interceptors import Guard
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

SERVICES = ("", "jpkireset.gateway.v1.ResetService", "jpkireset.gateway.v1.GatewayService")


class Server:
    """Serves the local socket; health says NOT_SERVING until `ready`."""

    def __init__(self, socket: Path, group: str, reset: ResetService, gateway: GatewayService, guard: Guard) -> None:
        self._socket = socket
        self._group = group
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(interceptors=[guard], options=OPTIONS, maximum_concurrent_rpcs=MOST_CALLS)
        reset_service_pb2_grpc.add_ResetServiceServicer_to_server(reset, self._server)
        gateway_service_pb2_grpc.add_GatewayServiceServicer_to_server(gateway, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self) -> None:
        """Bind the socket with its final owner and mode, and serve. Raises ConfigError when it cannot be bound."""
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)
        if self._socket.exists() and not stat.S_ISSOCK(self._socket.stat().st_mode):
            raise ConfigError(f"{self._socket} exists and is not a socket - at `$.api.socket`")
        before = os.umask(0o177)  # the file appears with mode 0600; nobody can slip in before it gets its group
        try:
            self._server.add_insecure_port(f"unix:{self._socket}")
        except RuntimeError as error:
            raise ConfigError(f"cannot bind {self._socket} - at `$.api.socket`") from error
        finally:
            os.umask(before)
        if self._group:
            try:
                shutil.chown(self._socket, group=self._group)
            except (LookupError, OSError) as error:
                raise ConfigError(f"cannot give {self._socket} to `{self._group}` - at `$.api.group`") from error
            self._socket.chmod(OWNER_AND_GROUP)
        await self._server.start()

    async def ready(self) -> None:
        """Tell health checks that calls are served."""
        await self._tell(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_s: float) -> None:
        """Tell health checks first, then let running calls end within the grace."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)

    async def _tell(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in SERVICES:
            await self._health.set(service, status)
