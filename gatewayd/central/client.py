"""The client of the central reservation service: gRPC over mutual TLS."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
from jpkireset.central.v1 import common_pb2
from jpkireset.central.v1 import kiosk_service_pb2 as pb
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from gatewayd.central import mapping
from gatewayd.central.channel import ChannelHolder
from gatewayd.central.identity import read_identity
from gatewayd.central.port import (
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
from gatewayd.central.statement import reset_statement
from gatewayd.clock import Clock
from gatewayd.errors import CentralRejected, CentralUnavailable

if TYPE_CHECKING:  # the class exists in the stubs only
    from jpkireset.central.v1.kiosk_service_pb2_grpc import KioskServiceAsyncStub

CALL_TIMEOUT_S = 3.0
STEP_BUDGET_S = 10.0
AUTHORIZE_BUDGET_S = 5.0  # the card waits, powered

PROCEDURE = common_pb2.PROCEDURE_SIGNING_PASSWORD

# gRPC codes after which the same call may be made again, and what the other codes mean to us.
_TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE: "unavailable",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "unavailable",
    grpc.StatusCode.DEADLINE_EXCEEDED: "deadline",
}
_DETAILS = _TRANSIENT | {
    grpc.StatusCode.UNAUTHENTICATED: "refused",
    grpc.StatusCode.PERMISSION_DENIED: "refused",
    grpc.StatusCode.FAILED_PRECONDITION: "precondition",
}
_FINAL = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION}

Q = TypeVar("Q", bound=Any)
R = TypeVar("R", bound=Any)
V = TypeVar("V")
Pick = Callable[["KioskServiceAsyncStub"], "grpc.aio.UnaryUnaryMultiCallable[Q, R]"]


class CentralClient:
    """One kiosk's client; implements `CentralPort`. Make it within the running event loop.

    `observe` is told each call on the wire: method, gRPC code, seconds.

    Raises:
        ConfigError: the certificate files cannot be used.
    """

    def __init__(
        self, settings: CentralSettings, clock: Clock, observe: Callable[[str, str, float], None] | None = None
    ) -> None:
        self._clock = clock
        self._observe = observe
        self._identity = read_identity(settings)
        self._channel = ChannelHolder(settings, self._identity)
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
    def clock_skew_s(self) -> float | None:
        """The centre's clock minus ours in seconds, from when it last told the time; None before that."""
        if self._heard is None:
            return None
        told, at = self._heard
        return (told - self._clock.now()).total_seconds() + self._clock.monotonic() - at

    async def service_status(self) -> ServiceStatus:
        """See `CentralPort`."""
        request = pb.GetServiceStatusRequest()
        status = _understood(mapping.service_status, await self._step(lambda stub: stub.GetServiceStatus, request))
        self._hear(status.now)
        return status

    async def begin_attempt(self, attempt_id: str) -> Begun | Refused:
        """See `CentralPort`."""
        request = pb.BeginAttemptRequest(attempt_id=attempt_id, procedure=PROCEDURE)
        answer = _understood(mapping.challenge, await self._step(lambda stub: stub.BeginAttempt, request))
        if isinstance(answer, Refused):
            return answer
        challenge, now = answer
        self._hear(now)
        return Begun(reset_statement(PROCEDURE, attempt_id, self.kiosk_id, challenge))

    async def check_reservation(self, attempt_id: str, certificate: bytes, signature: bytes) -> Reservation | Refused:
        """See `CentralPort`."""
        request = pb.CheckReservationRequest(attempt_id=attempt_id, user_certificate=certificate, signature=signature)
        return _understood(mapping.reservation, await self._step(lambda stub: stub.CheckReservation, request))

    async def authorize_reset(self, attempt_id: str, n: int, card_answer: bytes) -> Authorization | Refused:
        """See `CentralPort`."""
        request = pb.AuthorizeResetRequest(
            attempt_id=attempt_id, write_number=n, initialize_update_response=card_answer
        )
        reply = await self._step(lambda stub: stub.AuthorizeReset, request, AUTHORIZE_BUDGET_S)
        return _understood(mapping.authorization, reply)

    async def report_outcome(self, report: Report) -> Acknowledged:
        """See `CentralPort`."""
        reply = await self._deliver(lambda stub: stub.ReportOutcome, mapping.report_request(report))
        return _understood(mapping.acknowledged, reply)

    async def release_attempt(self, attempt_id: str) -> ReservationState:
        """See `CentralPort`."""
        request = pb.ReleaseAttemptRequest(attempt_id=attempt_id)
        reply = await self._deliver(lambda stub: stub.ReleaseAttempt, request)
        return _understood(mapping.reservation_state, reply.reservation_state)

    async def get_attempt(self, attempt_id: str) -> ReservationState:
        """See `CentralPort`. An attempt the centre has never heard of never had a reservation."""
        try:
            reply = await self._once(lambda stub: stub.GetAttempt, pb.GetAttemptRequest(attempt_id=attempt_id))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return ReservationState.NONE
            raise _unavailable(error) from None
        return _understood(mapping.reservation_state, reply.reservation_state)

    async def close(self) -> None:
        """See `CentralPort`."""
        await self._channel.close()

    def _hear(self, now: datetime.datetime) -> None:
        self._heard = now, self._clock.monotonic()

    async def _step(self, pick: Pick[Q, R], request: Q, budget: float = STEP_BUDGET_S) -> R:
        """Make an idempotent call, again while that can help and the step's budget lasts."""
        end = self._clock.monotonic() + budget

        def too_late(state: RetryCallState) -> bool:
            return self._clock.monotonic() + state.upcoming_sleep >= end

        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_transient),
            wait=wait_random_exponential(multiplier=0.2, min=0.05, max=2),
            stop=too_late,
            sleep=self._clock.sleep,
            reraise=True,
        )
        try:
            async with asyncio.timeout(budget):
                async for attempt in retrying:
                    with attempt:
                        return await self._once(pick, request, end - self._clock.monotonic())
        except TimeoutError:
            raise CentralUnavailable("deadline") from None
        except grpc.aio.AioRpcError as error:
            raise _unavailable(error) from None
        raise AssertionError("the loop returns or raises")

    async def _deliver(self, pick: Pick[Q, R], request: Q) -> R:
        """Make a call once; tell a refusal that no repeat can change from a failure."""
        try:
            return await self._once(pick, request)
        except grpc.aio.AioRpcError as error:
            if error.code() in _FINAL:
                raise CentralRejected(error.code().name.lower()) from None
            raise _unavailable(error) from None

    async def _once(self, pick: Pick[Q, R], request: Q, remaining: float = CALL_TIMEOUT_S) -> R:
        started = self._clock.monotonic()
        code = "CANCELLED"
        try:
            reply = await pick(self._channel.stub)(request, timeout=min(CALL_TIMEOUT_S, remaining))
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            raise
        except grpc.aio.UsageError:  # the channel was closed before the call
            raise CentralUnavailable("unavailable") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise CentralUnavailable("unavailable") from None  # the channel was closed under the call
        finally:
            if self._observe is not None:
                name = request.DESCRIPTOR.name.removesuffix("Request")
                self._observe(name, code, self._clock.monotonic() - started)
        return reply


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() in _TRANSIENT


def _unavailable(error: grpc.aio.AioRpcError) -> CentralUnavailable:
    return CentralUnavailable(_DETAILS.get(error.code(), "internal"))


def _understood(read: Callable[[R], V], reply: R) -> V:
    try:
        return read(reply)
    except ValueError:
        raise CentralUnavailable("malformed") from None
