"""What the centre refuses, the kiosk says by its name, and nothing is written on the card."""

from __future__ import annotations

import datetime

import pytest
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_NOT_DONE

from tests.rig.circumstances import age_reservation, closed_hours, in_database, kiosk_disabled
from tests.rig.citizen import Citizen
from tests.rig.front_end import ADMITTING, FINISHED, REMOVE_CARD, WAITING_FOR_CARD

WRITES = {"INITIALIZE UPDATE", "EXTERNAL AUTHENTICATE", "RESET RETRY COUNTER"}


async def refused_after_pin(citizen: Citizen) -> reasons.Reason.ValueType:
    """Enter the right PIN and return the reason of the refusal that follows."""
    attempt = await citizen.to_pin()
    await attempt.user_pin(citizen.user_pin)
    view = await attempt.until(REMOVE_CARD)
    assert view.outcome == OUTCOME_NOT_DONE
    assert not WRITES.intersection(citizen.commands())
    assert citizen.tries_left() == 3
    await citizen.leave(attempt)
    record = await citizen.front.attempt_record(attempt.id)
    assert (record.state, record.outcome, record.reason) == (FINISHED, OUTCOME_NOT_DONE, view.reason)
    return view.reason


@pytest.mark.reason("RESERVATION_NOT_FOUND")
async def test_no_reservation(citizen: Citizen) -> None:
    citizen.card = "forgotten"
    assert await refused_after_pin(citizen) == reasons.REASON_RESERVATION_NOT_FOUND


@pytest.mark.reason("RESERVATION_EXPIRED")
async def test_reservation_is_too_old(citizen: Citizen) -> None:
    citizen.reserve()
    age_reservation(citizen.stack)
    assert await refused_after_pin(citizen) == reasons.REASON_RESERVATION_EXPIRED


@pytest.mark.reason("CERTIFICATE_REVOKED")
@pytest.mark.parametrize("column", ["user_revoked", "signing_revoked"])
async def test_certificate_is_revoked(citizen: Citizen, column: str) -> None:
    citizen.reserve()
    assert in_database(citizen.stack, f"UPDATE card SET {column} = 1")
    try:
        assert await refused_after_pin(citizen) == reasons.REASON_CERTIFICATE_REVOKED
    finally:
        in_database(citizen.stack, f"UPDATE card SET {column} = 0")


@pytest.mark.reason("KIOSK_NOT_ENABLED")
async def test_kiosk_is_not_enabled(citizen: Citizen) -> None:
    """It works at once: in the middle of an attempt, and before the next."""
    citizen.reserve()
    attempt = await citizen.to_pin()
    with kiosk_disabled(citizen.stack):
        await attempt.user_pin(citizen.user_pin)
        view = await attempt.until(REMOVE_CARD)
        assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, reasons.REASON_KIOSK_NOT_ENABLED)
        assert citizen.verifications() == 0, "without the centre's yes no PIN is verified"
        await citizen.leave(attempt)
        assert await refused_at_start(citizen) == reasons.REASON_KIOSK_NOT_ENABLED


async def refused_at_start(citizen: Citizen) -> reasons.Reason.ValueType:
    """Begin an attempt that is refused before a card is asked for, and return the reason."""
    attempt = await citizen.front.attempt()
    view = await attempt.until(FINISHED)
    assert view.outcome == OUTCOME_NOT_DONE
    await attempt.end()
    return view.reason


@pytest.mark.reason("OUT_OF_HOURS")
async def test_service_is_closed_at_this_hour(citizen: Citizen) -> None:
    citizen.reserve()
    with closed_hours(citizen.stack):
        assert await refused_at_start(citizen) == reasons.REASON_OUT_OF_HOURS

        citizen.stack.gatewayd.restart()  # it then asks at once, instead of within half a minute
        closed = [gateway.READINESS_PROBLEM_OUT_OF_HOURS]
        status = await citizen.front.until_status(lambda status: list(status.problems) == closed)
        assert status.opens_at.seconds > datetime.datetime.now(datetime.UTC).timestamp()
        assert not status.HasField("closes_at")
    citizen.stack.gatewayd.restart()
    await citizen.front.ready()


async def test_centre_that_comes_back_in_time_is_no_refusal(citizen: Citizen) -> None:
    citizen.stack.centrald.stop()
    attempt = await citizen.front.attempt()
    await attempt.until_view(lambda view: view.state == ADMITTING)
    citizen.stack.centrald.start()
    await attempt.until(WAITING_FOR_CARD)
