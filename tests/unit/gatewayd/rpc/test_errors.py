"""Every status that is not OK, over a real socket: its code, its reason, and not a word that was not ours."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1 import operator_service_pb2 as operator
from jpkireset.gateway.v1 import reset_service_pb2 as reset

from gatewayd.rpc import refusal, reset_service
from gatewayd.rpc.refusal import DOMAIN, ErrorReason
from gatewayd.rpc.server import LARGEST_MESSAGE
from tests.unit.gatewayd.rpc.served import Daemon, error_info

ROOT = Path(__file__).parents[4]
SECRET = "PLANTED-SECRET-7Q"
TIMEOUT_S = 5.0
ATTEMPT = "0a6fd1b2-3d1c-4b0e-9a53-1f3c7c9f3b11"
START = reset.Start(attempt_id=ATTEMPT, procedure=reset.PROCEDURE_SIGNING_PASSWORD, terms_accepted=True)
GET_STATUS = "/jpkireset.gateway.v1.GatewayService/GetStatus"
NOT_A_MESSAGE = b"\xff\xff\xff"

Call = Callable[[Daemon], Awaitable[None]]


def begin(daemon: Daemon, *starts: reset.Start) -> grpc.aio.StreamStreamCall[Any, Any]:
    async def requests() -> AsyncIterator[reset.ResetPasswordRequest]:
        for start in starts:
            yield reset.ResetPasswordRequest(start=start)
        await asyncio.Event().wait()

    return daemon.resets.ResetPassword(requests())


async def drained(call: grpc.aio.StreamStreamCall[Any, Any] | grpc.aio.UnaryStreamCall[Any, Any]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        async for _ in call:
            pass


async def raw(daemon: Daemon, method: str, request: bytes) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = daemon.api.unary_unary(method)
    await call(request, timeout=TIMEOUT_S)


async def without_deadline(daemon: Daemon) -> None:
    await daemon.gateway.GetStatus(gateway.GetStatusRequest())


async def malformed(daemon: Daemon) -> None:
    await raw(daemon, GET_STATUS, NOT_A_MESSAGE)


async def not_a_start(daemon: Daemon) -> None:
    await drained(begin(daemon, reset.Start(procedure=START.procedure, terms_accepted=False)))


async def nothing(daemon: Daemon) -> None:
    await drained(begin(daemon))


async def known(daemon: Daemon) -> None:
    await daemon.kiosk.open(ATTEMPT)
    await drained(begin(daemon, START))


async def never_accepted(daemon: Daemon) -> None:
    await daemon.gateway.GetAttempt(gateway.GetAttemptRequest(attempt_id=ATTEMPT), timeout=TIMEOUT_S)


async def too_many(daemon: Daemon) -> None:
    await daemon.operator.ListAttempts(operator.ListAttemptsRequest(page_size=201), timeout=TIMEOUT_S)


async def foreign_token(daemon: Daemon) -> None:
    await daemon.operator.ListAttempts(operator.ListAttemptsRequest(page_token="x"), timeout=TIMEOUT_S)


async def no_journal(daemon: Daemon) -> None:
    await daemon.kiosk.journal.close()
    await never_accepted(daemon)


async def watched_to_the_end(daemon: Daemon) -> None:
    await daemon.kiosk.readiness.end_watches()
    await drained(daemon.gateway.WatchStatus(gateway.WatchStatusRequest()))


async def no_such_method(daemon: Daemon) -> None:
    await raw(daemon, "/jpkireset.gateway.v1.OperatorService/ListAttempts", b"")


async def health_of_no_service(daemon: Daemon) -> None:
    stub = health_pb2_grpc.HealthStub(daemon.api)
    await stub.Check(health_pb2.HealthCheckRequest(service="jpkireset.gateway.v1.OperatorService"), timeout=TIMEOUT_S)


async def cancelled_inside(daemon: Daemon) -> None:
    async def cancel(_: str) -> NoReturn:
        raise asyncio.CancelledError(SECRET)

    daemon.kiosk.manager.attempt = cancel  # type: ignore[method-assign,assignment]
    await never_accepted(daemon)


async def fault(daemon: Daemon) -> None:
    async def fail(_: str) -> NoReturn:
        raise ValueError(SECRET)

    daemon.kiosk.manager.attempt = fail  # type: ignore[method-assign,assignment]
    await never_accepted(daemon)


CAUSES: dict[ErrorReason, Call] = {
    ErrorReason.DEADLINE_REQUIRED: without_deadline,
    ErrorReason.REQUEST_MALFORMED: malformed,
    ErrorReason.START_INVALID: not_a_start,
    ErrorReason.START_MISSING: nothing,
    ErrorReason.ATTEMPT_KNOWN: known,
    ErrorReason.ATTEMPT_NOT_FOUND: never_accepted,
    ErrorReason.PAGE_SIZE_INVALID: too_many,
    ErrorReason.PAGE_TOKEN_INVALID: foreign_token,
    ErrorReason.JOURNAL_UNAVAILABLE: no_journal,
    ErrorReason.STOPPING: watched_to_the_end,
    ErrorReason.METHOD_UNKNOWN: no_such_method,
    ErrorReason.SERVICE_UNKNOWN: health_of_no_service,
    ErrorReason.INTERNAL_CANCELLATION: cancelled_inside,
    ErrorReason.INTERNAL_ERROR: fault,
}


async def refused(daemon: Daemon, call: Call) -> grpc.aio.AioRpcError:
    """Make a call that must not be served; check that it says nothing but what is written down."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(daemon)
    error = caught.value
    info = error_info(error)
    reason = ErrorReason[info.reason]
    assert info.domain == DOMAIN
    assert (error.code(), error.details()) == (reason.code, reason.message)
    assert SECRET not in f"{error.trailing_metadata()} {error.initial_metadata()} {info}"
    return error


