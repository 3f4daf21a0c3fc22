"""What holds for every call: statuses, identity, and work that is finished."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, NoReturn, cast

import grpc
import pytest
from jpkireset.central.v1 import kiosk_service_pb2 as pb
from jpkireset.central.v1 import reservation_service_pb2 as phone_pb
from sqlalchemy.exc import OperationalError

from centrald import errors
from centrald.kioskname import uri_of
from centrald.rpc import wire
from centrald.rpc.identity import kiosk_of
from centrald.rpc.interceptors import CallGuard
from centrald.rpc.running import Running
from centrald.rules.model import FaceMatch, Outcome, Refusal, State, Verdict
from tests.unit.centrald.world import KIOSK

LOCKED = OperationalError("INSERT secret", {"serial": "secret"}, Exception("locked"))
METHOD = "/jpkireset.central.v1.KioskService/GetServiceStatus"


class Context:
    """A call's context, as far as the guard needs it."""

    def __init__(self, remaining: float | None = 1.0) -> None:
        self.remaining = remaining
        self.status: tuple[grpc.StatusCode, str] | None = None

    def time_remaining(self) -> float | None:
        return self.remaining

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self.status = (code, details)
        raise grpc.aio.AbortError


class Details:
    """A call's name."""

    method = METHOD


async def call(error: BaseException | None, context: Context) -> Any:
    """Let the guard run one handler that raises, or returns its request."""

    async def handler(request: str, _context: object) -> str:
        if error is not None:
            raise error
        return request

    async def continuation(_details: object) -> grpc.RpcMethodHandler[Any, Any]:
        return grpc.unary_unary_rpc_method_handler(cast("Any", handler))

    guarded = await CallGuard().intercept_service(continuation, cast("Any", Details()))
    assert guarded is not None
    return await cast("Any", guarded.unary_unary)("request", context)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (errors.BadContent("a field"), grpc.StatusCode.INVALID_ARGUMENT, "a field"),
        (errors.OutOfOrder("order"), grpc.StatusCode.FAILED_PRECONDITION, "order"),
        (errors.NotYours("other"), grpc.StatusCode.PERMISSION_DENIED, "other"),
        (errors.NotIdentified("who"), grpc.StatusCode.UNAUTHENTICATED, "who"),
        (errors.NeverBegun("none"), grpc.StatusCode.NOT_FOUND, "none"),
        (errors.TooMany("many"), grpc.StatusCode.RESOURCE_EXHAUSTED, "many"),
        (asyncio.CancelledError(), grpc.StatusCode.ABORTED, "cancelled inside the service"),
        (
            OperationalError("INSERT secret", {}, Exception("locked")),
            grpc.StatusCode.UNAVAILABLE,
            "storage unavailable",
        ),
        (RuntimeError("secret"), grpc.StatusCode.INTERNAL, "internal error"),
    ],
)
async def test_every_exception_has_its_status(error: BaseException, code: grpc.StatusCode, text: str) -> None:
    context = Context()
    with pytest.raises(grpc.aio.AbortError):
        await call(error, context)
    assert context.status == (code, text)


def test_every_call_error_has_a_status() -> None:
    from centrald.rpc.interceptors import _CODES

    assert set(_CODES) == set(errors.CallError.__subclasses__())


async def test_a_call_with_a_deadline_passes_and_one_without_does_not() -> None:
    assert await call(None, Context()) == "request"
    context = Context(remaining=None)
    with pytest.raises(grpc.aio.AbortError):
        await call(None, context)
    assert context.status == (grpc.StatusCode.INVALID_ARGUMENT, "a call needs a deadline")


async def test_storage_errors_are_logged_without_their_statement(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(grpc.aio.AbortError):
        await call(LOCKED, Context())
    assert [record.getMessage() for record in caplog.records] == ["storage failed"]
    assert "secret" not in caplog.text


async def test_a_caller_that_goes_away_cancels_nothing(caplog: pytest.LogCaptureFixture) -> None:
    running, begun, go_on, ended = Running(), asyncio.Event(), asyncio.Event(), []

    async def work(error: Exception | None) -> None:
        begun.set()
        await go_on.wait()
        ended.append(error)
        if error is not None:
            raise error

    for error in (None, errors.OutOfOrder("x"), RuntimeError("secret")):
        begun.clear()
        caller = asyncio.create_task(running.finish(work(error)))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
    assert ended == []
    go_on.set()
    await running.drained()
    await asyncio.sleep(0)
    assert len(ended) == 3
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "failed after its caller had gone")
    ]
    assert "secret" not in caplog.text


URI = uri_of(KIOSK).encode()
TLS = [b"TLSv1.3"]


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"ssl_tls_version": TLS},
        {"ssl_tls_version": TLS, "x509_subject_alternative_name": [URI, URI]},
        {"ssl_tls_version": TLS, "x509_subject_alternative_name": [b"kiosk.example", URI]},
        {"ssl_tls_version": TLS, "x509_subject_alternative_name": [URI + b"/x"]},
        {"ssl_tls_version": TLS, "x509_subject_alternative_name": [URI + b"\n"]},
        {"ssl_tls_version": TLS, "x509_subject_alternative_name": [URI.upper()]},
        {"ssl_tls_version": TLS, "x509_subject_alternative_name": [b"\xff"]},
        {"ssl_tls_version": TLS, "x509_common_name": [str(KIOSK).encode()]},
        {"ssl_tls_version": [b"TLSv1.2"], "x509_subject_alternative_name": [URI]},
    ],
)
def test_who_is_no_kiosk(context: Mapping[str, list[bytes]]) -> None:
    with pytest.raises(errors.NotIdentified):
        kiosk_of(context)


def test_who_is_a_kiosk() -> None:
    assert kiosk_of({"ssl_tls_version": TLS, "x509_subject_alternative_name": [URI]}) == KIOSK


def test_every_value_has_a_name_on_the_wire() -> None:
    assert len({wire.refusal(one) for one in (None, *Refusal)}) == len(Refusal) + 1
    assert len({wire.state(one) for one in (None, *State)}) == len(State)
    assert wire.state(State.REPLACED) == wire.state(State.RESERVED)
    assert len({wire.verdict(one) for one in Verdict}) == len(Verdict)
    assert {
        wire.outcome(one) for one in (pb.WRITE_OUTCOME_DONE, pb.WRITE_OUTCOME_NOT_DONE, pb.WRITE_OUTCOME_UNKNOWN)
    } == set(Outcome)
    assert {wire.face_match(one) for one in (phone_pb.FACE_MATCH_PERFORMED, phone_pb.FACE_MATCH_NOT_PERFORMED)} == set(
        FaceMatch
    )
    for broken in (
        lambda: wire.outcome(pb.WRITE_OUTCOME_UNSPECIFIED),
        lambda: wire.face_match(phone_pb.FACE_MATCH_UNSPECIFIED),
        lambda: wire.status_word(0x10000),
    ):
        with pytest.raises(errors.BadContent):
            broken()
