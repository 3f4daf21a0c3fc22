"""A gRPC server with mutual TLS that answers every call with nothing: what a call costs at least.

python -m tests.bench.bare_server CENTRAL_DIRECTORY
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc

from tests.rig.interrupt import end_in_order

METHOD = "/bare.Service/Call"


async def nothing(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """Answer."""
    return b""


class Anything(grpc.GenericRpcHandler):
    """Serves the one method."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """See `grpc.GenericRpcHandler`."""
        return grpc.unary_unary_rpc_method_handler(nothing) if details.method == METHOD else None


async def serve(central: Path) -> None:
    """Serve with the certificates of a centre's directory, until interrupted."""
    tls = central / "tls"
    pair = ((tls / "server.key").read_bytes(), (tls / "server.pem").read_bytes())
    roots = (tls / "kiosk-ca.pem").read_bytes()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Anything(),))
    credentials = grpc.ssl_server_credentials([pair], roots, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(json.dumps({"event": "serving", "address": f"127.0.0.1:{port}"}), flush=True)
    try:
        await server.wait_for_termination()
    finally:
        await server.stop(None)


if __name__ == "__main__":
    end_in_order()
    try:
        asyncio.run(serve(Path(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(0)
