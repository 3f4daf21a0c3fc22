"""What the status says of the centre, and when it is asked."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gatewayd.central.circuit import CircuitState
from gatewayd.errors import CentralUnavailable
from gatewayd.session.readiness import POLL_AGAIN_S, POLL_S, Problem, Readiness
from tests.fakes.kiosk import Kiosk


class Watched:
    """A readiness that is polled, and whatever wakes it."""

    def __init__(self, kiosk: Kiosk) -> None:
        self.kiosk = kiosk
        self.wake = asyncio.Event()
        self.readiness = Readiness(kiosk.manager, kiosk.manager._ports, self.wake)
        kiosk.spawn(self.readiness.poll())

    def asked(self) -> int:
        return sum(call[0] == "service_status" for call in self.kiosk.central.calls)

    async def until_asked(self, times: int) -> None:
        await self.kiosk.until(lambda: self.asked() >= times)


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
