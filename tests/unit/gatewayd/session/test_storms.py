"""Attempts in bad weather: card, reader, centre, journal, power and citizen misbehave at once, as a seed has it.

What the card holds and what the centre's rules say are the truth. `STORMS=1000 FIRST_STORM=40` makes a thousand others;
a seed that has found something finds it again, but for the moment at which threads of this process meet.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cardsim.memory import ReferenceName
from gatewayd.central.port import ReservationState
from gatewayd.dialogue.events import ClientGone
from gatewayd.dialogue.vocabulary import CardRequest, Outcome, State
from gatewayd.errors import CentralUnavailable, JournalUnavailable
from gatewayd.session.session import Session
from gatewayd.session.view import View
from tests.fakes.cards import CardFactory, MadeCard
from tests.fakes.central import FakeCentral
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Fault, SimulatedCard
from tests.fakes.kiosk import LULL_S, PATIENCE_S, PIN, Citizen, Kiosk, is_verify

STORMS = int(os.environ.get("STORMS", "40"))
FIRST = int(os.environ.get("FIRST_STORM", "0"))
CALLS = ("check_reservation", "authorize_reset", "report_outcome", "release_attempt")
WHOLE_RESET = range(1, 37)  # commands, with some to spare
THE_CHANGE = range(29, 32)  # among them, when nothing went wrong before
SILENCE_S = 25 * 60.0  # the centre waits 20 minutes for a report
NEVER_FREE = (ReservationState.USED, ReservationState.IN_DOUBT)


class Watched:
    """A card that remembers every password it was given, and how often it was asked for a PIN."""

    def __init__(self, made: MadeCard) -> None:
        self._card = made.link.card
        self.passwords = [self.password]
        self.verifications = 0

    @property
    def password(self) -> bytes:
        return self._card.memory.reference(ReferenceName.SIGNING_PASSWORD).value

    def power_on(self) -> bytes:
        return self._card.power_on()

    def power_off(self) -> None:
        self._card.power_off()

    def reset(self) -> None:
        self._card.reset()

    def transmit(self, apdu: bytes, /) -> bytes:
        self.verifications += is_verify(apdu)
        answer = self._card.transmit(apdu)
        if self.password != self.passwords[-1]:
            self.passwords.append(self.password)
        return answer


@dataclass
class Storm:
    """What goes wrong, and when, drawn from one seed."""

    dice: random.Random
    clock: FakeClock
    mischief: float = 1.0  # of the citizen's
    calm: bool = False
    presses: int = 0
    shown: dict[str, Outcome] = field(default_factory=dict)  # by attempt: what its citizen was told in the end
    chosen: dict[str, bytes] = field(default_factory=dict)  # by attempt: the new password

    def strikes(self, chance: float) -> bool:
        return not self.calm and self.dice.random() < chance

    def tempts(self, chance: float) -> bool:
        return self.strikes(chance * self.mischief)

    def over(self, kiosk: Kiosk) -> None:
        """Let it loose on a kiosk that was just switched on."""
        commit, call, answer = kiosk.journal._commit, kiosk.central._call, kiosk.central._answer
        self.mischief = self.dice.choice((0.0, 0.0, 0.5, 1.0))
        journal_fails = self.dice.choice((0.0, 0.0, 0.0, 0.05, 0.15))
        centre_fails = dict.fromkeys(self.dice.sample(CALLS, 2), self.dice.choice((0.0, 0.0, 0.4)))

        async def failing_commit(*entry: Any) -> Any:
            if self.strikes(journal_fails):
                raise JournalUnavailable("full")
            result = await commit(*entry)
            if self.strikes(journal_fails / 2):
                raise JournalUnavailable("synced, and nobody was told")
            return result

        async def failing_call(method: str, *about: str | int) -> Any:
            chance = centre_fails.get(method, 0.0)
            if self.strikes(chance):
                raise CentralUnavailable(self.dice.choice(("deadline", "internal")))
            if self.strikes(chance):
                await self.clock.sleep(self.dice.choice((1.0, 8.0)))
            return await call(method, *about)

        def failing_answer(method: str, value: Any) -> Any:
            if self.strikes(centre_fails.get(method, 0.0)):
                raise CentralUnavailable("deadline")
            return answer(method, value)

        kiosk.journal._commit = failing_commit  # type: ignore[method-assign, assignment]
        kiosk.central._call = failing_call  # type: ignore[method-assign]
        kiosk.central._answer = failing_answer  # type: ignore[method-assign, assignment]
        for commands in self.dice.choice(((), (THE_CHANGE,), (THE_CHANGE,), (THE_CHANGE, WHOLE_RESET, WHOLE_RESET))):
            kiosk.reader.plan(self.dice.choice(commands), self.dice.choice(list(Fault)))


class Wanderer(Citizen):
    """Does what a view asks for, mostly."""

    def __init__(self, kiosk: Kiosk, storm: Storm, attempt_id: str, card: Watched, other: SimulatedCard) -> None:
        self.kiosk = kiosk
        self.storm = storm
        self.attempt_id = attempt_id
        self.mine: SimulatedCard = card
        self.other = other
        self.new = f"NEWPASS{len(storm.chosen)}".encode()
        storm.chosen[attempt_id] = self.new

    async def go(self, session: Session, patience: int) -> View | None:
        """Go through the attempt; None when the power is cut, after so many views."""
        dice, reader, seen = self.storm.dice, self.kiosk.reader, 0
        async with asyncio.timeout(PATIENCE_S):
            while session.view.shown.state is not State.FINISHED:
                number = session.view.number
                if number != seen:
                    seen = number
                    if seen > patience:
                        return None
                    self.answer(session, session.view)
                await asyncio.sleep(LULL_S / 4)
                if session.view.number != seen:
                    continue
                if reader.state.problem is not None and dice.random() < 0.3:
                    reader.restore()
                if reader.is_mute and dice.random() < 0.1:
                    reader.answer()
                if session.view.shown.card_request is not CardRequest.NONE and dice.random() < 0.2:
                    self.handle_card(session.view.shown.card_request)
                await self.kiosk.clock.advance(dice.choice((0.1, 1.0, 3.0, 15.0)))
        return session.view

    def handle_card(self, request: CardRequest) -> None:
        reader = self.kiosk.reader
        if request is CardRequest.LIFT and reader.card is not None:
            reader.remove()
        elif request in (CardRequest.PLACE, CardRequest.PLACE_SAME) and reader.card is None:
            reader.insert(self.other if self.storm.tempts(0.05) else self.mine)

    @staticmethod
    def is_asked_once_more(view: View) -> bool:
        """Whether the card was lifted, or failed, when it was to be changed: who leaves now leaves a claim behind."""
        asked = view.shown.card_request in (CardRequest.LIFT, CardRequest.PLACE_SAME)
        return asked and view.shown.state in (State.AUTHORIZING, State.RESOLVING)

    def answer(self, session: Session, view: View) -> None:
        storm, shown, reader = self.storm, view.shown, self.kiosk.reader
        if storm.tempts(0.02):
            session.submit_cancel(view.number)
        if storm.strikes(0.3 if self.is_asked_once_more(view) else 0.01):
            session.tell(ClientGone())
        if storm.tempts(0.01):
            self.kiosk.manager.drain()
        if storm.tempts(0.02) and reader.state.problem is None:
            reader.lose_service()
        if storm.tempts(0.02):
            session.submit_more_time(view.number)
        if storm.tempts(0.03) and reader.card is not None:
            reader.remove()
        if storm.tempts(0.02) and reader.card is not None:
            reader.insert(self.other if reader.remove() is self.mine else self.mine)
        if storm.tempts(0.05):
            return
        if shown.card_request is not CardRequest.NONE:
            self.handle_card(shown.card_request)
        elif shown.state is State.ENTER_USER_PIN and not shown.busy:
            storm.presses += 1
            pin = b"0000" if storm.tempts(0.1) else PIN
            for _ in range(2 if storm.tempts(0.2) else 1):
                session.submit_user_pin(view.number, pin, last_try_confirmed=shown.user_pin_tries == 1)
        elif shown.state is State.ENTER_NEW_PASSWORD:
            session.submit_new_password(view.number, self.new)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + STORMS))
async def test_a_storm(
    tmp_path: Path, cards: tuple[MadeCard, MadeCard], factory: CardFactory, master_key: bytes, seed: int
) -> None:
    dice = random.Random(seed)
    mine, other = cards
    for made in cards:
        for reference in made.link.card.memory.references():
            reference.value, reference.tries = VALUES[reference.name]
    centre = FakeCentral(FakeClock(), master_key)
    assert isinstance(centre.clock, FakeClock)
    storm = Storm(dice, centre.clock)
    reservation = centre.reserve(centre.register(mine.entry), in_doubt=dice.random() < 0.1)
    centre.register(other.entry)
    card, others = Watched(mine), Watched(other)
    for life in range(dice.choice((1, 2, 3))):
        at_kiosk = centre.seen_by(centre._kiosk)
        async with Kiosk.running(tmp_path, factory, master_key, central=at_kiosk) as kiosk:
            storm.over(kiosk)
            for number in range(dice.choice((1, 2))):
                opened = await kiosk.manager.open(attempt_id := f"{life}-{number}")
                citizen = Wanderer(kiosk, storm, attempt_id, card, others)
                last = (
                    opened
                    if isinstance(opened, View)
                    else await citizen.go(opened, dice.choice((dice.randint(6, 20), 99, 99)))
                )
                if last is None:
                    break
                assert last.shown.outcome is not None
                storm.shown[attempt_id] = last.shown.outcome
                if last.shown.outcome is Outcome.DONE:
                    assert card.password == citizen.new
                if last.shown.outcome is Outcome.NOT_DONE:
                    assert citizen.new not in card.passwords
    storm.calm = True
    async with Kiosk.running(tmp_path, factory, master_key, central=centre.seen_by(centre._kiosk)) as kiosk:
        await check(kiosk, storm, card, reservation)
    assert card.verifications + others.verifications <= storm.presses
    assert others.passwords == [VALUES[ReferenceName.SIGNING_PASSWORD][0]]


async def check(kiosk: Kiosk, storm: Storm, card: Watched, reservation: str) -> None:
    """Hold the journal and the centre against the card, once everything was told and the centre's patience is over."""
    await kiosk.settled()
    await kiosk.clock.advance(SILENCE_S)
    await kiosk.resolution.ask()
    state = ReservationState(kiosk.central.state(reservation).value)
    changed = len(card.passwords) > 1
    assert not changed or state in NEVER_FREE, "the card is changed, and the reservation is free again"
    assert changed or state is not ReservationState.USED, "the reservation is used, and the card is not changed"
    for attempt_id, new in storm.chosen.items():
        record = await kiosk.journal.attempt(attempt_id)
        if record is None:
            assert new not in card.passwords
            continue
        assert record.outcome is not None
        assert record.outcome != "done" or new in card.passwords
        assert record.outcome != "not_done" or new not in card.passwords
        assert record.resolution != "done" or changed
        assert record.resolution != "not_done" or not changed
        shown = storm.shown.get(attempt_id)
        assert shown is None or record.outcome in (shown.name.lower(), "unknown")
        if shown is Outcome.DONE:
            assert (record.resolution or record.outcome) == "done"


VALUES: dict[ReferenceName, tuple[bytes, int]] = {}


@pytest.fixture(scope="module")
def cards(factory: CardFactory) -> tuple[MadeCard, MadeCard]:
    """Mine and another's; made once, because making them takes the time."""
    made = factory.make(FakeClock().now()), factory.make(FakeClock().now())
    for reference in made[0].link.card.memory.references():
        VALUES[reference.name] = (reference.value, reference.tries)
    return made
