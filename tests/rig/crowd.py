"""Many front-ends that begin an attempt in the same moment, each timed from its request to its first view.

A hundred gRPC clients in one process take longer than the daemon. So what they send is made ready before, byte by byte,
and nothing is looked into before all have their answers.
"""

from __future__ import annotations

import selectors
import socket
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged
from jpkireset.gateway.v1.reset_service_pb2 import (
    PROCEDURE_SIGNING_PASSWORD,
    ResetPasswordRequest,
    ResetPasswordResponse,
    Start,
    View,
)

METHOD = "/jpkireset.gateway.v1.ResetService/ResetPassword"
SECONDS = 20.0
RECEIVE_BYTES = 65_536
PREFIX_BYTES = 5  # of a message: compressed or not (1), length (4); grpc, doc/PROTOCOL-HTTP2.md
DATA, TYPE_AT, FRAME_HEADER = 0, 3, 9  # RFC 9113, sections 4.1 and 6.1


@dataclass
class _FrontEnd:
    """A connection with its start ready to be sent."""

    socket: socket.socket
    http: H2Connection
    start: bytes = b""
    received: bytes = b""
    begun: float = 0.0
    took: float | None = None
    view: View = field(default_factory=View)

    @property
    def answered(self) -> bool:
        """Whether a frame with data has come whole, by the headers of the frames alone."""
        at = 0
        while len(self.received) >= at + FRAME_HEADER:
            end = at + FRAME_HEADER + int.from_bytes(self.received[at : at + TYPE_AT])
            if self.received[at + TYPE_AT] == DATA and len(self.received) >= end:
                return True
            at = end
        return False


def begin_at_once(path: Path, count: int) -> list[tuple[View, float]]:
    """Connect so many, let all begin at once, and return each one's first view with the seconds it took.

    Raises TimeoutError when one of them gets none.
    """
    crowd: list[_FrontEnd] = []
    try:
        crowd.extend(_connected(path) for _ in range(count))
        with selectors.DefaultSelector() as waiting:
            for front in crowd:
                waiting.register(front.socket, selectors.EVENT_READ, front)
                front.begun = time.perf_counter()
                front.socket.sendall(front.start)
            while waiting.get_map():
                ready = waiting.select(SECONDS)
                if not ready:
                    raise TimeoutError
                for key, _ in ready:
                    front = key.data
                    front.received += front.socket.recv(RECEIVE_BYTES)
                    if front.answered:
                        front.took = time.perf_counter() - front.begun
                        waiting.unregister(front.socket)
        return [(_view(front), front.took or 0.0) for front in crowd]
    finally:
        for front in crowd:
            front.socket.close()


def _connected(path: Path) -> _FrontEnd:
    """Connect, exchange settings, and prepare the start."""
    front = _FrontEnd(socket.socket(socket.AF_UNIX), H2Connection(H2Configuration(header_encoding="utf-8")))
    front.socket.settimeout(SECONDS)
    front.socket.connect(str(path))
    front.http.initiate_connection()
    front.socket.sendall(front.http.data_to_send())
    while not any(
        isinstance(event, RemoteSettingsChanged) for event in front.http.receive_data(front.socket.recv(RECEIVE_BYTES))
    ):
        pass
    stream = front.http.get_next_available_stream_id()
    headers = {":method": "POST", ":scheme": "http", ":path": METHOD, ":authority": "localhost"}
    front.http.send_headers(stream, [*headers.items(), ("te", "trailers"), ("content-type", "application/grpc")])
    start = Start(attempt_id=str(uuid.uuid4()), procedure=PROCEDURE_SIGNING_PASSWORD, terms_accepted=True)
    message = ResetPasswordRequest(start=start).SerializeToString()
    front.http.send_data(stream, b"\0" + len(message).to_bytes(PREFIX_BYTES - 1) + message)
    front.start = front.http.data_to_send()
    return front


def _view(front: _FrontEnd) -> View:
    events = front.http.receive_data(front.received)
    data = next(event.data for event in events if isinstance(event, DataReceived))
    assert data is not None
    return ResetPasswordResponse.FromString(data[PREFIX_BYTES:]).view
