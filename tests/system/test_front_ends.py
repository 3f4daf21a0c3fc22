"""Front-ends that freeze, die, or come by the hundred."""

from __future__ import annotations

import asyncio
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE, OUTCOME_NOT_DONE

from tests.rig import metrics
from tests.rig.citizen import Citizen
from tests.rig.crowd import begin_at_once
from tests.rig.front_end import FINISHED, REMOVE_CARD, Attempt, FrontEnd
from tests.rig.process import ROOT, Process

CROWD = 100
NOTICE_FROZEN_S = 5.0
NOTICE_KILLED_S = 1.0
BUSY_S = 0.05
BUSY = (1, OUTCOME_NOT_DONE, reasons.REASON_BUSY)  # the one view of who is refused
MOST_ROUNDS = 20  # a crowd takes the daemon 50 ms of a core; what else runs on the machine has its share in some rounds


@pytest.fixture
def lone(citizen: Citizen, tmp_path: Path) -> Iterator[Process]:
    """A front-end in the middle of an attempt, in a process of its own."""
    command: list[str | Path] = [sys.executable, "-m", "tests.rig.lone_front_end", citizen.stack.gatewayd.socket]
    with Process("front-end", command, log=tmp_path / "front-end.log", env={"PYTHONPATH": str(ROOT)}) as program:
        yield program
        program.kill()


@pytest.mark.parametrize(
    ("number", "limit_s"),
    [(signal.SIGSTOP, NOTICE_FROZEN_S), (signal.SIGKILL, NOTICE_KILLED_S)],
    ids=lambda value: str(value),
)
async def test_it_is_noticed(citizen: Citizen, lone: Process, number: signal.Signals, limit_s: float) -> None:
    attempt_id = (await asyncio.to_thread(lone.wait_for_event, "begun"))["attempt_id"]
    assert (await citizen.front.status()).running_attempt_id == attempt_id
    lone.signal(number)
    begun = time.monotonic()
    await citizen.front.until_status(lambda status: not status.running_attempt_id, limit_s)
    print(f"{number.name}: noticed after {time.monotonic() - begun:.2f} s")
    record = await citizen.front.attempt_record(attempt_id)
    assert (record.outcome, record.reason) == (OUTCOME_NOT_DONE, reasons.REASON_CLIENT_GONE)


async def refused(front: FrontEnd) -> tuple[Attempt, float]:
    """Begin an attempt and time its one view."""
    begun = time.monotonic()
    attempt = await front.attempt()
    view = await attempt.until(FINISHED)
    assert (view.number, view.outcome, view.reason) == BUSY
    return attempt, time.monotonic() - begun


async def test_a_hundred_at_once_have_one_lease(citizen: Citizen, new_password: str) -> None:
    stack = citizen.stack
    citizen.reserve()
    running = await citizen.to_password()
    before = metrics.scrape(stack.gatewayd.metrics_url)
    fronts = [FrontEnd(stack.gatewayd.socket) for _ in range(CROWD - 1)]
    try:
        await asyncio.gather(*(front.status() for front in fronts))  # connected, as front-ends are
        one_by_one = sorted([(await refused(front))[1] for front in fronts])
    finally:
        await asyncio.gather(*(front.close() for front in fronts))
    rounds: list[list[float]] = []
    while len(rounds) < MOST_ROUNDS and not (rounds and rounds[-1][-1] < BUSY_S):
        answers = await asyncio.to_thread(begin_at_once, stack.gatewayd.socket, CROWD - 1)
        assert {(view.number, view.outcome, view.reason) for view, _ in answers} == {BUSY}
        rounds.append(sorted(seconds for _, seconds in answers))
    after = metrics.scrape(stack.gatewayd.metrics_url)
    for name, seconds in (("one by one", one_by_one), (f"all at once, round {len(rounds)}", rounds[-1])):
        print(f"BUSY, {name}: median {statistics.median(seconds) * 1000:.1f} ms, last {seconds[-1] * 1000:.1f} ms")
    told = [metrics.value(families, "gatewayd_lease_refused_total", reason="busy") for families in (before, after)]
    assert told[1] - told[0] == (1 + len(rounds)) * (CROWD - 1)
    assert statistics.median(one_by_one) < BUSY_S
    assert rounds[-1][-1] < BUSY_S, "the last of all"

    await running.new_password(new_password)
    assert (await running.until(REMOVE_CARD)).outcome == OUTCOME_DONE, "undisturbed"
    await citizen.leave(running)


async def test_of_a_hundred_that_begin_at_once_one_is_admitted(citizen: Citizen) -> None:
    fronts = [FrontEnd(citizen.stack.gatewayd.socket) for _ in range(CROWD)]
    try:
        await asyncio.gather(*(front.status() for front in fronts))
        attempts = await asyncio.gather(*(front.attempt() for front in fronts))
        views = await asyncio.gather(*(attempt.until_view(lambda _: True) for attempt in attempts))
        admitted = [attempt for attempt, view in zip(attempts, views, strict=True) if view.state != FINISHED]
        assert len(admitted) == 1
        assert all(view.reason == reasons.REASON_BUSY for view in views if view.state == FINISHED)
    finally:
        await asyncio.gather(*(front.close() for front in fronts))
