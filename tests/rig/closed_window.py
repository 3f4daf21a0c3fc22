"""A watcher of the health that takes nothing: HTTP/2 leaves it to who asks whether an answer's data may come."""

from __future__ import annotations

import socket

import h2.config
import h2.connection
import h2.events
import h2.settings

WATCH = "/grpc.health.v1.Health/Watch"


def watch_without_reading(link: socket.socket, scheme: str, authority: str) -> None:
    """Watch the health of "" over this connection, and never let one byte of an answer's data come.

    Returns once the answer has begun, of which the head may come.
    """

    def await_one(kind: type[h2.events.Event]) -> None:
        while not any(isinstance(event, kind) for event in http.receive_data(link.recv(65_535))):
            pass

    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    http.initiate_connection()
    http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    link.sendall(http.data_to_send())
    await_one(h2.events.SettingsAcknowledged)
    headers = {
        ":method": "POST",
        ":scheme": scheme,
        ":path": WATCH,
        ":authority": authority,
        "te": "trailers",
        "content-type": "application/grpc",
    }
    http.send_headers(1, [*headers.items()])
    http.send_data(1, bytes(5), end_stream=True)
    link.sendall(http.data_to_send())
    await_one(h2.events.ResponseReceived)
