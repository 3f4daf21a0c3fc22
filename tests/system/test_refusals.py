"""What the centre refuses, the kiosk says by its name, and nothing is written on the card."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from zoneinfo import ZoneInfo

import pytest
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_NOT_DONE

from tests.rig.citizen import Citizen
from tests.rig.front_end import ADMITTING, FINISHED, REMOVE_CARD, WAITING_FOR_CARD
from tests.rig.process import BIN, run
from tests.rig.site import KIOSK_ID
from tests.rig.stack import Stack

WRITES = {"INITIALIZE UPDATE", "EXTERNAL AUTHENTICATE", "RESET RETRY COUNTER"}
JAPAN = ZoneInfo("Asia/Tokyo")
FORM = "%Y-%m-%d %H:%M:%S.%f"  # of a moment in the centre's database: UTC


def in_database(stack: Stack, statement: str, *values: str) -> int:
    """Change the centre's database from outside and return the number of rows changed."""
    with closing(sqlite3.connect(stack.site.central / "centrald.db", timeout=5)) as database, database:
        return database.execute(statement, values).rowcount


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
    """A day cannot be waited for, so the reservation is made a day older where the centre keeps it."""
    citizen.reserve()
    now = datetime.datetime.now(datetime.UTC)
    moments = [(now - datetime.timedelta(hours=hours, seconds=1)).strftime(FORM) for hours in (24, 0)]
    sql = "UPDATE reservation SET created_at = ?, expires_at = ? WHERE newest AND state = 'reserved'"
    assert in_database(citizen.stack, sql, *moments) == 1
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


@contextmanager
def kiosk_disabled(stack: Stack) -> Iterator[None]:
    """The centre, with this kiosk disabled."""
    kiosk = (KIOSK_ID, "--directory", stack.site.central)
    run([BIN / "centrald", "kiosk", "disable", *kiosk])
    try:
        yield
    finally:
        run([BIN / "centrald", "kiosk", "enable", *kiosk])


async def refused_at_start(citizen: Citizen) -> reasons.Reason.ValueType:
    """Begin an attempt that is refused before a card is asked for, and return the reason."""
    attempt = await citizen.front.attempt()
    view = await attempt.until(FINISHED)
    assert view.outcome == OUTCOME_NOT_DONE
    await attempt.end()
    return view.reason


@contextmanager
def closed_hours(stack: Stack) -> Iterator[None]:
    """The centre, closed at this hour."""
    hour = datetime.datetime.now(JAPAN).hour
    first = (hour + 2) % 23
    with centre_with(stack, opens=f"{first:02}:00", closes=f"{first:02}:30"):
        yield


@contextmanager
def centre_with(stack: Stack, **texts: str) -> Iterator[None]:
    """The centre with another configuration, while the context lasts."""
    config = stack.site.central / "centrald.toml"
    before = config.read_text()
    stack.centrald.configure(**texts)
    stack.centrald.restart()
    try:
        yield
    finally:
        config.write_text(before)
        stack.centrald.restart()


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
