"""Another front-end at the same daemon, whose citizen comes at the worst moment."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import grpc
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1 import reset_service_pb2 as reset
from jpkireset.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from jpkireset.gateway.v1.reset_service_pb2_grpc import ResetServiceStub

SECONDS = 20.0


class Rival:
    """Its stream is there from the start; its attempt begins with `begin`, soon, and ends with the context, cancelled.

    So the daemon has one message to read where who comes second has a stream to open first.
    """

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix:{socket}")
        self._requests: queue.Queue[reset.ResetPasswordRequest | None] = queue.Queue()
        self._views: list[reset.View] = []
        self._opened = threading.Event()
        self._on_the_way = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def begin(self) -> None:
        """Agree to the terms; returns when the start has been sent, whether or not the daemon runs."""
        start = reset.Start(procedure=reset.PROCEDURE_SIGNING_PASSWORD, terms_accepted=True)
        self._requests.put(reset.ResetPasswordRequest(start=start))
        assert self._on_the_way.wait(SECONDS)

    def _sent(self) -> Iterator[reset.ResetPasswordRequest]:
        while (request := self._requests.get()) is not None:
            yield request
            self._on_the_way.set()  # asked for the next one: this one is in the socket

    def _follow(self) -> None:
        responses = ResetServiceStub(self._channel).ResetPassword(self._sent())
        self._opened.set()
        for response in responses:
            self._views.append(response.view)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._opened.wait(SECONDS)
        # Behind the stream on the same connection: once it is answered, the daemon has both.
        GatewayServiceStub(self._channel).GetStatus(gateway.GetStatusRequest(), timeout=SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        if self._views:
            number = self._views[-1].number
            self._requests.put(reset.ResetPasswordRequest(view_number=number, cancel=reset.Cancel()))
            self._thread.join(SECONDS)
        self._requests.put(None)
        self._channel.close()
