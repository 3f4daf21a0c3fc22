"""The phones' listener: translate, call, translate."""

# ruff: noqa: N802 - the names of the methods are the protos'

from __future__ import annotations

from typing import Any

import grpc
from jpkireset.central.v1 import reservation_service_pb2 as pb
from jpkireset.central.v1 import reservation_service_pb2_grpc as pb_grpc

from centrald.rpc import wire
from centrald.rpc.running import Running
from centrald.rules.model import Refusal
from centrald.service.phones import PhoneCalls
from centrald.statement import CHALLENGE_BYTES, SIGNATURE_BYTES

_Context = grpc.aio.ServicerContext[Any, Any]


class ReservationServicer(pb_grpc.ReservationServiceServicer):
    """See `jpkireset.central.v1.ReservationService`."""

    def __init__(self, calls: PhoneCalls, running: Running) -> None:
        self._calls = calls
        self._running = running

    async def GetChallenge(self, request: pb.GetChallengeRequest, context: _Context) -> pb.GetChallengeResponse:
        """See the proto."""
        challenge = await self._running.finish(self._calls.challenge(wire.procedure(request.procedure)))
        return pb.GetChallengeResponse(challenge=challenge)

    async def CreateReservation(
        self, request: pb.CreateReservationRequest, context: _Context
    ) -> pb.CreateReservationResponse:
        """See the proto."""
        work = self._calls.reserve(
            wire.procedure(request.procedure),
            wire.exactly("challenge", request.challenge, CHALLENGE_BYTES),
            wire.certificate(request.user_certificate),
            wire.exactly("signature", request.signature, SIGNATURE_BYTES),
            wire.face_match(request.face_match),
        )
        made = await self._running.finish(work)
        if isinstance(made, Refusal):
            return pb.CreateReservationResponse(refusal=wire.refusal(made))
        return pb.CreateReservationResponse(reservation_id=made.id, expires_at=wire.moment(made.expires_at))
