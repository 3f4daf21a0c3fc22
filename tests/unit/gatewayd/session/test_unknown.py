"""How an unknown outcome finds its end: across restarts, kiosks, a dead centre, and receipts that are not believed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from centrald import cardkeys
from centrald.rules import model
from gatewayd.central.port import ReservationState
from gatewayd.dialogue.events import ClientGone
from gatewayd.dialogue.vocabulary import Outcome, Reason, State
from gatewayd.errors import CentralRejected, CentralUnavailable, JournalUnavailable
from gatewayd.journal.port import AttemptRecord, OutboxItem
from gatewayd.session.resolution import AGAIN_S, INTERVAL_S
from gatewayd.session.session import Session
from gatewayd.session.view import View
from tests.fakes.cards import CardFactory, MadeCard
from tests.fakes.central import FakeCentral
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Fault
from tests.fakes.kiosk import Citizen, Kiosk

RESET_RETRY_COUNTER = b"\x04\x2c"  # CLA with secure messaging, INS (docs/CARD-PROTOCOL.md)
DAY_S = 86_400
OTHER_KIOSK = model.KioskId("chain-b", "store-0002", "kiosk-9")


class Leaving(Citizen):
    """Cancels on the page for the new password, or leaves when asked for the card once more, which then answers."""

    cancels = False

    def answer(self, session: Session, view: View) -> None:
        if view.shown.state is State.RESOLVING:
            if self.kiosk.reader.is_mute:
                self.kiosk.reader.answer()
            session.tell(ClientGone())
        elif self.cancels and view.shown.state is State.ENTER_NEW_PASSWORD:
            session.submit_cancel(view.number)
        else:
            super().answer(session, view)


class Cancelling(Leaving):
    cancels = True


@dataclass
class World:
    """One centre and two kiosks, A and B, each of which can be switched off and on."""

    directory: Path
    factory: CardFactory
    master_key: bytes
    at_a: FakeCentral
    at_b: FakeCentral

    def a(self) -> AbstractAsyncContextManager[Kiosk]:
        return Kiosk.running(self._own("a"), self.factory, self.master_key, central=self.at_a)

    def b(self) -> AbstractAsyncContextManager[Kiosk]:
        return Kiosk.running(self._own("b"), self.factory, self.master_key, central=self.at_b)

    def _own(self, name: str) -> Path:
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        return directory

    async def state(self, attempt_id: str) -> ReservationState:
        return await self.at_a.seen_by(OTHER_KIOSK).get_attempt(attempt_id)


@pytest.fixture
def world(tmp_path: Path, factory: CardFactory, master_key: bytes) -> World:
    centre = FakeCentral(FakeClock(), master_key)
    return World(tmp_path, factory, master_key, centre, centre.seen_by(OTHER_KIOSK))


@pytest.fixture
async def change_number(tmp_path: Path, factory: CardFactory, master_key: bytes) -> int:
    """Which command of a reset is the change, counted from 1."""
    (tmp_path / "whole").mkdir()
    async with Kiosk.running(tmp_path / "whole", factory, master_key) as kiosk:
        await Citizen(kiosk, kiosk.card()).do(await kiosk.open())
        commands = [exchange.command[:2] for exchange in kiosk.reader.exchanges]
    return commands.index(RESET_RETRY_COUNTER) + 1


async def record(kiosk: Kiosk, attempt_id: str) -> AttemptRecord:
    found = await kiosk.journal.attempt(attempt_id)
    assert found is not None
    return found


async def listed(kiosk: Kiosk) -> list[str]:
    records = await kiosk.manager.attempts(unresolved_only=True, limit=9, before=None)
    return [one.attempt_id for one in records]


async def torn_at_a(world: World, change_number: int) -> MadeCard:
    """Leave an attempt at A unknown: the card is changed, its answer was lost, and the citizen went away."""
    async with world.a() as a:
        card = a.card()
        citizen = Leaving(a, card)
        a.reader.plan(change_number, Fault.TORN_AFTER)
        last = await citizen.do(await a.open("at-a"))
        assert (last.shown.outcome, last.shown.reason) == (Outcome.UNKNOWN, Reason.OUTCOME_UNRESOLVED)
        assert citizen.changed
        await a.settled()
        assert await listed(a) == ["at-a"]
    assert await world.state("at-a") is ReservationState.IN_DOUBT
    return card


@contextlib.asynccontextmanager
async def power_cut(kiosk: AbstractAsyncContextManager[Kiosk]) -> AsyncIterator[tuple[Kiosk, MadeCard]]:
    """Let a citizen with a new card begin, and cut the power at the end of the block."""
    async with kiosk as running:
        card = running.card()
        doing = asyncio.create_task(Citizen(running, card).do(await running.open("at-a")))
        yield running, card
    running.central.delays.clear()
    doing.cancel()
    await asyncio.gather(doing, return_exceptions=True)
    running.reader.remove()


async def until_asked(kiosk: Kiosk, call: str) -> None:
    """Return once the centre has been asked this, which it does not answer for a day."""
    kiosk.central.delays[call] = DAY_S
    async with asyncio.timeout(10):
        while call not in [called[0] for called in kiosk.central.calls]:
            await asyncio.sleep(0.001)


async def test_a_cancel_in_doubt_ends_the_superseding_attempt_unknown(world: World, change_number: int) -> None:
    card = await torn_at_a(world, change_number)
    async with world.b() as b:
        citizen = Cancelling(b, card)
        last = await citizen.do(await b.open("at-b"))
        assert (last.shown.outcome, last.shown.reason) == (Outcome.UNKNOWN, Reason.OUTCOME_UNRESOLVED)
        assert [view.shown.in_doubt for view in citizen.views if view.shown.state is State.ENTER_NEW_PASSWORD] == [True]
        await b.settled()
        assert await listed(b) == ["at-b"]
    assert await world.state("at-b") is ReservationState.IN_DOUBT


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_is_resolved_at_b_is_learnt_by_a(world: World, change_number: int, restarted: bool) -> None:
    card = await torn_at_a(world, change_number)
    if not restarted:
        kiosk_a = world.a()
        a = await kiosk_a.__aenter__()
        a.spawn(a.resolution.run())
    async with world.b() as b:
        last = await Citizen(b, card).do(await b.open("at-b"))
        assert last.shown.outcome is Outcome.DONE
        await b.settled()
    assert await world.state("at-a") is ReservationState.USED
    if restarted:
        kiosk_a = world.a()
        a = await kiosk_a.__aenter__()
        a.spawn(a.resolution.run())
    await a.clock.advance(INTERVAL_S)
    await until_resolved(a, "at-a")
    found = await record(a, "at-a")
    assert (found.outcome, found.resolution) == ("unknown", "done")
    assert await listed(a) == []
    assert ("get_attempt", "at-a") in a.central.calls
    await kiosk_a.__aexit__(None, None, None)


async def until_resolved(kiosk: Kiosk, attempt_id: str) -> None:
    async with asyncio.timeout(5):
        while (await record(kiosk, attempt_id)).resolution is None:
            await kiosk.clock.advance(1)
            await asyncio.sleep(0.002)


async def test_a_silent_centre_is_asked_again_soon(world: World, change_number: int) -> None:
    card = await torn_at_a(world, change_number)
    async with world.b() as b:
        assert (await Citizen(b, card).do(await b.open("at-b"))).shown.outcome is Outcome.DONE
        await b.settled()
    async with world.a() as a:
        a.central.failures["get_attempt"] = CentralUnavailable("unavailable")
        a.spawn(a.resolution.run())
        await a.clock.advance(1)
        assert await listed(a) == ["at-a"]
        a.central.failures.clear()
        await a.clock.advance(AGAIN_S)
        await until_resolved(a, "at-a")


async def test_an_attempt_that_the_centre_will_not_speak_of_keeps_no_other_waiting(
    world: World, change_number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await torn_at_a(world, change_number)
    async with world.a() as a:
        for attempt_id in ("worse", "at-last"):
            await a.journal.accept(attempt_id, "signing_password")
            await a.journal.finish(attempt_id, "unknown", "outcome_unresolved")
        asked = []

        async def get_attempt(attempt_id: str) -> ReservationState:
            asked.append(attempt_id)
            if attempt_id == "at-last":
                return ReservationState.USED
            raise CentralUnavailable("denied")

        monkeypatch.setattr(a.central, "get_attempt", get_attempt)
        await a.resolution.ask()
        assert asked == ["at-a", "worse", "at-last"]
        assert await listed(a) == ["worse", "at-a"]


async def test_a_receipt_that_comes_after_supersession_still_counts(world: World) -> None:
    async with power_cut(world.a()) as (a, card):
        await until_asked(a, "report_outcome")
        assert Citizen(a, card).changed
    async with world.b() as b:  # the reservation is A's, whose report never came: B takes it over, in doubt
        last = await Cancelling(b, card).do(await b.open("at-b"))
        assert last.shown.outcome is Outcome.UNKNOWN
        await b.settled()
        assert await world.state("at-b") in (ReservationState.AUTHORIZED, ReservationState.IN_DOUBT)

        async with world.a() as a:
            await until_resolved(a, "at-a")
            found = await record(a, "at-a")
            assert (found.outcome, found.reason, found.resolution) == ("unknown", "restarted", "done")
        assert await world.state("at-a") is ReservationState.USED
        await b.resolution.ask()
        assert (await record(b, "at-b")).resolution == "done"
        assert await listed(b) == []


async def test_an_authorisation_without_intent_is_released_after_a_restart(world: World) -> None:
    async with power_cut(world.a()) as (a, card):
        await until_asked(a, "authorize_reset")
        assert not Citizen(a, card).changed
    async with world.a() as a:
        found = await record(a, "at-a")
        assert (found.outcome, found.reason) == ("not_done", "restarted")
        await a.settled()
        assert ("release_attempt", "at-a") in a.central.calls
    assert await world.state("at-a") is ReservationState.RESERVED


async def test_an_intent_without_result_is_unknown_after_a_restart(world: World, change_number: int) -> None:
    async with power_cut(world.a()) as (a, card):
        a.reader.plan(change_number, Fault.MUTE_AFTER)
        async with asyncio.timeout(10):
            while not a.reader.is_mute:
                await asyncio.sleep(0.001)
        assert Citizen(a, card).changed
    async with world.a() as a:
        found = await record(a, "at-a")
        assert (found.outcome, found.reason) == ("unknown", "restarted")
        assert await listed(a) == ["at-a"]
        await a.settled()
        assert [(report.n, report.outcome.value) for report in a.central.reports] == [(1, "unknown")]
    assert await world.state("at-a") is ReservationState.IN_DOUBT


async def test_a_report_outlives_a_restart_and_a_day_without_the_centre(world: World) -> None:
    async with world.a() as a:
        card = a.card()
        a.central.failures["report_outcome"] = CentralUnavailable("unavailable")
        last = await Citizen(a, card).do(await a.open("at-a"))
        assert last.shown.outcome is Outcome.DONE
        await pass_time(a, DAY_S / 2)
        assert len(await a.journal.pending()) == 1
    async with world.a() as a:
        await pass_time(a, DAY_S / 2)
        (item,) = await a.journal.pending()
        assert not item.rejected
        tries = [call for call in a.central.calls if call[0] == "report_outcome"]
        assert len(tries) > 50
        a.central.failures.clear()
        await a.settled()
        found = await record(a, "at-a")
        assert (found.outcome, found.resolution) == ("done", None)
    assert await world.state("at-a") is ReservationState.USED


@pytest.mark.parametrize("late", [False, True])
async def test_a_receipt_that_the_journal_could_not_take_is_sent_all_the_same(
    world: World, change_number: int, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    async with world.a() as a:
        result, citizen = a.journal.result, Leaving(a, a.card())

        async def full_for_a_receipt(attempt_id: str, n: int, outcome: str, **what: Any) -> OutboxItem:
            if outcome == "done":
                raise JournalUnavailable("full")
            return await result(attempt_id, n, outcome, **what)

        with monkeypatch.context() as patch:
            patch.setattr(a.journal, "result", full_for_a_receipt)
            if late:
                a.reader.plan(change_number, Fault.MUTE_AFTER)
            last = await citizen.do(await a.open("at-a"))
            assert (last.shown.outcome, last.shown.reason) == (Outcome.UNKNOWN, Reason.OUTCOME_UNRESOLVED)
            await a.until(lambda: a.outbox._results)
            assert (await record(a, "at-a")).resolution is None
        await until_resolved(a, "at-a")
        assert (await record(a, "at-a")).resolution == "done"
    assert await world.state("at-a") is ReservationState.USED


async def pass_time(kiosk: Kiosk, seconds: float, step_s: float = 600) -> None:
    end = kiosk.clock.monotonic() + seconds
    while kiosk.clock.monotonic() < end:
        await kiosk.clock.advance(step_s)
        await asyncio.sleep(0.002)  # for the journal's thread


def rejects(central: FakeCentral) -> None:
    central.failures["report_outcome"] = CentralRejected("failed_precondition")


def disbelieves(central: FakeCentral) -> None:
    central.failures.clear()
    central._master = cardkeys.FileMasterKey(bytes(cardkeys.MASTER_KEY_BYTES))  # every receipt is wrong under it


@pytest.mark.parametrize("refuse", [rejects, disbelieves])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_receipt_refused_later_makes_what_was_told_done_unknown(
    world: World, refuse: Callable[[FakeCentral], None], restarted: bool
) -> None:
    async with world.a() as a:
        a.central.failures["report_outcome"] = CentralUnavailable("unavailable")
        last = await Citizen(a, a.card()).do(await a.open("at-a"))
        assert last.shown.outcome is Outcome.DONE
        if not restarted:
            refuse(a.central)
            await check_withdrawn(a)
    if restarted:
        refuse(world.at_a)
        async with world.a() as a:
            await check_withdrawn(a)
    assert await world.state("at-a") is not ReservationState.USED


async def check_withdrawn(kiosk: Kiosk) -> None:
    async with asyncio.timeout(5):
        while await listed(kiosk) != ["at-a"]:
            await kiosk.clock.advance(60)
            await asyncio.sleep(0.002)
    found = await record(kiosk, "at-a")
    assert (found.outcome, found.reason, found.resolution) == ("unknown", "outcome_unresolved", None)
    assert kiosk.metrics.registry.get_sample_value("gatewayd_receipts_refused_total") == 1
    events = [entry.event for entry in await kiosk.manager.timeline("at-a")]
    assert events.index("finished") < events.index("doubted")
