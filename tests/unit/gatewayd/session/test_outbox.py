from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gatewayd.central.port import Acknowledged, Report, ReservationState, Verdict, WriteOutcome
from gatewayd.clock import SystemClock
from gatewayd.errors import CentralRejected, CentralUnavailable, JournalUnavailable
from gatewayd.journal.port import OutboxItem
from gatewayd.journal.store import Journal
from gatewayd.session.outbox import CAP_S, FLOOR_S, Outbox
from tests.fakes.clock import FakeClock

FIRST = "0a6fd1b2-3d1c-4b0e-9a53-1f3c7c9f3b11"
SECOND = "5d0f5b9e-60f5-4c4c-8d5c-1b6b5f0f7d22"
THIRD = "9c1c3f6e-8d0e-4f6d-a5a5-3c0f1b2d4e33"
USED = Acknowledged(Verdict.VALID, ReservationState.USED)
DISBELIEVED = Acknowledged(Verdict.INVALID, ReservationState.IN_DOUBT)


class WatchedClock(FakeClock):
    """Tells who sleeps, and for how long."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await super().sleep(seconds)

    @property
    def sleeping(self) -> int:
        return sum(not future.done() for _, _, future, _ in self._sleepers)


@dataclass
class Centre:
    """Takes reports and releases, or fails as told for an attempt."""

    failures: dict[str, Exception] = field(default_factory=dict)
    judgement: Acknowledged = USED  # of every report
    heard: list[tuple[str, str, int, str]] = field(default_factory=list)
    running: int = 0
    gate: Callable[[], Awaitable[object]] | None = None

    async def report_outcome(self, report: Report) -> Acknowledged:
        await self._hear(report.attempt_id, "report", report.n, report.outcome.value)
        assert (report.receipt is not None) == (report.outcome is WriteOutcome.DONE)
        return self.judgement

    async def release_attempt(self, attempt_id: str) -> ReservationState:
        await self._hear(attempt_id, "release", 0, "")
        return ReservationState.RESERVED

    async def _hear(self, attempt_id: str, kind: str, n: int, outcome: str) -> None:
        self.heard.append((attempt_id, kind, n, outcome))
        assert not self.running
        self.running += 1
        try:
            if self.gate is not None:
                await self.gate()
        finally:
            self.running -= 1
        if attempt_id in self.failures:
            raise self.failures[attempt_id]


@dataclass
class Rig:
    journal: Journal
    centre: Centre
    clock: WatchedClock
    outbox: Outbox
    refused: list[bool]

    async def left(self) -> list[OutboxItem]:
        return [item for item in await self.journal.pending() if not item.rejected]

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(5):
            while not await condition():
                await asyncio.sleep(0.001)

    async def until_empty(self) -> None:
        async def empty() -> bool:
            return not await self.left()

        await self.until(empty)

    async def until_resting(self) -> None:
        async def resting() -> bool:
            return self.clock.sleeping == 1

        await self.until(resting)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    journal = await Journal.open(tmp_path / "journal.db", SystemClock())
    centre, clock = Centre(), WatchedClock()
    refused: list[bool] = []
    outbox = Outbox(
        journal,
        centre,  # type: ignore[arg-type]  # the outbox uses two calls of the port
        clock,
        lambda: refused.append(True),
    )
    yield Rig(journal, centre, clock, outbox, refused)
    await journal.close()


@pytest.fixture
async def running(rig: Rig) -> AsyncIterator[Rig]:
    task = asyncio.create_task(rig.outbox.run())
    yield rig
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def written(rig: Rig, attempt_id: str, outcome: str = "done") -> OutboxItem:
    await rig.journal.accept(attempt_id, "signing_password")
    await rig.journal.begun(attempt_id)
    await rig.journal.authorizing(attempt_id, 1)
    await rig.journal.intend(attempt_id, 1)
    return await result(rig, attempt_id, outcome)


async def result(rig: Rig, attempt_id: str, outcome: str) -> OutboxItem:
    if outcome == "done":
        return await rig.journal.result(attempt_id, 1, outcome, chaining_value=b"c" * 16, r_mac=b"r" * 8)
    return await rig.journal.result(attempt_id, 1, outcome)


async def test_a_report_is_delivered_at_once(rig: Rig) -> None:
    item = await written(rig, FIRST)
    assert await rig.outbox.deliver(item) == USED
    assert await rig.journal.pending() == [item]
    await rig.outbox.finish(FIRST, "done", None)
    await rig.outbox.flush()
    assert await rig.journal.pending() == []
    assert [entry.event for entry in await rig.journal.timeline(FIRST)][-2:] == ["finished", "acknowledged"]
    assert len(rig.centre.heard) == 1
    assert rig.refused == []


async def test_what_was_queued_before_goes_first(rig: Rig) -> None:
    await written(rig, FIRST, "unknown")
    await written(rig, SECOND, "unknown")
    item = await result(rig, FIRST, "done")
    assert await rig.outbox.deliver(item) == USED
    assert [heard[3] for heard in rig.centre.heard] == ["unknown", "done"]
    await rig.outbox.finish(FIRST, "done", None)
    rig.centre.failures[SECOND] = CentralUnavailable("deadline")
    await rig.outbox.flush()
    assert [left.attempt_id for left in await rig.left()] == [SECOND]


async def test_an_absent_centre_gives_no_answer_and_the_loop_delivers_later(running: Rig) -> None:
    rig = running
    rig.centre.failures[FIRST] = CentralUnavailable("deadline")
    item = await written(rig, FIRST)
    assert await rig.outbox.deliver(item) is None
    await rig.until_resting()
    rig.centre.failures.clear()
    await rig.clock.advance(CAP_S)
    await rig.until_empty()
    assert rig.refused == []


async def test_pauses_grow_and_are_bounded(running: Rig) -> None:
    rig = running
    rig.centre.failures[FIRST] = CentralUnavailable("unavailable")
    await written(rig, FIRST)
    rig.outbox.poke()
    for _ in range(12):
        await rig.until_resting()
        await rig.clock.advance(CAP_S)
    assert all(FLOOR_S <= seconds <= CAP_S for seconds in rig.clock.slept)
    assert rig.clock.slept[0] <= 1
    assert max(rig.clock.slept) > 4


async def test_what_keeps_a_report_here_is_said_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await written(rig, FIRST)
    for word in ("unavailable", "unavailable", "malformed", "malformed"):
        rig.centre.failures[FIRST] = CentralUnavailable(word)
        await rig.outbox.flush()
    rig.centre.failures[FIRST] = CentralRejected("failed_precondition")
    await rig.outbox.flush()
    said = [record.message for record in caplog.records if record.name == "gatewayd.session.outbox"]
    assert said == ["not delivered", "not delivered", "rejected by the centre", "the centre refuses the card's receipt"]


async def test_a_poke_ends_the_pause(running: Rig) -> None:
    rig = running
    rig.centre.failures[FIRST] = CentralUnavailable("unavailable")
    await written(rig, FIRST)
    rig.outbox.poke()
    await rig.until_resting()
    rig.centre.failures.clear()
    rig.outbox.poke()
    await rig.until_empty()


async def test_an_absent_centre_is_asked_twice_a_round(running: Rig) -> None:
    rig = running
    rig.centre.failures = dict.fromkeys((FIRST, SECOND, THIRD), CentralUnavailable("deadline"))
    for attempt_id in (FIRST, SECOND, THIRD):
        await written(rig, attempt_id)
    rig.outbox.poke()
    await rig.until_resting()
    assert {attempt_id for attempt_id, *_ in rig.centre.heard} == {FIRST, SECOND}


@pytest.mark.parametrize("failure", ["internal", "deadline"])
async def test_one_attempt_s_failure_does_not_hold_up_the_others(running: Rig, failure: str) -> None:
    rig = running
    rig.centre.failures[FIRST] = CentralUnavailable(failure)
    await written(rig, FIRST)
    await written(rig, SECOND)
    rig.outbox.poke()
    await rig.until_resting()
    assert [item.attempt_id for item in await rig.left()] == [FIRST]


async def test_a_rejected_report_is_kept_told_and_not_repeated(running: Rig) -> None:
    rig = running
    rig.centre.failures[FIRST] = CentralRejected("failed_precondition")
    item = await written(rig, FIRST)
    answer = await rig.outbox.deliver(item)
    assert answer is not None
    assert answer.verdict is Verdict.INVALID
    (kept,) = await rig.journal.pending()
    assert kept.rejected == "failed_precondition"
    assert rig.refused == [True]
    await written(rig, SECOND)
    rig.outbox.poke()
    await rig.until_empty()
    assert [attempt_id for attempt_id, *_ in rig.centre.heard] == [FIRST, SECOND]


@pytest.mark.parametrize("failure", [None, CentralRejected("failed_precondition")])
async def test_a_refused_receipt_is_one_alarm_however_often_it_is_sent(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> None:
    async def broken(*_: object) -> None:
        raise JournalUnavailable("full")

    item = await written(rig, FIRST)
    rig.centre.judgement = DISBELIEVED
    rig.centre.failures = {FIRST: failure} if failure else {}
    with monkeypatch.context() as patch:
        patch.setattr(rig.journal, "acknowledged", broken)
        patch.setattr(rig.journal, "rejected", broken)
        for _ in range(3):
            await rig.outbox.flush()
    await rig.outbox.flush()
    assert await rig.left() == []
    assert await rig.outbox.deliver(item) is not None  # the loop was faster
    assert len(rig.centre.heard) == 5
    assert rig.refused == [True]


@pytest.mark.parametrize("together", [True, False])
async def test_no_release_follows_a_rejected_report(running: Rig, together: bool) -> None:
    rig = running
    rig.centre.failures[FIRST] = CentralRejected("invalid_argument")
    item = await written(rig, FIRST, "unknown")
    if not together:
        await rig.outbox.deliver(item)
    await rig.journal.authorizing(FIRST, 2)
    await rig.journal.finish(FIRST, "unknown", "internal")
    rig.outbox.poke()
    await rig.until_empty()
    assert [kind for _, kind, *_ in rig.centre.heard] == ["report"]
    assert [item.rejected for item in await rig.journal.pending()] == ["invalid_argument", "withheld"]


async def test_a_release_follows_its_reports(running: Rig) -> None:
    rig = running
    await written(rig, FIRST, "not_done")
    await rig.journal.finish(FIRST, "not_done", "cancelled")
    rig.outbox.poke()
    await rig.until_empty()
    assert [kind for _, kind, *_ in rig.centre.heard] == ["report", "release"]


async def test_what_a_restart_finds_is_delivered_without_a_poke(rig: Rig) -> None:
    await written(rig, FIRST)
    task = asyncio.create_task(rig.outbox.run())
    await rig.until_empty()
    task.cancel()


async def test_the_loop_and_an_immediate_delivery_do_not_overlap(running: Rig) -> None:
    rig = running
    opened = asyncio.Event()
    rig.centre.gate = opened.wait
    item = await written(rig, FIRST)
    rig.outbox.poke()

    async def sending() -> bool:
        return rig.centre.running == 1

    await rig.until(sending)
    delivery = asyncio.create_task(rig.outbox.deliver(item))
    other = await written(rig, SECOND)
    await asyncio.sleep(0)
    assert len(rig.centre.heard) == 1
    opened.set()
    assert await delivery == USED
    assert await rig.outbox.deliver(other) == USED
    rig.outbox.poke()
    await rig.until_empty()


async def test_a_journal_that_cannot_forget_does_not_hide_the_verdict(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise JournalUnavailable("full")

    item = await written(rig, FIRST)
    with monkeypatch.context() as patch:
        patch.setattr(rig.journal, "acknowledged", broken)
        assert await rig.outbox.deliver(item) == USED
        patch.setattr(rig.journal, "pending", broken)
        assert await rig.outbox.deliver(item) == USED
    assert await rig.left() == [item]
    rig.centre.failures[FIRST] = CentralRejected("invalid_argument")
    with monkeypatch.context() as patch:
        patch.setattr(rig.journal, "rejected", broken)
        assert await rig.outbox.deliver(item) is not None
    assert await rig.left() == [item]


async def test_an_outcome_that_the_journal_cannot_take_is_entered_when_it_can(
    running: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise JournalUnavailable("full")

    rig = running
    await rig.journal.accept(FIRST, "signing_password")
    await rig.journal.begun(FIRST)
    with monkeypatch.context() as patch:
        patch.setattr(rig.journal, "finish", broken)
        await rig.outbox.finish(FIRST, "not_done", "cancelled")
        await rig.until_resting()
    await rig.clock.advance(CAP_S)

    async def released() -> bool:
        return [kind for _, kind, *_ in rig.centre.heard] == ["release"]

    await rig.until(released)
    record = await rig.journal.attempt(FIRST)
    assert record is not None
    assert (record.outcome, record.reason) == ("not_done", "cancelled")


async def test_an_outcome_kept_too_long_says_no_more_than_the_journal(running: Rig) -> None:
    rig = running
    await written(rig, FIRST, "unknown")
    rig.outbox.finish_later(FIRST, "not_done", "journal_unavailable")
    rig.outbox.finish_later(SECOND, "not_done", "journal_unavailable")  # which the journal never took

    async def ended() -> bool:
        record = await rig.journal.attempt(FIRST)
        return record is not None and record.outcome == "unknown"

    await rig.until(ended)
    await rig.until_empty()
    assert rig.outbox._endings == {}
    assert await rig.journal.attempt(SECOND) is None


async def test_two_rounds_at_once_enter_an_outcome_once(rig: Rig) -> None:
    await rig.journal.accept(FIRST, "signing_password")
    rig.outbox.finish_later(FIRST, "not_done", "cancelled")
    await asyncio.gather(rig.outbox.flush(), rig.outbox.flush())  # the loop's, and the last one before a stop
    assert not rig.outbox.is_to_end(FIRST)
    assert [entry.event for entry in await rig.journal.timeline(FIRST)] == ["accepted", "finished"]


async def test_an_outcome_that_the_journal_contradicts_is_refused(rig: Rig) -> None:
    await written(rig, FIRST, "unknown")
    with pytest.raises(ValueError, match="contradicts"):
        await rig.outbox.finish(FIRST, "not_done", "cancelled")


async def test_the_loop_outlives_a_journal_that_fails(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise JournalUnavailable("full")

    await written(rig, FIRST)
    with monkeypatch.context() as patch:
        patch.setattr(rig.journal, "pending", broken)
        task = asyncio.create_task(rig.outbox.run())
        await rig.until_resting()
    await rig.clock.advance(CAP_S)
    await rig.until_empty()
    task.cancel()
