"""Two central services on one PostgreSQL: races, a rolling restart, a death between commit and answer."""

from __future__ import annotations

import asyncio
import collections
import datetime
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from jpkireset.central.v1 import common_pb2

from centrald.config import CONFIG_NAME, template
from centrald.initialize import initialize
from centrald.rules.model import KioskId
from centrald.storage.database import Database
from centrald.storage.ledger import Entry
from tests.rig.parts import Centrald
from tests.rig.postgres import Postgres
from tests.rig.site import Site
from tests.rig.swarm import Figures, SoftCard, Visitor, issue, patient

KIOSKS = [KioskId("c", "s", f"k{number}") for number in range(8)]
EVENTS = ("reserved", "begun", "checked", "authorized", "reported", "released")
CALLS = ("GetChallenge", "CreateReservation", "GetServiceStatus", "BeginAttempt", "CheckReservation",
         "AuthorizeReset", "ReportOutcome", "ReleaseAttempt")  # fmt: skip


@pytest.fixture(scope="module")
def initialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fleet") / "central"
    initialize(directory, ["localhost", "127.0.0.1"], always_open=True)
    return directory


@pytest.fixture(scope="module")
def cards(initialized: Path) -> list[SoftCard]:
    return issue(initialized, 12, datetime.datetime.now(datetime.UTC))


class Dying(Centrald):
    """A service that dies between commit and answer."""

    died_after = 0

    def command(self) -> Sequence[str | Path]:
        """See `Part`."""
        return [sys.executable, "-m", "tests.rig.dying_central", self.site.central, str(self.died_after)]


class Fleet:
    """Services, each in a directory of its own, on one database."""

    def __init__(self, directory: Path, initialized: Path, url: str, cards: list[SoftCard]) -> None:
        self._directory = directory
        self._initialized = initialized
        self._url = url
        self.cards = cards
        self.database = Database.open(url, directory)
        self.centres: list[Centrald] = []
        self.figures = Figures()
        self.visitors: list[Visitor] = []

    async def prepare(self) -> None:
        await self.database.migrate()
        async with self.database.transaction() as tx:
            for kiosk in KIOSKS:
                await tx.fleet.add(kiosk)
            for card in self.cards:
                await tx.save_card(card.entry, new=True)

    def add(self, kind: type[Centrald] = Centrald) -> Centrald:
        site = Site(self._directory / f"{len(self.centres)}")
        shutil.copytree(self._initialized, site.central)
        (site.central / CONFIG_NAME).write_text(patient(template(always_open=True, storage_url=self._url)))
        centre = kind(site, log=site.directory / "log")
        self.centres.append(centre)
        return centre

    def start(self, count: int) -> None:
        for _ in range(count):
            self.add().launch()
        for centre in self.centres:
            centre.wait_ready()

    def visitor(self, number: int, *centres: Centrald) -> Visitor:
        """Connect a kiosk; it prefers the first centre."""
        kiosks, phones = [one.kiosk_address for one in centres], [one.phone_address for one in centres]
        made = Visitor(self._initialized, KIOSKS[number], kiosks, phones, self.figures)
        self.visitors.append(made)
        return made

    async def ledger(self) -> list[Entry]:
        async with self.database.transaction() as tx:
            return await tx.entries(100_000)

    async def close(self) -> None:
        for visitor in self.visitors:
            await visitor.close()
        await self.database.close()
        for centre in self.centres:
            centre.kill()


@pytest.fixture
async def fleet(initialized: Path, cards: list[SoftCard], tmp_path: Path, postgres: Postgres) -> AsyncIterator[Fleet]:
    made = Fleet(tmp_path, initialized, postgres.url(postgres.create()), cards)
    await made.prepare()
    yield made
    await made.close()


async def test_of_200_racers_for_one_reservation_one_is_authorized(fleet: Fleet) -> None:
    fleet.start(2)
    first, second = fleet.centres
    visitors = [fleet.visitor(n, *((first, second) if n % 2 else (second, first))) for n in range(8)]
    card = fleet.cards[0]
    await visitors[0].reserve(card)
    racers = visitors * 25
    checked = await asyncio.gather(*(one.check(card) for one in racers))
    asked = [(attempt, card.answer(check.host_challenges[0])[0]) for attempt, check in checked]
    race = zip(racers, asked, strict=True)
    given = await asyncio.gather(*(one.authorize(*words) for one, words in race))
    won = [words for words, answer in zip(asked, given, strict=True) if not answer.refusal]
    lost = [answer.refusal for answer in given if answer.refusal]
    assert len(won) == 1
    assert lost == [common_pb2.REFUSAL_SUPERSEDED] * 199
    winner = racers[asked.index(won[0])]
    again = await asyncio.gather(*(winner.authorize(*won[0]) for _ in range(50)))
    assert all(answer == again[0] for answer in again)
    events = collections.Counter(entry.event.value for entry in await fleet.ledger())
    assert (events["begun"], events["checked"], events["authorized"]) == (200, 200, 1)


async def test_a_rolling_restart_fails_no_attempt(fleet: Fleet) -> None:
    fleet.start(2)
    first, second = fleet.centres
    stop = asyncio.Event()

    async def keep_on(visitor: Visitor, card: SoftCard) -> int:
        done = 0
        while not stop.is_set():
            await visitor.reserve(card)
            await visitor.reset(card)
            done += 1
        return done

    visitors = [fleet.visitor(n, *((first, second) if n % 2 else (second, first))) for n in range(6)]
    work = [asyncio.create_task(keep_on(*pair)) for pair in zip(visitors, fleet.cards, strict=False)]
    for centre in (first, second):
        await asyncio.to_thread(centre.stop)
        fleet.figures.milliseconds.clear()
        async with asyncio.timeout(20):
            while len(fleet.figures.milliseconds["ReleaseAttempt"]) < 10:  # the other one carries all
                await asyncio.sleep(0.01)
        centre.start()
    stop.set()
    done = await asyncio.gather(*work)
    assert min(done) > 0
    events = collections.Counter(entry.event.value for entry in await fleet.ledger())
    assert {event: events[event] for event in EVENTS} == dict.fromkeys(EVENTS, sum(done))


async def test_a_death_between_commit_and_answer_is_made_good_by_the_repeat(fleet: Fleet) -> None:
    fleet.start(1)
    (survivor,) = fleet.centres
    for number in range(len(CALLS)):
        dying = fleet.add(Dying)
        assert isinstance(dying, Dying)
        dying.died_after = number + 1
        dying.launch()
    doomed = fleet.centres[1:]
    for number, (dying, card) in enumerate(zip(doomed, fleet.cards, strict=False)):
        dying.wait_ready()
        visitor = fleet.visitor(number % len(KIOSKS), dying, survivor)
        repeats = fleet.figures.repeats
        await visitor.reserve(card)
        await visitor.reset(card)
        assert fleet.figures.repeats > repeats, CALLS[number]
        assert not dying.running
    events = collections.Counter(entry.event.value for entry in await fleet.ledger())
    assert {event: events[event] for event in EVENTS} == dict.fromkeys(EVENTS, len(CALLS))
