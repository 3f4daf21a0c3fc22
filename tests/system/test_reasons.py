"""The reasons that no other module here reaches: each by a real cause, told by its name, and kept."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterator

import pytest
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.reset_service_pb2 import CARD_REQUEST_LIFT, OUTCOME_DONE, OUTCOME_NOT_DONE, View

from tests.rig.circumstances import daemon_of, full_disk, maintained
from tests.rig.citizen import Citizen
from tests.rig.front_end import FINISHED, REMOVE_CARD, Attempt
from tests.rig.process import ROOT, wait_until
from tests.rig.site import Site
from tests.rig.stack import Stack

PERSONAS = ("child", "expired", "unregistered", "wrong-keys")
WRITE = "RESET RETRY COUNTER"
CONDITIONS_NOT_SATISFIED = "6985"
PATIENCE_S = 20.0
BACKUP = ":memory:"
DEFECTIVE = (sys.executable, "-P", ROOT / "tests/rig/defect.py")


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Stack]:
    """The whole stack, with cards that cannot be served."""
    site.add(*PERSONAS)
    with Stack(tmp_path_factory.mktemp("reasons") / "stack", site=site, log_level="debug") as running:
        yield running


async def not_done(citizen: Citizen, attempt: Attempt) -> reasons.Reason.ValueType:
    """Follow the attempt to its end as not done; the journal says the same. Nothing was written."""
    view = await attempt.until(REMOVE_CARD, FINISHED)
    assert view.outcome == OUTCOME_NOT_DONE
    if view.state == REMOVE_CARD:
        citizen.lift()
    await attempt.end()
    record = await citizen.front.attempt_record(attempt.id)
    assert (record.state, record.outcome, record.reason) == (FINISHED, OUTCOME_NOT_DONE, view.reason)
    assert citizen.references["signing_password"]["value"] == "OLDPASS1"
    return view.reason


async def refused_when_read(citizen: Citizen) -> reasons.Reason.ValueType:
    """Place a card that is refused before the PIN is asked for."""
    attempt = await citizen.agree()
    citizen.place()
    reason = await not_done(citizen, attempt)
    assert citizen.verifications() == 0
    return reason


async def refused_by_the_centre(citizen: Citizen) -> reasons.Reason.ValueType:
    """Enter the right PIN; the centre then refuses."""
    attempt = await citizen.to_pin()
    await attempt.user_pin(citizen.user_pin)
    reason = await not_done(citizen, attempt)
    assert (citizen.verifications(), citizen.tries_left()) == (1, 3)
    assert "INITIALIZE UPDATE" not in citizen.commands()
    return reason


async def write_tried(citizen: Citizen, password: str) -> Attempt:
    """Confirm the new password."""
    citizen.reserve()
    attempt = await citizen.to_password()
    await attempt.new_password(password)
    return attempt


# --- the card ---------------------------------------------------------------------------------------------------------


@pytest.mark.reason("NO_SIGNING_CERTIFICATE")
async def test_card_of_a_child(citizen: Citizen) -> None:
    citizen.card = "child"
    assert await refused_when_read(citizen) == reasons.REASON_NO_SIGNING_CERTIFICATE


@pytest.mark.reason("CARD_UNREADABLE")
async def test_card_that_answers_what_none_of_its_kind_answers(citizen: Citizen) -> None:
    with citizen.stack.cardsim.fault("tries_left", "garbage"):
        assert await refused_when_read(citizen) == reasons.REASON_CARD_UNREADABLE


@pytest.mark.reason("CARD_UNREADABLE")
async def test_card_that_is_torn_off_each_time_it_is_read(citizen: Citizen) -> None:
    attempt = await citizen.agree()
    for _ in range(3):
        with citizen.stack.cardsim.fault("read_binary", "tear"):
            citizen.place()
            await attempt.until_view(lambda view: view.busy)
            view = await attempt.until_view(lambda view: view.card_request != CARD_REQUEST_LIFT and not view.busy)
    assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, reasons.REASON_CARD_UNREADABLE)


@pytest.mark.reason("CERTIFICATE_EXPIRED")
async def test_certificate_has_expired(citizen: Citizen) -> None:
    citizen.card = "expired"
    assert await refused_by_the_centre(citizen) == reasons.REASON_CERTIFICATE_EXPIRED


@pytest.mark.reason("CARD_NOT_REGISTERED")
async def test_card_the_centre_does_not_know(citizen: Citizen) -> None:
    citizen.card = "unregistered"
    assert await refused_by_the_centre(citizen) == reasons.REASON_CARD_NOT_REGISTERED


@pytest.mark.reason("CARD_NOT_GENUINE")
async def test_card_that_does_not_hold_the_keys_of_its_registry_entry(citizen: Citizen, new_password: str) -> None:
    citizen.card = "wrong-keys"
    attempt = await write_tried(citizen, new_password)
    assert await not_done(citizen, attempt) == reasons.REASON_CARD_NOT_GENUINE
    assert "EXTERNAL AUTHENTICATE" not in citizen.commands()
    assert citizen.stack.centrald.ledger(attempt.id)[2]["event"] == "not_authorized"


@pytest.mark.reason("CARD_REFUSED")
async def test_card_that_refuses_the_change(citizen: Citizen, new_password: str) -> None:
    with citizen.stack.cardsim.fault(
        "reset_retry_counter", "status", "before_delivery", status=CONDITIONS_NOT_SATISFIED
    ):
        attempt = await write_tried(citizen, new_password)
        assert await not_done(citizen, attempt) == reasons.REASON_CARD_REFUSED
    (reported,) = (entry for entry in citizen.stack.centrald.ledger(attempt.id) if entry["event"] == "reported")
    assert (reported["outcome"], reported["state_after"]) == ("not_done", "reserved")


# --- what the kiosk needs ---------------------------------------------------------------------------------------------


@pytest.mark.reason("MAINTENANCE")
async def test_announced_maintenance(citizen: Citizen) -> None:
    with maintained(citizen.stack):
        attempt = await citizen.front.attempt()
        assert await not_done(citizen, attempt) == reasons.REASON_MAINTENANCE
    citizen.stack.gatewayd.restart()  # it then asks at once, instead of within half a minute
    await citizen.front.ready()


@pytest.mark.reason("READER_UNAVAILABLE")
async def test_service_of_the_reader_is_gone(citizen: Citizen) -> None:
    """At the start, and between the card and its PIN: a VERIFY that cannot be sent is no press."""
    pcscd, front = citizen.stack.pcscd, citizen.front
    running = await citizen.to_pin()
    pcscd.kill()
    try:
        await front.until_status(lambda status: gateway.READINESS_PROBLEM_PCSC_UNAVAILABLE in status.problems)
        await running.user_pin(citizen.user_pin)
        view = await running.until(REMOVE_CARD)
        assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, reasons.REASON_READER_UNAVAILABLE)
        assert citizen.verifications() == 0
    finally:
        pcscd.resume()
    await front.until_status(lambda status: gateway.READINESS_PROBLEM_PCSC_UNAVAILABLE not in status.problems)
    await citizen.leave(running)
    await front.idle()  # the attempt ended with pcscd's return; the lift is seen by pcscd's next poll

    pcscd.kill()
    try:
        await front.until_status(lambda status: gateway.READINESS_PROBLEM_PCSC_UNAVAILABLE in status.problems)
        attempt = await front.attempt()
        assert await not_done(citizen, attempt) == reasons.REASON_READER_UNAVAILABLE
    finally:
        pcscd.resume()
    await front.ready()


@pytest.mark.reason("JOURNAL_UNAVAILABLE")
async def test_journal_cannot_be_written(citizen: Citizen, new_password: str) -> None:
    """Neither an attempt begins nor a change. The ending itself cannot be kept then: it is once there is room again."""
    stack = citizen.stack
    citizen.reserve()
    attempt = await citizen.to_password()
    with full_disk(stack):
        await attempt.new_password(new_password)
        view = await attempt.until(REMOVE_CARD)
        assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, reasons.REASON_JOURNAL_UNAVAILABLE)
        await citizen.leave(attempt)
        assert await at_once(citizen) == reasons.REASON_JOURNAL_UNAVAILABLE
    assert "EXTERNAL AUTHENTICATE" not in citizen.commands()

    wait_until(lambda: stack.centrald.ledger(attempt.id)[-1]["event"] == "released", PATIENCE_S, "the release")
    record = await citizen.front.attempt_record(attempt.id)
    assert (record.state, record.outcome, record.reason) == (
        FINISHED,
        OUTCOME_NOT_DONE,
        reasons.REASON_JOURNAL_UNAVAILABLE,
    )
    await citizen.front.ready()


async def at_once(citizen: Citizen) -> reasons.Reason.ValueType:
    """Begin an attempt that is not accepted, and so not kept."""
    attempt = await citizen.front.attempt()
    view: View = await attempt.end()
    assert (view.number, view.outcome) == (1, OUTCOME_NOT_DONE)
    return view.reason


@pytest.mark.reason("INTERNAL")
async def test_centre_restored_from_a_backup(citizen: Citizen, new_password: str) -> None:
    """Its operator brings back the database of a moment ago: the running attempt is one it has never heard of. What it
    says then is not an answer about the citizen, and the card is not touched. The reservation is as it was.
    """
    stack = citizen.stack
    database = stack.site.central / "centrald.db"
    citizen.reserve()
    with contextlib.closing(sqlite3.connect(database)) as live, contextlib.closing(sqlite3.connect(BACKUP)) as backup:
        live.backup(backup)
        attempt = await citizen.to_password()
        stack.centrald.stop()
        for file in database.parent.glob("centrald.db-*"):
            file.unlink()
        backup.backup(live)
    stack.centrald.start()
    await attempt.new_password(new_password)
    assert await not_done(citizen, attempt) == reasons.REASON_INTERNAL
    assert "EXTERNAL AUTHENTICATE" not in citizen.commands()

    await citizen.front.ready()
    again = await citizen.reset(new_password)
    assert (await citizen.leave(again)).outcome == OUTCOME_DONE


async def test_defect_of_the_daemon(citizen: Citizen) -> None:
    """What nobody has foreseen is told as such, and ends the attempt alone."""
    with daemon_of(citizen.stack, *DEFECTIVE):
        await citizen.front.ready()
        assert await refused_when_read(citizen) == reasons.REASON_INTERNAL
        assert "ZeroDivisionError" in citizen.stack.gatewayd.process.output()
