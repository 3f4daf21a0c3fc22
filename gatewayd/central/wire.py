"""Calls on the wire: deadlines, the one layer of repeats, the circuit, and what is measured."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from gatewayd.central.channel import Channel
from gatewayd.central.circuit import Circuit, CircuitState
from gatewayd.central.failure import DEADLINE, SILENT, TRANSIENT, UNAVAILABLE, word_for
from gatewayd.clock import Clock
from gatewayd.errors import CentralRejected, CentralUnavailable

if TYPE_CHECKING:  # the class exists in the stubs only
    from jpkireset.central.v1.kiosk_service_pb2_grpc import KioskServiceAsyncStub

CALL_TIMEOUT_S = 3.0
STEP_BUDGET_S = 10.0
DRAIN_S = STEP_BUDGET_S  # for the calls on a channel that was replaced

# gRPC codes by which a centre refuses the call itself.
_FINAL = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION})

Q = TypeVar("Q", bound=Any)
R = TypeVar("R", bound=Any)
Pick = Callable[["KioskServiceAsyncStub"], "grpc.aio.UnaryUnaryMultiCallable[Q, R]"]
Observe = Callable[[str, str, float], None]

log = logging.getLogger(__name__)


class Wire:
    """The channel of this moment and the calls on it. `observe` is told each call: method, gRPC code, seconds."""

    def __init__(
        self, channel: Channel, clock: Clock, observe: Observe | None, on_circuit: Callable[[CircuitState], None]
    ) -> None:
        self._channel = channel
        self._clock = clock
        self._observe = observe
        self._on_circuit = on_circuit
        self._circuit = Circuit(clock.monotonic, self._circuit_changed)
        self._told_open = False  # once, not after each trial
        self._word = UNAVAILABLE  # why the last call without an answer had none
        self.answers = 0  # so far

    @property
    def circuit(self) -> CircuitState:
        """Whether steps are tried."""
        return self._circuit.state

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._channel.connected

    async def step(self, pick: Pick[Q, R], request: Q, budget: float = STEP_BUDGET_S) -> R:
        """Make an idempotent call, again while that can help and the step's budget lasts.

        Raises CentralUnavailable, or CentralRejected for a call that the centre does not understand or expect.
        """
        end = self._clock.monotonic() + budget

        async def call() -> R:
            if not self._circuit.admit():
                raise CentralUnavailable(self._word)
            return await self.once(pick, request, end - self._clock.monotonic())

        try:
            async with asyncio.timeout(budget):
                try:
                    return await call()  # nearly always enough, and spares what the repeats below cost
                except grpc.aio.AioRpcError as error:
                    if not _is_transient(error):
                        raise
                    return await self._repeat(call, error, end)
        except TimeoutError:
            raise CentralUnavailable(DEADLINE) from None
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None

    async def _repeat(self, call: Callable[[], Awaitable[R]], first: grpc.aio.AioRpcError, end: float) -> R:
        """Call again after the first failure, with growing pauses, until `end`."""

        def too_late(state: RetryCallState) -> bool:
            return self._clock.monotonic() + state.upcoming_sleep >= end

        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_transient),
            wait=wait_random_exponential(multiplier=0.2, min=0.05, max=2),
            stop=too_late,
            sleep=self._clock.sleep,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                if attempt.retry_state.attempt_number == 1:
                    raise first
                return await call()
        raise AssertionError("the loop returns or raises")

    async def deliver(self, pick: Pick[Q, R], request: Q) -> R:
        """Make a call once; raise CentralRejected for a refusal that no repeat can change, else CentralUnavailable.

        The circuit keeps none of these back: they are what the centre waits for, and their sender makes pauses itself.
        """
        try:
            return await self.once(pick, request)
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None

    async def once(self, pick: Pick[Q, R], request: Q, remaining: float = CALL_TIMEOUT_S) -> R:
        """Make a call once. Raises AioRpcError, or CentralUnavailable when the channel was closed."""
        started = self._clock.monotonic()
        code = "CANCELLED"
        try:
            reply = await pick(self._channel.stub)(request, timeout=min(CALL_TIMEOUT_S, remaining))
            code = "OK"
            self.answers += 1
            self._circuit.answered()
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            if error.code() in SILENT:
                self._word = word_for(error)
                self._circuit.failed()
            else:
                self._circuit.answered()
            raise
        except grpc.aio.UsageError:  # the channel was closed before the call
            self._circuit.given_up()
            raise CentralUnavailable(UNAVAILABLE) from None
        except asyncio.CancelledError:
            self._circuit.given_up()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise CentralUnavailable(UNAVAILABLE) from None  # the channel was closed under the call
        except Exception:
            self._circuit.given_up()
            raise
        finally:
            if self._observe is not None:
                name = request.DESCRIPTOR.name.removesuffix("Request")
                self._observe(name, code, self._clock.monotonic() - started)
        return reply

    async def replace(self, channel: Channel) -> None:
        """Make every call from now on with this channel; those on the old one are given the time of a step."""
        old, self._channel = self._channel, channel
        try:
            await old.close(DRAIN_S)
        except asyncio.CancelledError:
            await old.close(None)
            raise

    async def close(self) -> None:
        """Close the channel; calls that run are given a second."""
        await self._channel.close()

    def _circuit_changed(self, state: CircuitState) -> None:
        if state is CircuitState.CLOSED:
            log.info("circuit to the centre closed")
        elif state is CircuitState.OPEN and not self._told_open:
            log.warning("circuit to the centre open", extra={"detail": self._word})
        self._told_open = state is not CircuitState.CLOSED
        self._on_circuit(state)


def _failure(error: grpc.aio.AioRpcError) -> CentralUnavailable | CentralRejected:
    if error.code() in _FINAL:
        return CentralRejected(error.code().name.lower())
    return CentralUnavailable(word_for(error))


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() in TRANSIENT
