"""Every fault at every command of a whole reset: whatever happens, no wrong claim and nothing spent unordered.

The daemon's own session layer and journal run against a simulated card, whose ledger and memory are the truth, and a
centre with the real rules. The number of commands is learnt from a run without a fault, so none is left out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewayd.central.port import ReservationState
from gatewayd.dialogue.vocabulary import Outcome
from gatewayd.errors import CentralUnavailable
from tests.fakes.cards import CardFactory
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Fault
from tests.fakes.kiosk import Citizen, Kiosk

MOST_COMMANDS = 45
NEVER_FREE = (ReservationState.USED, ReservationState.IN_DOUBT, ReservationState.AUTHORIZED)

REPORTED = {
    "on time": {},
    "centre silent from the report on": {"report_outcome": CentralUnavailable("deadline")},
}


async def check_centre(kiosk: Kiosk, citizen: Citizen, outcome: Outcome | None) -> None:
    """Hold the reservation against the card, once the centre has heard everything."""
    kiosk.central.failures.clear()
    kiosk.central.lost.clear()
    await kiosk.settled()
    state = await kiosk.central.get_attempt("attempt-1")
    if citizen.changed:
        assert state in NEVER_FREE, "the card is changed, and the reservation is free again"
    if state is ReservationState.USED:
        assert citizen.changed, "the reservation is used, and the card is not changed"
    if outcome is Outcome.DONE:
        assert state is ReservationState.USED
    if outcome is Outcome.NOT_DONE:
        assert state in (ReservationState.RESERVED, ReservationState.NONE)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("report", REPORTED)
async def test_a_fault_at_every_command(
    tmp_path: Path, factory: CardFactory, master_key: bytes, fault: Fault, report: str
) -> None:
    made = factory.make(FakeClock().now())  # one for all runs: making its keys takes the time
    new = [(reference, reference.value, reference.tries) for reference in made.link.card.memory.references()]
    number, outcomes = 1, set()
    while True:
        for reference, value, tries in new:
            reference.value, reference.tries = value, tries
        directory = tmp_path / str(number)
        directory.mkdir()
        async with Kiosk.running(directory, factory, master_key) as kiosk:
            kiosk.know(made)
            citizen = Citizen(kiosk, made)
            kiosk.central.failures.update(REPORTED[report])
            kiosk.reader.plan(number, fault)
            last = await citizen.do(await kiosk.open())
            citizen.check(last)
            outcomes.add(last.shown.outcome)
            assert kiosk.manager.session is None
            if kiosk.reader.planned:
                break  # the reset has fewer commands: all of them were tried
            await check_centre(kiosk, citizen, last.shown.outcome)
        number += 1
        assert number <= MOST_COMMANDS
    assert last.shown.outcome is Outcome.DONE
    assert number > 25, "a reset has more commands than this"
    assert Outcome.DONE in outcomes