@pytest.mark.parametrize("reason", ErrorReason, ids=lambda reason: reason.name)
async def test_each_reason_has_a_cause(daemon: Daemon, reason: ErrorReason, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reset_service, "START_LIMIT_S", 0.05)
    error = await refused(daemon, CAUSES[reason])
    assert error_info(error).reason == reason.name
    sample = "gatewayd_rpc_duration_seconds_count"
    method = {
        ErrorReason.METHOD_UNKNOWN: "unknown",
        ErrorReason.DEADLINE_REQUIRED: GET_STATUS,
        ErrorReason.REQUEST_MALFORMED: GET_STATUS,
    }.get(reason)
    if method:
        labels = {"method": method, "code": reason.code.name}
        async with asyncio.timeout(5):
            while (counted := daemon.kiosk.metrics.registry.get_sample_value(sample, labels)) is None:
                await asyncio.sleep(0.001)  # the caller has its answer before the call is counted
        assert counted == 1


@pytest.mark.parametrize(
    ("raised", "reason"),
    [(ValueError(SECRET), ErrorReason.INTERNAL_ERROR), (asyncio.CancelledError(), ErrorReason.INTERNAL_CANCELLATION)],
)
async def test_what_leaves_a_stream_is_mapped_too(
    daemon: Daemon, raised: BaseException, reason: ErrorReason, caplog: pytest.LogCaptureFixture
) -> None:
    async def statuses() -> AsyncIterator[Any]:
        yield daemon.kiosk.readiness.status
        raise raised

    daemon.kiosk.readiness.statuses = statuses  # type: ignore[method-assign]
    watch = daemon.gateway.WatchStatus(gateway.WatchStatusRequest())
    error = await refused(daemon, lambda _: drained(watch))
    assert error_info(error).reason == reason.name
    assert SECRET not in "".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (reset.ResetPasswordRequest(cancel=reset.Cancel()), "must be a start"),
        (reset.ResetPasswordRequest(), "must be a start"),
        (reset.ResetPasswordRequest(start=reset.Start(terms_accepted=True)), "start.procedure"),
        (reset.ResetPasswordRequest(start=reset.Start(procedure=START.procedure)), "start.terms_accepted"),
        (
            reset.ResetPasswordRequest(
                start=reset.Start(procedure=START.procedure, terms_accepted=True, attempt_id=ATTEMPT.upper())
            ),
            "start.attempt_id",
        ),
    ],
)
async def test_a_stream_that_begins_wrongly(daemon: Daemon, request_: reset.ResetPasswordRequest, problem: str) -> None:
    async def once() -> AsyncIterator[reset.ResetPasswordRequest]:
        yield request_

    error = await refused(daemon, lambda _: drained(daemon.resets.ResetPassword(once())))
    assert problem in error_info(error).metadata["problem"]
    assert daemon.kiosk.manager.session is None


async def test_a_malformed_input_is_a_client_that_went_away(daemon: Daemon) -> None:
    first = reset.ResetPasswordRequest(start=START).SerializeToString()

    async def requests() -> AsyncIterator[bytes]:
        yield first
        yield NOT_A_MESSAGE
        await asyncio.Event().wait()

    stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = daemon.api.stream_stream(
        "/jpkireset.gateway.v1.ResetService/ResetPassword"
    )
    error = await refused(daemon, lambda _: drained(stream(requests())))
    assert error_info(error).reason == "REQUEST_MALFORMED"
    record = await daemon.kiosk.journal.attempt(ATTEMPT)
    assert record is not None
    assert (record.outcome, record.reason) == ("not_done", "client_gone")


async def test_a_large_request_is_not_read(daemon: Daemon) -> None:
    request = gateway.GetAttemptRequest(attempt_id="x" * LARGEST_MESSAGE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await daemon.gateway.GetAttempt(request, timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_page_is_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", documented(), flags=re.MULTILINE)
    assert [row[:3] for row in rows] == [(reason.name, reason.code.name, reason.message) for reason in ErrorReason]
    assert f"`domain` is `{DOMAIN}`" in documented()
    assert f"{LARGEST_MESSAGE // 1024} KiB" in documented()


def documented() -> str:
    return (ROOT / "docs/ERRORS.md").read_text(encoding="utf-8")


def test_no_other_way_out() -> None:
    own = Path(refusal.__file__)
    for source in own.parent.glob("*.py"):
        ways = re.findall(r"\b(?:abort\w*|set_code|set_details)\(", source.read_text(encoding="utf-8"))
        assert ways == (["abort_with_status("] if source == own else []), source
