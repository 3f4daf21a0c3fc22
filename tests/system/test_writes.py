"""The change that was begun and not made, and the reservation of a change that may have been made."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.gateway_service_pb2 import READINESS_PROBLEM_CARD_LEFT_BEHIND
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE, OUTCOME_NOT_DONE, OUTCOME_UNKNOWN

from jpki_phone.problems import NotReserved
from tests.rig.citizen import Citizen
from tests.rig.doubt import (
    DONE,
    PATIENCE_S,
    UNKNOWN,
    given_up,
    held_before_the_change,
    resolving,
    told,
    torn_write,
    until_resolved,
    until_written,
    writes,
)
from tests.rig.front_end import AUTHORIZING, PLACE_SAME, REMOVE_CARD, RESOLVING, Attempt
from tests.rig.process import wait_until
from tests.rig.stack import Stack


async def asked_for_the_same_card(attempt: Attempt) -> None:
    """Wait until the card is asked for again, without a word of doubt."""
    view = await attempt.until_view(lambda view: view.card_request == PLACE_SAME)
    assert (view.state, view.in_doubt) == (AUTHORIZING, False)


@contextmanager
def frozen(stack: Stack) -> Iterator[None]:
    """The centre, silent while the context lasts."""
    stack.centrald.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stack.centrald.signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("step", "reported"),
    [
        ("initialize_update", [(1, "done", "valid", "used")]),
        ("external_authenticate", [(1, "not_done", None, "reserved"), (2, "done", "valid", "used")]),
    ],
)
async def test_card_lifted_before_the_change_is_placed_again(
    citizen: Citizen, new_password: str, step: str, reported: list[tuple[object, ...]]
) -> None:
    """A write number is used up once the centre was asked for it. No PIN is asked for again."""
    citizen.reserve()
    attempt = await citizen.to_password()
    with citizen.stack.cardsim.fault(step, "tear"):
        await attempt.new_password(new_password)
        await asked_for_the_same_card(attempt)
    citizen.place()
    assert told(await attempt.until(REMOVE_CARD)) == DONE
    await citizen.leave(attempt)
    assert await until_written(citizen, attempt, len(reported)) == reported
    assert citizen.verifications() == 1
    assert citizen.commands().count("RESET RETRY COUNTER") == 1


@pytest.mark.reason("CARD_UNREADABLE")
async def test_card_lifted_before_each_change_ends_as_not_done(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    attempt = await citizen.to_password()
    for number in (1, 2, 3):
        with citizen.stack.cardsim.fault("external_authenticate", "tear"):
            if number == 1:
                await attempt.new_password(new_password)
            else:
                citizen.place()
            if number < 3:
                await asked_for_the_same_card(attempt)
            else:
                view = await attempt.until_view(lambda view: view.outcome != 0)
    assert told(view) == (OUTCOME_NOT_DONE, reasons.REASON_CARD_UNREADABLE)
    await attempt.end()
    assert await until_written(citizen, attempt, 3) == [(number, "not_done", None, "reserved") for number in (1, 2, 3)]


@pytest.mark.reason("RESTARTED")
async def test_daemon_that_dies_between_authorisation_and_change(citizen: Citizen, new_password: str) -> None:
    """The next start says so to the centre, which gives the reservation back."""
    stack = citizen.stack
    citizen.reserve()
    attempt = await citizen.to_password()
    with frozen(stack):
        await attempt.new_password(new_password)
        wait_until(lambda: "INITIALIZE UPDATE" in citizen.commands(), PATIENCE_S, "the channel")
        await attempt.until_view(lambda view: view.state == AUTHORIZING)
        stack.gatewayd.kill()
    stack.gatewayd.start()
    await citizen.front.until_status(lambda status: READINESS_PROBLEM_CARD_LEFT_BEHIND in status.problems)
    citizen.lift()
    record = await citizen.front.attempt_record(attempt.id)
    assert (record.outcome, record.reason) == (OUTCOME_NOT_DONE, reasons.REASON_RESTARTED)
    wait_until(lambda: stack.centrald.ledger(attempt.id)[-1]["event"] == "released", PATIENCE_S, "the release")
    assert stack.centrald.ledger(attempt.id)[-1]["state_after"] == "reserved"
    assert "EXTERNAL AUTHENTICATE" not in citizen.commands()

    again = await citizen.reset(new_password)
    assert told(again.view) == DONE
    await citizen.leave(again)


async def test_full_counter_is_no_proof_while_in_doubt(citizen: Citizen, new_password: str) -> None:
    """The centre is silent when the second attempt's receipt is there: the counter says nothing of which write it was.

    The receipt is delivered later, and then the kiosk knows.
    """
    await given_up(citizen, await torn_write(citizen, new_password))
    attempt = await held_before_the_change(citizen, new_password)
    assert attempt.view.in_doubt
    citizen.stack.centrald.stop()
    try:
        citizen.stack.cardsim.release()
        view = await attempt.until(RESOLVING)
        assert (view.outcome, view.in_doubt) == (0, True)
        await attempt.cancel()
        assert told(await attempt.until(REMOVE_CARD)) == UNKNOWN
        await citizen.leave(attempt)
    finally:
        citizen.stack.centrald.start()
    assert await until_written(citizen, attempt, 1) == [(1, "done", "valid", "used")]
    await until_resolved(citizen.front, attempt)


async def test_receipt_that_is_delivered_while_the_same_card_is_asked_for(citizen: Citizen, new_password: str) -> None:
    """The centre comes back and takes it: placed again, the card is not written again, and the citizen hears done."""
    await given_up(citizen, await torn_write(citizen, new_password))
    attempt = await held_before_the_change(citizen, new_password)
    citizen.stack.centrald.stop()
    try:
        citizen.stack.cardsim.release()
        await attempt.until(RESOLVING)
        citizen.lift()
        await resolving(attempt)
    finally:
        citizen.stack.centrald.start()
    assert await until_written(citizen, attempt, 1) == [(1, "done", "valid", "used")]
    written = citizen.commands().count("RESET RETRY COUNTER")
    citizen.place()
    assert told(await attempt.until(REMOVE_CARD)) == DONE
    await citizen.leave(attempt)
    assert citizen.commands().count("RESET RETRY COUNTER") == written
    assert (await citizen.front.attempt_record(attempt.id)).outcome == OUTCOME_DONE


async def test_no_new_reservation_while_a_write_is_authorised(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    attempt = await held_before_the_change(citizen, new_password)
    with pytest.raises(NotReserved):
        citizen.reserve()
    citizen.stack.cardsim.release()
    assert told(await attempt.until(REMOVE_CARD)) == DONE
    await citizen.leave(attempt)


async def test_new_reservation_takes_the_place_of_a_doubtful_one(citizen: Citizen, new_password: str) -> None:
    """What became of the doubtful write nobody will ever know: it stays unknown, and is not asked for any more."""
    attempt = await torn_write(citizen, new_password)
    await given_up(citizen, attempt)
    assert await until_written(citizen, attempt, 1) == [(1, "unknown", None, "in_doubt")]
    citizen.reserve()
    daemon = citizen.stack.gatewayd
    daemon.restart()  # it asks at once, and then every hour
    wait_until(lambda: '"resolution": "closed_unknown"' in daemon.process.output(), PATIENCE_S, "the resolution")
    assert (await citizen.front.attempt_record(attempt.id)).outcome == OUTCOME_UNKNOWN

    await citizen.front.ready()
    again = await citizen.to_password()
    assert not again.view.in_doubt
    await again.new_password(new_password)
    assert told(await again.until(REMOVE_CARD)) == DONE
    await citizen.leave(again)
    assert writes(citizen, attempt) == [(1, "unknown", None, "in_doubt")]
