"""What the status says of the centre, and when it is asked."""

from __future__ import annotations

import asyncio
import datetime
import logging

import pytest

from gatewayd.central.circuit import CircuitState
from gatewayd.central.port import ReservationState
from gatewayd.errors import CentralUnavailable
from gatewayd.session.manager import SIGNING_PASSWORD
from gatewayd.session.readiness import POLL_AGAIN_S, POLL_S, Problem, Readiness
from tests.fakes.kiosk import PATIENCE_S, Kiosk


class Watched:
    """A readiness that is polled, and whatever wakes it."""

    def __init__(self, kiosk: Kiosk) -> None:
        self.kiosk = kiosk
        self.wake = asyncio.Event()
        self.readiness = Readiness(kiosk.manager, kiosk.manager._ports, self.wake)
        kiosk.spawn(self.readiness.poll())
        kiosk.spawn(self.readiness.count(kiosk.moved))

    def asked(self) -> int:
        return sum(call[0] == "service_status" for call in self.kiosk.central.calls)

    async def until_asked(self, times: int) -> None:
        await self.kiosk.until(lambda: self.asked() >= times)

    async def until_counted(self, *, unresolved: int, pending: int) -> None:
        """Wait for these counts, while the clock stands."""
        async with asyncio.timeout(PATIENCE_S):
            while (self.readiness.status.unresolved, self.readiness.status.pending) != (unresolved, pending):
                await asyncio.sleep(0)


async def test_the_status_says_why_the_centre_cannot_be_used(kiosk: Kiosk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    central = kiosk.central
    central.failures["service_status"] = CentralUnavailable("dns")
    watched = Watched(kiosk)
    await kiosk.until(lambda: watched.readiness.status.central_detail)
    assert watched.readiness.status.central_detail == "dns"
    central.circuit = CircuitState.OPEN
    assert watched.readiness.status.central_detail == "dns, circuit open"
    assert Problem.CENTRAL_UNAVAILABLE in watched.readiness.status.problems
    central.circuit = CircuitState.CLOSED
    del central.failures["service_status"]
    await kiosk.until(lambda: not watched.readiness.status.problems)
    assert watched.readiness.status.central_detail == ""
    told = [record.problem for record in caplog.records if record.message == "central service"]  # type: ignore[attr-defined]
    assert told == ["dns", "none"]


async def test_news_of_the_centre_is_followed_up_at_once(kiosk: Kiosk) -> None:
    watched = Watched(kiosk)
    await watched.until_asked(1)
    await kiosk.clock.advance(POLL_S / 2)
    assert watched.asked() == 1
    watched.wake.set()
    await kiosk.clock.advance(0)
    await watched.until_asked(2)


async def test_an_absent_centre_is_asked_more_often(kiosk: Kiosk) -> None:
    kiosk.central.failures["service_status"] = CentralUnavailable("refused")
    watched = Watched(kiosk)
    await watched.until_asked(1)
    begun = kiosk.clock.monotonic()
    await watched.until_asked(4)
    assert kiosk.clock.monotonic() - begun <= 4 * POLL_AGAIN_S


async def test_what_the_journal_holds_open_is_counted_at_once(kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here waits for the next poll: the clock stands."""
    watched = Watched(kiosk)
    await watched.until_asked(1)
    kiosk.central.failures["report_outcome"] = CentralUnavailable("refused")
    await kiosk.journal.accept("attempt-1", SIGNING_PASSWORD)
    await kiosk.journal.begun("attempt-1")
    await kiosk.journal.authorizing("attempt-1", 1)
    await kiosk.journal.intend("attempt-1", 1)
    now = kiosk.clock.monotonic()
    await kiosk.journal.finish("attempt-1", "unknown", "outcome_unresolved")
    kiosk.outbox.poke()
    await watched.until_counted(unresolved=1, pending=1)

    async def used(_: str) -> ReservationState:
        return ReservationState.USED

    monkeypatch.setattr(kiosk.central, "get_attempt", used)
    await kiosk.resolution.ask()
    await watched.until_counted(unresolved=0, pending=1)
    assert (kiosk.clock.monotonic(), watched.asked()) == (now, 1)


async def test_a_clock_that_was_set_back_makes_no_message_younger_than_new(kiosk: Kiosk) -> None:
    kiosk.central.failures["release_attempt"] = CentralUnavailable("unavailable")
    await kiosk.journal.accept("attempt-1", "signing_password")
    await kiosk.journal.begun("attempt-1")
    await kiosk.journal.finish("attempt-1", "not_done", "cancelled")
    kiosk.clock._start -= datetime.timedelta(days=1)
    await kiosk.readiness._ask()
    sample = kiosk.metrics.registry.get_sample_value
    assert (sample("gatewayd_outbox_pending"), sample("gatewayd_outbox_oldest_seconds")) == (1, 0)
