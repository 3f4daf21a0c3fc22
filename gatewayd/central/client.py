"""The client of the central reservation service: gRPC over mutual TLS."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
import grpc.aio
from jpkireset.central.v1 import common_pb2
from jpkireset.central.v1 import kiosk_service_pb2 as pb

from gatewayd.central import mapping
from gatewayd.central.channel import Channel
from gatewayd.central.circuit import CircuitState
from gatewayd.central.failure import INTERNAL, word_for
from gatewayd.central.identity import check_dates, read_identity, stamp
from gatewayd.central.port import (
    MALFORMED,
    Acknowledged,
    Authorization,
    Begun,
    Refused,
    Report,
    Reservation,
    ReservationState,
    ServiceStatus,
)
from gatewayd.central.settings import CentralSettings
from gatewayd.central.sight import Sight
from gatewayd.central.statement import reset_statement
from gatewayd.central.wire import Observe, Wire
from gatewayd.clock import Clock
from gatewayd.errors import CentralRejected, CentralUnavailable, ConfigError

GLANCE_S = 2.0  # grpc's own watch of a connection cannot be cancelled
AUTHORIZE_BUDGET_S = 5.0  # the card waits, powered

PROCEDURE = common_pb2.PROCEDURE_SIGNING_PASSWORD

R = TypeVar("R", bound=Any)
V = TypeVar("V")


class CentralClient:
    """One kiosk's client; implements `CentralPort`. Make it within the running event loop.

    `observe` is told each call on the wire: method, gRPC code, seconds; `on_circuit` each change of the circuit.

    Raises:
        ConfigError: the certificate files cannot be used.
    """

    def __init__(
        self,
        settings: CentralSettings,
        clock: Clock,
        observe: Observe | None = None,
        on_circuit: Callable[[CircuitState], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._files = stamp(settings)
        self._identity = read_identity(settings)
        self._wire = Wire(Channel(settings, self._identity), clock, observe, on_circuit)
        self._heard: tuple[datetime.datetime, float] | None = None

    @property
    def kiosk_id(self) -> str:
        """See `CentralPort`."""
        return self._identity.kiosk_id

    @property
    def certificate_expiry(self) -> dict[str, float]:
        """When the certificates end, as Unix time, by role: client, authority."""
        return self._identity.expiry

    @property
    def circuit(self) -> CircuitState:
        """See `CentralPort`."""
        return self._wire.circuit

    @property
    def clock_skew_s(self) -> float | None:
        """The centre's clock minus ours in seconds, from when it last told the time; None before that."""
        if self._heard is None:
            return None
        told, at = self._heard
        return (told - self._clock.now()).total_seconds() + self._clock.monotonic() - at

    async def service_status(self) -> ServiceStatus:
        """See `CentralPort`."""
        request = pb.GetServiceStatusRequest()
        try:
            reply = await self._wire.step(lambda stub: stub.GetServiceStatus, request)
        except CentralRejected:
            raise CentralUnavailable(INTERNAL) from None
        status = _understood(mapping.service_status, reply)
        self._hear(status.now)
        return status

    async def begin_attempt(self, attempt_id: str) -> Begun | Refused:
        """See `CentralPort`."""
        request = pb.BeginAttemptRequest(attempt_id=attempt_id, procedure=PROCEDURE)
        answer = _understood(mapping.challenge, await self._wire.step(lambda stub: stub.BeginAttempt, request))
        if isinstance(answer, Refused):
            return answer
        challenge, now = answer
        self._hear(now)
        return Begun(reset_statement(PROCEDURE, attempt_id, self.kiosk_id, challenge))

    async def check_reservation(self, attempt_id: str, certificate: bytes, signature: bytes) -> Reservation | Refused:
        """See `CentralPort`."""
        request = pb.CheckReservationRequest(attempt_id=attempt_id, user_certificate=certificate, signature=signature)
        return _understood(mapping.reservation, await self._wire.step(lambda stub: stub.CheckReservation, request))

    async def authorize_reset(self, attempt_id: str, n: int, card_answer: bytes) -> Authorization | Refused:
        """See `CentralPort`."""
        request = pb.AuthorizeResetRequest(
            attempt_id=attempt_id, write_number=n, initialize_update_response=card_answer
        )
        reply = await self._wire.step(lambda stub: stub.AuthorizeReset, request, AUTHORIZE_BUDGET_S)
        return _understood(mapping.authorization, reply)

    async def report_outcome(self, report: Report) -> Acknowledged:
        """See `CentralPort`."""
        reply = await self._wire.deliver(lambda stub: stub.ReportOutcome, mapping.report_request(report))
        return _understood(lambda reply: mapping.acknowledged(reply, report.outcome), reply)

    async def release_attempt(self, attempt_id: str) -> ReservationState:
        """See `CentralPort`."""
        request = pb.ReleaseAttemptRequest(attempt_id=attempt_id)
        reply = await self._wire.deliver(lambda stub: stub.ReleaseAttempt, request)
        return _understood(mapping.reservation_state, reply.reservation_state)

    async def get_attempt(self, attempt_id: str) -> ReservationState:
        """See `CentralPort`. An attempt the centre has never heard of never had a reservation."""
        try:
            reply = await self._wire.once(lambda stub: stub.GetAttempt, pb.GetAttemptRequest(attempt_id=attempt_id))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return ReservationState.NONE
            raise CentralUnavailable(word_for(error)) from None
        return _understood(mapping.reservation_state, reply.reservation_state)

    async def watch_connection(self, on_change: Callable[[], None]) -> None:
        """Tell when the connection to the centre is lost or made, for as long as the daemon runs."""
        sight = Sight()
        while True:
            await self._clock.sleep(GLANCE_S)
            if sight.changed(connected=self._wire.connected, answers=self._wire.answers):
                on_change()

    async def renew(self) -> bool:
        """Take the certificate files into use if they have changed; tell whether they were.

        Raises ConfigError (a file is bad) or CentralUnavailable (the centre is not there, or does not accept them): the
        certificates in use stay in use, and the next call tries again.
        """
        files = stamp(self._settings)
        if files == self._files:
            return False
        identity = read_identity(self._settings)
        check_dates(identity, self._clock.now())
        if identity.kiosk_id != self.kiosk_id:
            raise ConfigError(f"{self._settings.certificate}: the certificate names another kiosk")
        if identity == self._identity:
            self._files = files
            return False
        channel = Channel(self._settings, identity)
        try:
            await channel.prove()
        except BaseException:
            await channel.close(None)
            raise
        self._files, self._identity = files, identity
        await self._wire.replace(channel)
        return True

    async def close(self) -> None:
        """See `CentralPort`."""
        await self._wire.close()

    def _hear(self, now: datetime.datetime) -> None:
        self._heard = now, self._clock.monotonic()


def _understood(read: Callable[[R], V], reply: R) -> V:
    try:
        return read(reply)
    except ValueError:
        raise CentralUnavailable(MALFORMED) from None
