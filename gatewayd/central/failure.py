"""Why a call to the centre failed: one word out of a few, for status, logs and the outbox.

`dns` the name has no address; `refused` nobody listens there; `unreachable` no way to the address; `tls` one side does
not accept the other's certificate, or speaks no TLS; `deadline` no answer in time; `unavailable` the connection broke,
or the centre says so itself; `denied` the centre knows the caller and does not serve it. The rest is one call's own.
"""

from __future__ import annotations

import grpc
import grpc.aio

UNAVAILABLE = "unavailable"
DEADLINE = "deadline"
INTERNAL = "internal"  # a fault of the centre, or of how we speak to it

# gRPC codes that are no answer: nobody was there to give one. A centre that stops cancels what reached it just then.
SILENT = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
# gRPC codes after which the same call may be made again.
TRANSIENT = SILENT | {grpc.StatusCode.RESOURCE_EXHAUSTED}

_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: UNAVAILABLE,
    grpc.StatusCode.CANCELLED: UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: DEADLINE,
    grpc.StatusCode.UNAUTHENTICATED: "denied",
    grpc.StatusCode.PERMISSION_DENIED: "denied",
}
# Why there is no connection, grpc says in text alone. A test meets the causes for real, so that a new version's words
# are noticed; until then an unknown text is "unavailable". The first fragment found decides.
_NO_CONNECTION = ("errors resolving", "DNS resolution failed", "failed to connect to all addresses")
_BY_TEXT = (
    ("errors resolving", "dns"),
    ("DNS resolution failed", "dns"),
    ("Connection refused", "refused"),
    ("Network is unreachable", "unreachable"),
    ("No route to host", "unreachable"),
    ("Tls handshake failed", "tls"),
    ("Hostname Verification", "tls"),
    ("Handshake read failed", DEADLINE),  # taken by the kernel, and nobody there
    ("timed out", DEADLINE),
    # In TLS 1.3 a client has finished before the server refuses its certificate: all it sees is the end.
    ("Socket closed", "tls"),
    ("Connection reset", "tls"),
    ("Broken pipe", "tls"),
)


def word_for(error: grpc.aio.AioRpcError) -> str:
    """Return the word for a failed call."""
    text = error.details() or ""
    if error.code() is grpc.StatusCode.UNAVAILABLE and any(fragment in text for fragment in _NO_CONNECTION):
        return next((word for fragment, word in _BY_TEXT if fragment in text), UNAVAILABLE)
    return _BY_CODE.get(error.code(), INTERNAL)
