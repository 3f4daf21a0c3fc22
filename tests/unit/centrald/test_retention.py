"""What is over is forgotten in time, all of it; what may still matter is not."""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import replace

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import given, settings

from centrald.cli.purge import purge as purge_command
from centrald.config import Storage
from centrald.errors import OutOfOrder, StorageFailed
from centrald.rules.model import (
    SILENCE,
    VALIDITY,
    CertificateId,
    FaceMatch,
    Procedure,
    Reservation,
    State,
    Write,
    WriteStatus,
)
from centrald.rules.reservation import state_of
from centrald.rules.retention import KEEP, OVER, forgettable
from centrald.service import purge as purge_module
from centrald.service.purge import CHORE, Purge
from centrald.storage import schema
from centrald.storage.database import Database
from centrald.storage.ledger import Event
from centrald.storage.retention import Retention
from tests.unit.centrald.world import KIOSK, World, minutes, new_id

START = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)
HOUR = datetime.timedelta(hours=1)
OVER_AT = START + VALIDITY + KEEP


def having(*statuses: WriteStatus, closed: State | None = None) -> Reservation:
    writes = tuple(Write("a", n, status, START) for n, status in enumerate(statuses, 1))
    certificate = CertificateId("aa", "1")
    made = Reservation(
        "r",
        certificate,
        Procedure.SIGNING_PASSWORD,
        START,
        START + VALIDITY,
        FaceMatch.NOT_PERFORMED,
        bytes(32),
        b"",
    )
    return replace(made, writes=writes, closed=closed)


@pytest.mark.parametrize(
    ("reservation", "over"),
    [
        (having(), True),
        (having(WriteStatus.NOT_DONE), True),
        (having(WriteStatus.VOID), True),
        (having(WriteStatus.NOT_GENUINE), True),
        (having(WriteStatus.DONE), True),
        (having(WriteStatus.UNKNOWN, WriteStatus.DONE), True),
        (having(closed=State.REPLACED), True),
        (having(WriteStatus.OPEN), False),
        (having(WriteStatus.UNKNOWN), False),
        (having(WriteStatus.UNPROVEN), False),
        (having(WriteStatus.UNKNOWN, WriteStatus.NOT_DONE), False),
        (having(WriteStatus.UNKNOWN, closed=State.CLOSED_UNKNOWN), False),
        (having(WriteStatus.DONE, closed=State.CLOSED_UNKNOWN), True),
    ],
)
def test_what_may_be_forgotten(reservation: Reservation, over: bool) -> None:
    assert forgettable(reservation, OVER_AT, KEEP) is over
    assert not forgettable(reservation, OVER_AT - SECOND, KEEP)


@given(
    st.lists(st.sampled_from(WriteStatus), max_size=3),
    st.sampled_from([None, State.REPLACED, State.CLOSED_UNKNOWN]),
    st.timedeltas(min_value=datetime.timedelta(), max_value=2 * KEEP),
)
@settings(derandomize=True, database=None)
def test_doubt_is_never_forgotten(statuses: list[WriteStatus], closed: State | None, later: datetime.timedelta) -> None:
    reservation = having(*statuses, closed=closed)
    if forgettable(reservation, START + later, KEEP):
        assert state_of(reservation, START + later) in OVER
        assert later >= KEEP + VALIDITY


