"""Serves the metrics to Prometheus, on threads of its own: they answer while the daemon's loop is stuck."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from gatewayd.config import MetricsAddress
from gatewayd.errors import ConfigError

MOST_SCRAPES = 16  # at once, each with a thread; the daemon's unit bounds those (TasksMax), and has others to start
PATIENCE_S = 10.0  # for a caller that says nothing, in the TLS handshake, too
WAIT_S = 86_400.0  # for a caller, or `close`: nothing else is looked for in between
STOP_S = 2.0

log = logging.getLogger(__name__)


class Scrapes:
    """Serves from its making until `close`: plainly, or to callers with a certificate of the client authority."""

    def __init__(self, registry: CollectorRegistry, config: MetricsAddress, credentials: Path) -> None:
        """Relative paths of the configuration lie in `credentials`. Raises ConfigError."""
        host, _, port = config.address.rpartition(":")
        try:
            context = _context(config, credentials) if config.certificate else None
        except OSError as error:  # ssl.SSLError, too
            raise ConfigError(f"cannot serve metrics with these certificates: {error} - at `$.metrics`") from error
        try:
            self._server = _Server(host.strip("[]"), int(port), context)
        except OSError as error:
            raise ConfigError(
                f"cannot serve metrics on {config.address}: {error.strerror} - at `$.metrics.address`"
            ) from error
        self._server.set_app(make_wsgi_app(registry))
        self.address = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(WAIT_S,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve no more; a scrape that runs is not waited for."""
        with contextlib.suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for a caller
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(STOP_S)


def _context(config: MetricsAddress, credentials: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(credentials / config.certificate, credentials / config.key)
    context.load_verify_locations(credentials / config.client_authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing of scrapes."""


class _Server(ThreadingMixIn, WSGIServer):
    """One thread for each connection, in which its handshake is made: who is slow keeps nobody else waiting."""

    daemon_threads = True
    request_queue_size = 64  # with the base class's 5 the kernel lets a crowd wait for seconds before anybody sees it

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._places = threading.BoundedSemaphore(MOST_SCRAPES)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def server_bind(self) -> None:
        """Bind without asking the name service for our own name, which the base class does."""
        TCPServer.server_bind(self)
        host, port = self.socket.getsockname()[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, or end it: who takes all places with silence has them no longer than that."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve the connection on its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that does not speak as it should is no fault of ours."""
        log.debug("scrape failed", exc_info=True)
