"""The script of the fake centre; what it shares with the real one is in tests/contract."""

from __future__ import annotations

import asyncio

import pytest

from centrald.rules.model import CertificateId, State
from gatewayd.central.port import Begun, Refusal, Refused, ReservationState
from gatewayd.errors import CentralUnavailable
from tests.fakes.central import FakeCentral
from tests.fakes.clock import FakeClock

ATTEMPT = "0a6fd1b2-3d1c-4b0e-9a53-1f3c7c9f3b11"
CERTIFICATE = CertificateId("aa", "1")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def fake(clock: FakeClock) -> FakeCentral:
    return FakeCentral(clock)


async def test_a_refusal_is_given_instead_of_doing_anything(fake: FakeCentral) -> None:
    fake.refusals = {"service_status": Refusal.OUT_OF_HOURS, "begin_attempt": Refusal.MAINTENANCE}
    status = await fake.service_status()
    assert status.refusal is Refusal.OUT_OF_HOURS
    assert status.opens_at is not None
    assert await fake.begin_attempt(ATTEMPT) == Refused(Refusal.MAINTENANCE)
    assert not fake.attempts
    assert fake.calls == [("service_status",), ("begin_attempt", ATTEMPT)]


async def test_a_failure_comes_before_and_a_lost_answer_after_the_effect(fake: FakeCentral) -> None:
    fake.failures = {"begin_attempt": CentralUnavailable("unavailable")}
    with pytest.raises(CentralUnavailable):
        await fake.begin_attempt(ATTEMPT)
    assert not fake.attempts
    fake.failures.clear()
    fake.lost = {"begin_attempt": CentralUnavailable("deadline")}
    with pytest.raises(CentralUnavailable):
        await fake.begin_attempt(ATTEMPT)
    assert set(fake.attempts) == {ATTEMPT}
    fake.lost.clear()
    assert isinstance(await fake.begin_attempt(ATTEMPT), Begun)


async def test_a_delay_is_on_the_clock(fake: FakeCentral, clock: FakeClock) -> None:
    fake.delays = {"release_attempt": 3.0}
    call = asyncio.create_task(fake.release_attempt(ATTEMPT))
    await asyncio.sleep(0)
    assert not call.done()
    await clock.advance(3.0)
    assert await call is ReservationState.NONE


async def test_a_reservation_may_be_in_doubt_from_the_start(fake: FakeCentral) -> None:
    assert fake.state(fake.reserve(CERTIFICATE)) is State.RESERVED
    doubtful = fake.reserve(CERTIFICATE, in_doubt=True)
    assert fake.state(doubtful) is State.IN_DOUBT
    fake.reserve(CERTIFICATE)
    assert fake.state(doubtful) is State.CLOSED_UNKNOWN


async def test_closing_is_seen(fake: FakeCentral) -> None:
    await fake.close()
    assert fake.closed
