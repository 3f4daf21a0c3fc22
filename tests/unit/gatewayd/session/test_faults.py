"""Every fault at every command and every entry of a whole reset: no wrong claim, and nothing spent unordered.

The daemon's own session layer and journal run against a simulated card, whose ledger and memory are the truth, and a
centre with the real rules. The number of commands is learnt from a run without a fault, so none is left out; so is the
number of the journal's entries.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gatewayd.central.port import ReservationState
from gatewayd.dialogue.vocabulary import Outcome
from gatewayd.errors import CentralUnavailable, JournalUnavailable
from gatewayd.session.view import View
from tests.fakes.cards import CardFactory
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Fault
from tests.fakes.kiosk import LULL_S, PATIENCE_S, TICK_S, Citizen, Kiosk

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


class Kiosks:
    """A kiosk for each run, and one card, as it was issued each time: making its keys takes the time."""

    def __init__(self, folder: Path, factory: CardFactory, master_key: bytes) -> None:
        self._folder, self._factory, self._master_key = folder, factory, master_key
        self._card = factory.make(FakeClock().now())
        references = self._card.link.card.memory.references()
        self._issued = [(reference, reference.value, reference.tries) for reference in references]

    @contextlib.asynccontextmanager
    async def new(self, number: int) -> AsyncIterator[tuple[Kiosk, Citizen]]:
        for reference, value, tries in self._issued:
            reference.value, reference.tries = value, tries
        directory = self._folder / str(number)
        directory.mkdir()
        async with Kiosk.running(directory, self._factory, self._master_key) as kiosk:
            kiosk.know(self._card)
            yield kiosk, Citizen(kiosk, self._card)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("report", REPORTED)
async def test_a_fault_at_every_command(
    tmp_path: Path, factory: CardFactory, master_key: bytes, fault: Fault, report: str
) -> None:
    kiosks = Kiosks(tmp_path, factory, master_key)
    number, outcomes = 1, set()
    while True:
        async with kiosks.new(number) as (kiosk, citizen):
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


class FailingJournal:
    """Has one entry of the kiosk's journal fail, or all of them from that one on, until it is mended."""

    def __init__(self, kiosk: Kiosk, number: int, *, durable: bool, lasting: bool) -> None:
        self._commit: Callable[..., Any] = kiosk.journal._commit
        kiosk.journal._commit = self._fail  # type: ignore[method-assign, assignment]
        self._number = number
        self._durable = durable  # it fails after it was synced: all that is missing is the word of it
        self._lasting = lasting
        self.entries = 0
        self.failed = False

    def mend(self) -> None:
        self._number = 0

    async def _fail(self, *entry: Any) -> Any:
        self.entries += 1
        fails = 0 < self._number <= self.entries if self._lasting else self.entries == self._number
        if not fails:
            return await self._commit(*entry)
        self.failed = True
        if self._durable:
            await self._commit(*entry)
        raise JournalUnavailable("as planned")


@pytest.mark.parametrize(("durable", "lasting"), [(False, False), (True, False), (False, True)])
async def test_a_journal_that_fails_at_every_entry(
    tmp_path: Path, factory: CardFactory, master_key: bytes, durable: bool, lasting: bool
) -> None:
    kiosks = Kiosks(tmp_path, factory, master_key)
    number, outcomes = 1, set()
    while True:
        async with kiosks.new(number) as (kiosk, citizen):
            journal = FailingJournal(kiosk, number, durable=durable, lasting=lasting)
            opened = await kiosk.manager.open("attempt-1")
            last = opened if isinstance(opened, View) else await citizen.do(opened)
            citizen.check(last)
            outcomes.add(last.shown.outcome)
            async with asyncio.timeout(PATIENCE_S):  # that the centre has a receipt is entered after the end
                while not journal.failed and await kiosk.journal.pending():
                    await kiosk.clock.advance(TICK_S)
                    await asyncio.sleep(LULL_S)
            if not journal.failed:
                break  # the reset has fewer entries: all of them have failed
            journal.mend()
            await check_journal(kiosk, citizen, last)
            await check_centre(kiosk, citizen, last.shown.outcome)
        number += 1
        assert number <= MOST_COMMANDS
    assert last.shown.outcome is Outcome.DONE
    assert number > 8, "a reset has more entries than this"
    assert outcomes == set(Outcome)


async def check_journal(kiosk: Kiosk, citizen: Citizen, last: View) -> None:
    """Hold what the journal says, once it can be written again, against the card and what was shown."""
    async with asyncio.timeout(PATIENCE_S):
        while (record := await kiosk.journal.attempt("attempt-1")) is not None and record.outcome is None:
            await kiosk.clock.advance(TICK_S)
            await asyncio.sleep(LULL_S)
    if record is None:
        assert last.shown.outcome is Outcome.NOT_DONE
        return
    said = record.resolution or record.outcome
    assert said != "done" or citizen.changed
    assert said != "not_done" or not citizen.changed
    assert last.shown.outcome is not None
    assert record.outcome in (last.shown.outcome.name.lower(), "unknown")
