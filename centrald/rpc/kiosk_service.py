"""The kiosks' listener: translate, call, translate."""

# ruff: noqa: N802 - the names of the methods are the protos'

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from jpkireset.central.v1 import kiosk_service_pb2 as pb
from jpkireset.central.v1 import kiosk_service_pb2_grpc as pb_grpc

from centrald.cardkeys import ANSWER_BYTES, CHAINING_BYTES, MAC_BYTES
from centrald.rpc import wire
from centrald.rpc.identity import kiosk_of
from centrald.rpc.running import Running
from centrald.rules.model import JUDGEMENT, Attempt
from centrald.service.channels import Authorized, Receipt
from centrald.service.kiosks import KioskCalls
from centrald.statement import SIGNATURE_BYTES

_Context = grpc.aio.ServicerContext[Any, Any]


class KioskServicer(pb_grpc.KioskServiceServicer):
    """See `jpkireset.central.v1.KioskService`."""

    def __init__(self, calls: KioskCalls, running: Running) -> None:
        self._calls = calls
        self._running = running

    async def GetServiceStatus(
        self, request: pb.GetServiceStatusRequest, context: _Context
    ) -> pb.GetServiceStatusResponse:
        """See the proto."""
        status = await self._running.finish(self._calls.status(kiosk_of(context.auth_context())))
        return pb.GetServiceStatusResponse(
            refusal=wire.refusal(status.refusal),
            now=wire.moment(status.now),
            opens_at=wire.moment(status.opens_at),
            closes_at=wire.moment(status.closes_at),
        )

    async def BeginAttempt(self, request: pb.BeginAttemptRequest, context: _Context) -> pb.BeginAttemptResponse:
        """See the proto."""
        kiosk = kiosk_of(context.auth_context())
        attempt_id, procedure = wire.attempt_id(request.attempt_id), wire.procedure(request.procedure)
        begun = await self._running.finish(self._calls.begin(kiosk, attempt_id, procedure))
        if not isinstance(begun, Attempt):
            return pb.BeginAttemptResponse(refusal=wire.refusal(begun.refusal), now=wire.moment(begun.now))
        valid_for = Duration()
        valid_for.FromTimedelta(JUDGEMENT)
        now = wire.moment(begun.begun_at)
        return pb.BeginAttemptResponse(challenge=begun.challenge, now=now, valid_for=valid_for)

    async def CheckReservation(
        self, request: pb.CheckReservationRequest, context: _Context
    ) -> pb.CheckReservationResponse:
        """See the proto."""
        kiosk = kiosk_of(context.auth_context())
        attempt_id, certificate = wire.attempt_id(request.attempt_id), wire.certificate(request.user_certificate)
        signature = wire.exactly("signature", request.signature, SIGNATURE_BYTES)
        check = await self._running.finish(self._calls.check(kiosk, attempt_id, certificate, signature))
        return pb.CheckReservationResponse(
            refusal=wire.refusal(check.refusal),
            expires_at=wire.moment(check.expires_at),
            in_doubt=check.in_doubt,
            key_version=check.key_version,
            host_challenges=check.host_challenges,
        )

    async def AuthorizeReset(self, request: pb.AuthorizeResetRequest, context: _Context) -> pb.AuthorizeResetResponse:
        """See the proto."""
        kiosk = kiosk_of(context.auth_context())
        attempt_id, n = wire.attempt_id(request.attempt_id), request.write_number
        answer = wire.exactly("initialize_update_response", request.initialize_update_response, ANSWER_BYTES)
        given = await self._running.finish(self._calls.authorize(kiosk, attempt_id, n, answer))
        if not isinstance(given, Authorized):
            return pb.AuthorizeResetResponse(refusal=wire.refusal(given))
        return pb.AuthorizeResetResponse(
            external_authenticate=given.external_authenticate, s_enc=given.s_enc, s_mac=given.s_mac
        )

    async def ReportOutcome(self, request: pb.ReportOutcomeRequest, context: _Context) -> pb.ReportOutcomeResponse:
        """See the proto."""
        kiosk = kiosk_of(context.auth_context())
        attempt_id, outcome = wire.attempt_id(request.attempt_id), wire.outcome(request.outcome)
        status_word = wire.status_word(request.status_word)
        receipt = _receipt(request.receipt) if request.HasField("receipt") else None
        work = self._calls.report(kiosk, attempt_id, request.write_number, outcome, status_word, receipt)
        report = await self._running.finish(work)
        return pb.ReportOutcomeResponse(
            verdict=wire.verdict(report.verdict), reservation_state=wire.state(report.state)
        )

    async def ReleaseAttempt(self, request: pb.ReleaseAttemptRequest, context: _Context) -> pb.ReleaseAttemptResponse:
        """See the proto."""
        kiosk, attempt_id = kiosk_of(context.auth_context()), wire.attempt_id(request.attempt_id)
        state = await self._running.finish(self._calls.release(kiosk, attempt_id))
        return pb.ReleaseAttemptResponse(reservation_state=wire.state(state))

    async def GetAttempt(self, request: pb.GetAttemptRequest, context: _Context) -> pb.GetAttemptResponse:
        """See the proto."""
        kiosk, attempt_id = kiosk_of(context.auth_context()), wire.attempt_id(request.attempt_id)
        status = await self._running.finish(self._calls.get(kiosk, attempt_id))
        return pb.GetAttemptResponse(
            reservation_state=wire.state(status.state), verdict=wire.verdict(status.verdict), released=status.released
        )


def _receipt(message: pb.Receipt) -> Receipt:
    return Receipt(
        wire.exactly("receipt.chaining_value", message.chaining_value, CHAINING_BYTES),
        wire.exactly("receipt.r_mac", message.r_mac, MAC_BYTES),
    )
