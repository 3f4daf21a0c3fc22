"""What holds for every call: statuses, identity, and work that is finished."""

from __future__ import annotations

import asyncio
import datetime
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from jpkireset.central.v1 import kiosk_service_pb2 as pb
from jpkireset.central.v1 import reservation_service_pb2 as phone_pb

from centrald import errors
from centrald.kioskname import uri_of
from centrald.rpc import wire
from centrald.rpc.guarded import guarded
from centrald.rpc.identity import kiosk_of
from centrald.rpc.refusal import _REASONS, ErrorReason
from centrald.rpc.running import Running
from centrald.rules.model import FaceMatch, Outcome, Refusal, State, Verdict
from tests.unit.centrald.world import KIOSK

LOCKED = errors.StorageFailed("INSERT secret: locked")
DOCUMENT = Path(__file__).parents[3] / "docs/CENTRAL.md"
METHOD = "/jpkireset.central.v1.KioskService/GetServiceStatus"


class Context:
    """A call's context, as far as the guard needs it."""

    def __init__(self, remaining: float | None = 1.0) -> None:
        self.remaining = remaining
        self.status: tuple[grpc.StatusCode, str] | None = None
        self.details: list[AnyMessage] = []

    def time_remaining(self) -> float | None:
        return self.remaining

    async def read(self) -> bytes:
        return b"request"

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        self.status = (status.code, status.details)
        ((_, details),) = status.trailing_metadata
        self.details = [*Status.FromString(cast("bytes", details)).details]
        raise grpc.aio.AbortError

    @property
    def reason(self) -> str:
        info = ErrorInfo()
        assert self.details[0].Unpack(info)
        assert info.domain == "centrald"
        return str(info.reason)

    @property
    def retry_seconds(self) -> float | None:
        retry = RetryInfo()
        return retry.retry_delay.ToTimedelta().total_seconds() if self.details[-1].Unpack(retry) else None


async def call(error: BaseException | None, context: Context) -> Any:
    """Let the guard run one handler that raises, or returns its request."""

    async def handler(request: str, _context: object) -> str:
        if error is not None:
            raise error
        return request

    return await guarded(METHOD, handler, None, None)(None, cast("Any", context))


SECOND = datetime.timedelta(seconds=1)


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (errors.BadContent("a field"), ErrorReason.REQUEST_INVALID, "a field"),
        (errors.ContentChanged("other"), ErrorReason.CONTENT_CHANGED, "other"),
        (errors.OutOfOrder("order"), ErrorReason.OUT_OF_ORDER, "order"),
        (errors.NotYours("other"), ErrorReason.ATTEMPT_OF_ANOTHER_KIOSK, "other"),
        (errors.NotIdentified("who"), ErrorReason.KIOSK_NOT_IDENTIFIED, "who"),
        (errors.NeverBegun("none"), ErrorReason.ATTEMPT_NOT_FOUND, "none"),
        (errors.TooMany("many"), ErrorReason.TOO_MANY_REQUESTS, "many"),
        (errors.KeysUnavailable("keys"), ErrorReason.KEYS_UNAVAILABLE, "keys"),
        (asyncio.CancelledError(), ErrorReason.INTERNAL_CANCELLATION, "cancelled inside the service"),
        (LOCKED, ErrorReason.STORAGE_UNAVAILABLE, "storage unavailable"),
        (RuntimeError("secret"), ErrorReason.INTERNAL_ERROR, "internal error"),
    ],
)
async def test_every_exception_has_its_status(error: BaseException, reason: ErrorReason, text: str) -> None:
    context = Context()
    with pytest.raises(grpc.aio.AbortError):
        await call(error, context)
    assert (context.status, context.reason) == ((reason.code, text), reason.name)
    assert context.retry_seconds is None


async def test_who_asks_too_often_is_told_how_long_to_wait() -> None:
    context = Context()
    with pytest.raises(grpc.aio.AbortError):
        await call(errors.TooMany("many", 7 * SECOND), context)
    assert (context.reason, context.retry_seconds) == ("TOO_MANY_REQUESTS", 7)


def test_every_call_error_has_its_own_reason() -> None:
    def below(kind: type[errors.CallError]) -> set[type[errors.CallError]]:
        return {one for child in kind.__subclasses__() for one in {child} | below(child)}

    assert set(_REASONS) == below(errors.CallError)
    assert len(set(_REASONS.values())) == len(_REASONS)


def test_every_reason_is_documented() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| `([A-Z_]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(reason.name, reason.code.name) for reason in ErrorReason]


async def test_a_call_with_a_deadline_passes_and_one_without_does_not() -> None:
    assert await call(None, Context()) == b"request"
    context = Context(remaining=None)
    with pytest.raises(grpc.aio.AbortError):
        await call(None, context)
    assert context.status == (grpc.StatusCode.INVALID_ARGUMENT, "a call needs a deadline")
    assert context.reason == "DEADLINE_REQUIRED"


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
