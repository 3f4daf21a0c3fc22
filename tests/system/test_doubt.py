"""A write whose result is not known: what ends the doubt, what does not, and who is told the truth in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from jpkireset.gateway.v1.reset_service_pb2 import CARD_REQUEST_LIFT, OUTCOME_DONE

from tests.rig import metrics
from tests.rig.citizen import PHONE, Citizen
from tests.rig.doubt import (
    DONE,
    UNKNOWN,
    WRITE,
    given_up,
    held_before_the_change,
    resolving,
    told,
    torn_write,
    until_resolved,
    until_written,
    writes,
)
from tests.rig.front_end import FINISHED, REMOVE_CARD, RESOLVING, FrontEnd
from tests.rig.parts import Gatewayd
from tests.rig.pcscd import PHONE as PHONE_READER
from tests.rig.site import CHAIN, STORE
from tests.rig.stack import Stack

OTHER_CARD = "forgotten"
CONDITIONS_NOT_SATISFIED = "6985"


# --- at the same kiosk ------------------------------------------------------------------------------------------------


async def test_first_write_is_applied_and_the_second_is_refused(citizen: Citizen, new_password: str) -> None:
    """The refusal is definite, but of the second write only: the first one may hold, and does."""
    attempt = await torn_write(citizen, new_password)
    with citizen.stack.cardsim.fault(WRITE, "status", "before_delivery", status=CONDITIONS_NOT_SATISFIED):
        citizen.place()
        view = await attempt.until(REMOVE_CARD)
    assert told(view) == UNKNOWN
    assert view.in_doubt
    await citizen.leave(attempt)
    assert await until_written(citizen, attempt, 2) == [
        (1, "unknown", None, "in_doubt"),
        (2, "not_done", None, "in_doubt"),
    ]
    assert citizen.references["signing_password"]["value"] == new_password

    again = await citizen.reset(new_password)
    assert told(again.view) == DONE
    await citizen.leave(again)


async def test_three_writes_end_it(citizen: Citizen, new_password: str) -> None:
    attempt = await torn_write(citizen, new_password)
    for last in (False, True):
        with citizen.stack.cardsim.fault(WRITE, "tear"):
            citizen.place()
            if last:
                await attempt.until(REMOVE_CARD, FINISHED)
            else:
                await resolving(attempt)
    assert told(await attempt.end()) == UNKNOWN
    assert citizen.commands().count("RESET RETRY COUNTER") == 3
    assert [report[:2] for report in await until_written(citizen, attempt, 3)] == [
        (number, "unknown") for number in (1, 2, 3)
    ]
    assert citizen.verifications() == 1


async def test_another_card_is_only_looked_at(citizen: Citizen, new_password: str) -> None:
    attempt = await torn_write(citizen, new_password)
    before, position = citizen.stack.cardsim.show(OTHER_CARD)["references"], citizen.stack.cardsim.position()
    citizen.place(OTHER_CARD)
    view = await attempt.until_view(lambda view: view.card_request == CARD_REQUEST_LIFT)
    assert (view.state, view.outcome) == (RESOLVING, 0)
    assert citizen.stack.cardsim.show(OTHER_CARD)["references"] == before
    assert set(citizen.stack.cardsim.commands(position)) == {"SELECT", "READ BINARY"}
    citizen.lift()
    await resolving(attempt)
    citizen.place()
    assert told(await attempt.until(REMOVE_CARD)) == DONE
    await citizen.leave(attempt)
    assert citizen.verifications() == 1


@pytest.mark.parametrize(
    ("kind", "first"),
    [("mac_wrong", ("done", "invalid")), ("mac_missing", ("unknown", None))],
)
async def test_receipt_that_proves_nothing(
    citizen: Citizen, new_password: str, kind: str, first: tuple[str, str | None]
) -> None:
    """9000 is not enough: a receipt the centre refuses, or none, is unknown until the same card gives a good one."""
    refused = metrics.value(metrics.scrape(citizen.stack.gatewayd.metrics_url), "gatewayd_receipts_refused_total")
    citizen.reserve()
    attempt = await citizen.to_password()
    with citizen.stack.cardsim.fault(WRITE, kind):
        await attempt.new_password(new_password)
        view = await attempt.until(RESOLVING)
    assert (view.card_request, view.outcome, view.in_doubt) == (CARD_REQUEST_LIFT, 0, True)
    citizen.lift()
    await resolving(attempt)
    citizen.place()
    assert told(await attempt.until(REMOVE_CARD)) == DONE
    await citizen.leave(attempt)
    assert await until_written(citizen, attempt, 2) == [(1, *first, "in_doubt"), (2, "done", "valid", "used")]
    now = metrics.value(metrics.scrape(citizen.stack.gatewayd.metrics_url), "gatewayd_receipts_refused_total")
    assert now == refused + (kind == "mac_wrong")


# --- at another kiosk -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second_kiosk(shared_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gatewayd]:
    """A kiosk with its own certificate and journal, on the other reader."""
    stack, directory = shared_stack, tmp_path_factory.mktemp("second")
    certificates = directory / "certificates"
    stack.site.add_kiosk(CHAIN, STORE, "kiosk-2", certificates)
    sockets = Path(stack.pcscd.directory) / "second"
    sockets.mkdir()
    with Gatewayd(
        directory / "kiosk",
        site=stack.site,
        certificates=certificates,
        central_address=stack.centrald.kiosk_address,
        socket=sockets / "api.sock",
        reader=stack.pcscd.readers[PHONE_READER].name,
        pcsc=stack.pcscd.environment,
        log=stack.log_directory / "second.log",
    ) as running:
        yield running


@asynccontextmanager
async def at_the_second(citizen: Citizen, kiosk: Gatewayd) -> AsyncIterator[Citizen]:
    """The same citizen with the same card, at the other kiosk."""
    async with FrontEnd(kiosk.socket) as front:
        await front.ready()
        yield Citizen(citizen.stack, front, citizen.user_pin, citizen.card, slot=PHONE)


async def test_resolved_at_another_kiosk(citizen: Citizen, second_kiosk: Gatewayd, new_password: str) -> None:
    """The first kiosk learns it from the centre."""
    attempt = await torn_write(citizen, new_password)
    await given_up(citizen, attempt)
    await until_written(citizen, attempt, 1)

    async with at_the_second(citizen, second_kiosk) as there:
        second = await there.to_password()
        assert second.view.in_doubt
        await second.new_password(new_password)
        assert told(await second.until(REMOVE_CARD)) == DONE
        await there.leave(second)

    record = await citizen.front.attempt_record(attempt.id)
    assert (record.outcome, record.reason) == UNKNOWN
    citizen.stack.gatewayd.restart()  # it asks at once, and then every hour
    await until_resolved(citizen.front, attempt)
    assert [entry["event"] for entry in citizen.stack.centrald.ledger(second.id)][-1] == "reported"
    assert writes(citizen, second) == [(1, "done", "valid", "used")]


async def test_receipt_that_comes_after_another_attempt_began(
    citizen: Citizen, second_kiosk: Gatewayd, new_password: str
) -> None:
    """The first kiosk has the card's receipt and dies before it could send it; the second attempt ends in doubt."""
    stack = citizen.stack
    citizen.reserve()
    attempt = await held_before_the_change(citizen, new_password)
    stack.centrald.stop()
    try:
        stack.cardsim.release()
        assert told(await attempt.until(REMOVE_CARD)) == DONE
        stack.gatewayd.kill()
    finally:
        stack.centrald.start()
    citizen.lift()
    try:
        async with at_the_second(citizen, second_kiosk) as there:
            second = await there.to_password()
            assert second.view.in_doubt, "the centre has authorised a write of which it knows nothing"
            await second.cancel()
            assert told(await second.until(REMOVE_CARD)) == UNKNOWN
            await there.leave(second)
    finally:
        stack.gatewayd.start()
    assert await until_written(citizen, attempt, 1) == [(1, "done", "valid", "used")]
    assert (await citizen.front.attempt_record(attempt.id)).outcome == OUTCOME_DONE

    second_kiosk.restart()
    async with FrontEnd(second_kiosk.socket) as front:
        await until_resolved(front, second)
