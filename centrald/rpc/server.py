"""Two listeners in one loop: kiosks behind mutual TLS, phones behind server TLS."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from jpkireset.central.v1 import kiosk_service_pb2, reservation_service_pb2

from centrald.errors import ConfigError
from centrald.metrics import Metrics
from centrald.rpc import health
from centrald.rpc.guarded import handlers
from centrald.rpc.kiosk_service import KioskServicer
from centrald.rpc.reservation_service import ReservationServicer
from centrald.rpc.running import Running
from centrald.rpc.tls import LiveCertificate, TlsFiles
from centrald.service.kiosks import KioskCalls
from centrald.service.phones import PhoneCalls

_log = logging.getLogger(__name__)

_KIOSKS: ServiceDescriptor = kiosk_service_pb2.DESCRIPTOR.services_by_name["KioskService"]
_PHONES: ServiceDescriptor = reservation_service_pb2.DESCRIPTOR.services_by_name["ReservationService"]
_MAX_MESSAGE = 16 * 1024  # bytes; the largest real one is a certificate of 4 KiB and a signature
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.so_reuseport", 0),  # a second service on the same port is a mistake, not a cluster
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 20_000),  # kiosks ping every 30 s
)
_KIOSK_OPTIONS = (
    *_OPTIONS,
    ("grpc.max_connection_age_ms", 3_600_000),  # so that new certificates, and services added, come to count
    ("grpc.max_connection_age_grace_ms", 30_000),
)
# A phone calls twice. Who takes no answer keeps its calls' places until here; `limits` say how many an address begins.
_PHONE_OPTIONS = (
    *_OPTIONS,
    ("grpc.max_connection_age_ms", 60_000),
    ("grpc.max_connection_age_grace_ms", 10_000),
)


class Listeners:
    """Both listeners, from start to stop."""

    def __init__(
        self, kiosks: KioskCalls, phones: PhoneCalls, concurrent_calls: int, metrics: Metrics | None = None
    ) -> None:
        self._running = Running()
        self._health: list[health.Health] = []
        self._kiosk_server, self._phone_server = (
            grpc.aio.server(options=options, maximum_concurrent_rpcs=concurrent_calls)
            for options in (_KIOSK_OPTIONS, _PHONE_OPTIONS)
        )
        for server, service, servicer, admit in (
            (self._kiosk_server, _KIOSKS, KioskServicer(kiosks, self._running), None),
            (self._phone_server, _PHONES, ReservationServicer(phones, self._running), phones.admit),
        ):
            mine = health.Health((_KIOSKS.full_name, _PHONES.full_name))  # whichever is asked for, wherever
            self._health.append(mine)
            _add(server, service.full_name, handlers(service, servicer, metrics, admit))
            _add(server, health.SERVICE, mine.handlers())

    async def start(self, kiosk_address: str, phone_address: str, tls: TlsFiles) -> tuple[str, str]:
        """Bind and serve; returns both addresses with the ports really bound. Raises ConfigError."""
        mutual, server_only = (LiveCertificate(tls, mutual=mutual).credentials() for mutual in (True, False))
        kiosks = _bind(self._kiosk_server, kiosk_address, mutual)
        phones = _bind(self._phone_server, phone_address, server_only)
        await self._kiosk_server.start()
        await self._phone_server.start()
        await self.serving(True)
        return kiosks, phones

    async def serving(self, able: bool) -> None:
        """Let health checks say whether calls can be served now; they are taken in any case."""
        for one in self._health:
            one.serving(able)

    async def stop(self, grace: float) -> None:
        """Take no new calls, let the running ones finish within the grace (seconds)."""
        for one in self._health:
            one.end()
        await asyncio.gather(self._kiosk_server.stop(grace), self._phone_server.stop(grace))
        await asyncio.wait_for(self._running.drained(), grace)


def _add(server: grpc.aio.Server, service: str, guarded: dict[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))
    server.add_registered_method_handlers(service, guarded)


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials) -> str:
    host, colon, _ = address.rpartition(":")
    if not colon:
        raise ConfigError(f"listen: {address!r} is not address:port")
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(f"cannot listen on {address}: {error}") from None
    return f"{host}:{port}"