async def rows_of(world: World) -> dict[str, int]:
    tables = (schema.reservation, schema.attempt, schema.write, schema.report)
    async with world.database.transaction() as tx:
        return {
            table.name: (await tx._connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()
            for table in tables
        }


async def purge(world: World, limit: int = 100) -> int:
    async with world.database.transaction() as tx:
        return await tx.retention.forget(KEEP, limit)


async def test_what_is_over_goes_and_the_ledger_stays(world: World) -> None:
    card, other = await world.card(), await world.card()
    await world.reserved(card)
    used = await world.checked(card)
    await used.done(await used.write(card))
    await used.release()
    doubtful = await world.reserved(other)
    unknown = await world.checked(other)
    await unknown.authorized(other)
    await unknown.unknown()
    await world.kiosks.release(KIOSK, new_id())  # a tombstone
    ledger, before = await world.ledger(), await rows_of(world)
    assert before == {"reservation": 2, "attempt": 3, "write": 2, "report": 2}
    world.clock.advance(VALIDITY + KEEP - minutes(1))
    assert await purge(world) == 1  # the tombstone: its time began with the release
    world.clock.advance(minutes(1))
    assert await purge(world) == 1
    assert await purge(world) == 0
    assert await rows_of(world) == {"reservation": 1, "attempt": 1, "write": 1, "report": 1}
    assert await world.ledger() == ledger
    assert await world.state(doubtful) is State.IN_DOUBT
    with pytest.raises(OutOfOrder, match="unknown attempt"):
        await used.not_done(2)


async def test_a_batch_has_its_limit(world: World) -> None:
    for _ in range(5):
        await world.reserved(await world.card())
    world.clock.advance(VALIDITY + KEEP)
    assert [await purge(world, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_an_authorized_write_nobody_reports_is_kept(world: World) -> None:
    card, reservation, attempt = await world.ready()
    await attempt.authorized(card)
    world.clock.advance(VALIDITY + KEEP + SILENCE)
    assert await purge(world) == 0
    assert await world.state(reservation) is State.IN_DOUBT


async def test_one_of_several_services_forgets_once_in_a_while(world: World) -> None:
    other = Database.open(world.storage_url, world.directory, world.clock)
    counted: list[int] = []
    services = [Purge(database, KEEP, HOUR, counted.append) for database in (world.database, other)]
    await world.kiosks.release(KIOSK, new_id())
    world.clock.advance(KEEP)
    assert sorted(await asyncio.gather(*(one.turn() for one in services))) == [False, True]
    assert counted == [1]
    (noted,) = [one for one in await world.ledger() if one.event is Event.PURGED]
    assert noted.detail == "1 reservations or attempts"
    assert [await one.turn() for one in services] == [False, False]
    world.clock.advance(HOUR)
    assert [await services[1].turn(), await services[0].turn(), counted] == [True, False, [1, 0]]
    assert len([one for one in await world.ledger() if one.event is Event.PURGED]) == 1, "nothing was forgotten"
    async with world.database.transaction() as tx:
        assert await tx.chores.last_done(CHORE) == world.clock.now()
    await other.close()


async def test_a_service_that_dies_at_it_is_followed_by_another(world: World) -> None:
    counted: list[int] = []
    async with world.database.transaction() as tx:
        assert await tx.chores.claim(CHORE, HOUR, minutes(10))
    other = Purge(world.database, KEEP, HOUR, counted.append)
    assert not await other.turn()
    world.clock.advance(minutes(10))
    assert await other.turn()


async def test_a_service_forgets_by_itself_and_outlives_a_database_that_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_module, "LOOK_SECONDS", 0.001)
    failures, forgotten, gone = 2, Retention.forget, asyncio.Event()

    async def forget(self: Retention, keep: datetime.timedelta, limit: int) -> int:
        nonlocal failures
        if failures:
            failures -= 1
            world.clock.advance(minutes(10))  # its claim ends
            raise StorageFailed("away") if failures else ZeroDivisionError
        return await forgotten(self, keep, limit)

    monkeypatch.setattr(Retention, "forget", forget)
    await world.kiosks.release(KIOSK, new_id())
    world.clock.advance(KEEP)
    running = asyncio.create_task(Purge(world.database, KEEP, HOUR, lambda _: gone.set()).run())
    async with asyncio.timeout(10):
        await gone.wait()
    running.cancel()
    assert (await rows_of(world))["attempt"] == 0


async def test_what_may_be_forgotten_is_found_by_index(world: World) -> None:
    """Not by looking at every reservation and attempt there is."""
    explain = "EXPLAIN QUERY PLAN" if world.storage_url == Storage().url else "EXPLAIN"
    asked = {
        "ix_reservation_expires_at": "reservation WHERE expires_at <= CURRENT_TIMESTAMP ORDER BY expires_at",
        "ix_attempt_loose": "attempt WHERE reservation_id IS NULL AND begun_at <= CURRENT_TIMESTAMP ORDER BY begun_at",
    }
    async with world.database.transaction() as tx:
        if explain == "EXPLAIN":
            await tx._connection.execute(sa.text("SET LOCAL enable_seqscan = off"))  # so few rows are looked at all
        for index, query in asked.items():
            found = (await tx._connection.execute(sa.text(f"{explain} SELECT id FROM {query}"))).all()
            assert index in str(found) or "USING INDEX ix_attempt_reservation_id" in str(found)  # SQLite's choice


@pytest.mark.parametrize("storage_url", ["sqlite"], indirect=True)
async def test_the_command_says_how_many_it_forgot(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.clock.time = datetime.datetime.now(datetime.UTC) - VALIDITY - KEEP
    await world.kiosks.release(KIOSK, new_id())
    for days, gone in ((KEEP.days + 2, 0), (KEEP.days, 1), (KEEP.days, 0)):
        await asyncio.to_thread(purge_command, world.directory, days, as_json=True)
        assert capsys.readouterr().out == f'{{"forgotten": {gone}}}\n'
