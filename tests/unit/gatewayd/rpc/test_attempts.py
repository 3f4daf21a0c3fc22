"""What callers learn of attempts: during a run, after it, and from the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1 import operator_service_pb2 as operator
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1 import reset_service_pb2 as reset

from gatewayd.dialogue.vocabulary import State
from gatewayd.errors import JournalUnavailable
from gatewayd.rpc.reset_service import listen
from gatewayd.session.view import View
from tests.fakes.kiosk import Citizen, Kiosk
from tests.unit.gatewayd.rpc.served import Daemon, error_info

ATTEMPT = "0a6fd1b2-3d1c-4b0e-9a53-1f3c7c9f3b11"
TIMEOUT_S = 5.0
FLOOD = 10_000  # inputs
VIEWS = 20
MOST_WAITING = 2  # inputs and views


async def asked(daemon: Daemon, attempt_id: str = ATTEMPT) -> gateway.Attempt:
    request = gateway.GetAttemptRequest(attempt_id=attempt_id)
    return (await daemon.gateway.GetAttempt(request, timeout=TIMEOUT_S)).attempt


async def listed(daemon: Daemon, **request: object) -> operator.ListAttemptsResponse:
    return await daemon.operator.ListAttempts(
        operator.ListAttemptsRequest(**request),  # type: ignore[arg-type]
        timeout=TIMEOUT_S,
    )


async def test_an_attempt_is_told_while_it_runs_and_after(daemon: Daemon) -> None:
    kiosk = daemon.kiosk
    seen: dict[int, gateway.Attempt] = {}

    class Asking(Citizen):
        async def watch(self) -> None:
            while kiosk.manager.session:
                attempt = await asked(daemon)
                seen[attempt.state] = attempt

    session = await kiosk.open(ATTEMPT)
    await kiosk.until(lambda: session.view.shown.state is State.WAITING_FOR_CARD)
    assert (await asked(daemon)).state == reset.STATE_WAITING_FOR_CARD
    citizen = Asking(kiosk, kiosk.card())
    watching = asyncio.create_task(citizen.watch())
    await citizen.do(session)
    await watching
    for state, attempt in seen.items():
        if state < reset.STATE_REMOVE_CARD:
            assert (attempt.outcome, attempt.HasField("ended_at")) == (reset.OUTCOME_UNSPECIFIED, False), state
    attempt = await asked(daemon)
    assert (attempt.state, attempt.outcome, attempt.reason) == (reset.STATE_FINISHED, reset.OUTCOME_DONE, 0)
    assert attempt.started_at.ToDatetime() <= attempt.ended_at.ToDatetime()
    (only,) = (await listed(daemon)).attempts
    assert only == attempt


@pytest.mark.parametrize("moment", ["before it is accepted", "while it is being accepted", "before its first view"])
async def test_a_stream_lost_before_its_first_view(daemon: Daemon, moment: str) -> None:
    kiosk = daemon.kiosk
    accept, entered, goes_on = kiosk.journal.accept, asyncio.Event(), asyncio.Event()

    async def slow(attempt_id: str, procedure: str) -> bool:
        entered.set()
        await goes_on.wait()
        return await accept(attempt_id, procedure)

    kiosk.journal.accept = slow  # type: ignore[method-assign]
    call = daemon.resets.ResetPassword()
    start = reset.Start(attempt_id=ATTEMPT, procedure=reset.PROCEDURE_SIGNING_PASSWORD, terms_accepted=True)
    if moment == "before it is accepted":
        call.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asked(daemon)
        assert error_info(caught.value).reason == "ATTEMPT_NOT_FOUND"
        return
    await call.write(reset.ResetPasswordRequest(start=start))
    await asyncio.wait_for(entered.wait(), TIMEOUT_S)
    if moment == "before its first view":
        goes_on.set()
        await kiosk.until(lambda: kiosk.manager.session and kiosk.manager.session.view.shown.state)
    call.cancel()
    if moment == "while it is being accepted":
        with pytest.raises(grpc.aio.AioRpcError):
            await asked(daemon)  # and by then the daemon has heard of the cancel, too
        goes_on.set()
    await kiosk.until(lambda: kiosk.manager.session is None)
    attempt = await asked(daemon)
    assert (attempt.state, attempt.outcome, attempt.reason) == (
        reset.STATE_FINISHED,
        reset.OUTCOME_NOT_DONE,
        reasons.REASON_CLIENT_GONE,
    )


async def test_an_outcome_that_the_journal_could_not_take_is_not_made_up(daemon: Daemon) -> None:
    kiosk = daemon.kiosk
    session = await kiosk.open(ATTEMPT)
    await kiosk.until(lambda: session.view.shown.state is State.WAITING_FOR_CARD)

    async def full(*_: object, **__: object) -> None:
        raise JournalUnavailable("full")

    kiosk.journal.finish = full  # type: ignore[method-assign]
    session.submit_cancel(session.view.number)
    await kiosk.until(lambda: kiosk.manager.session is None)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked(daemon)
    assert error_info(caught.value).reason == "JOURNAL_UNAVAILABLE"


async def test_pages_of_attempts(daemon: Daemon) -> None:
    journal = daemon.kiosk.journal
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(53)]
    for attempt_id in ids:
        await journal.accept(attempt_id, "signing_password")
        await journal.finish(attempt_id, "unknown" if attempt_id == ids[7] else "not_done", "cancelled")
    first = await listed(daemon)
    assert [attempt.attempt_id for attempt in first.attempts] == ids[:2:-1]
    second = await listed(daemon, page_token=first.next_page_token)
    assert [attempt.attempt_id for attempt in second.attempts] == ids[2::-1]
    assert second.next_page_token == ""
    exact = await listed(daemon, page_size=53)
    assert (len(exact.attempts), exact.next_page_token) == (53, "")
    unresolved = await listed(daemon, unresolved_only=True)
    assert [attempt.attempt_id for attempt in unresolved.attempts] == [ids[7]]
    await journal.resolve(ids[7], "not_done")
    assert not (await listed(daemon, unresolved_only=True)).attempts


async def test_a_timeline(daemon: Daemon) -> None:
    kiosk = daemon.kiosk
    await Citizen(kiosk, kiosk.card()).do(await kiosk.open(ATTEMPT))
    await kiosk.settled()
    answer = await daemon.operator.GetTimeline(operator.GetTimelineRequest(attempt_id=ATTEMPT), timeout=TIMEOUT_S)
    assert answer.attempt == await asked(daemon)
    assert [(entry.event, entry.write_number, entry.detail) for entry in answer.entries] == [
        ("accepted", 0, "signing_password"),
        ("begun", 0, ""),
        ("authorizing", 1, ""),
        ("intended", 1, ""),
        ("result", 1, "done"),
        ("finished", 0, "done"),
        ("acknowledged", 1, "report done valid"),
    ]
    times = [entry.time.ToDatetime() for entry in answer.entries]
    assert times == sorted(times)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await daemon.operator.GetTimeline(operator.GetTimelineRequest(attempt_id="x"), timeout=TIMEOUT_S)
    assert error_info(caught.value).reason == "ATTEMPT_NOT_FOUND"


async def test_a_front_end_that_floods_its_stream_is_read_as_fast_as_it_reads(kiosk: Kiosk) -> None:
    """And never faster than its inputs are dealt with; so nothing piles up, each of them a secret or not."""
    session = await kiosk.open(ATTEMPT)
    sent = 0

    async def flood() -> AsyncIterator[reset.ResetPasswordRequest]:
        nonlocal sent
        while sent < FLOOD:
            sent += 1
            yield reset.ResetPasswordRequest(view_number=session.view.number, more_time=reset.MoreTime())
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    listening = asyncio.create_task(listen(session, flood()))
    await kiosk.until(lambda: session.view.shown.state is State.WAITING_FOR_CARD)
    assert sent == 1, "no view was sent yet"
    views = session.views()
    for read in range(1, VIEWS + 1):
        await anext(views)
        assert sent <= read
        assert session._views.qsize() + session._events.qsize() <= MOST_WAITING
    assert sent > 1

    goes_on, finish = asyncio.Event(), kiosk.journal.finish

    async def slow(attempt_id: str, outcome: str, reason: str | None) -> None:
        await goes_on.wait()
        await finish(attempt_id, outcome, reason)

    kiosk.journal.finish = slow  # type: ignore[method-assign]
    reading = asyncio.create_task(read_on(views))
    session.submit_cancel(session.view.number)
    await kiosk.until(lambda: session._dialogue.finished)
    before = sent
    await kiosk.until(lambda: session._views.empty())
    assert sent - before <= 1, "the ending is not in the journal yet"
    goes_on.set()
    await reading
    assert sent - before <= MOST_WAITING, "the attempt is over"
    listening.cancel()


async def read_on(views: AsyncIterator[View]) -> None:
    async for _ in views:
        pass
