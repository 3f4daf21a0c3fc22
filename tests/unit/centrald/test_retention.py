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
from centrald.errors import OutOfOrder
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
from centrald.storage import schema
from tests.unit.centrald.world import KIOSK, World, minutes, new_id

START = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)
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
    card = await world.card()
    reservation = await world.reserved(card)
    attempt = await world.checked(card)
    await attempt.authorized(card)
    world.clock.advance(VALIDITY + KEEP + SILENCE)
    assert await purge(world) == 0
    assert await world.state(reservation) is State.IN_DOUBT


@pytest.mark.parametrize("storage_url", ["sqlite"], indirect=True)
async def test_the_command_says_how_many_it_forgot(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.clock.time = datetime.datetime.now(datetime.UTC) - VALIDITY - KEEP
    await world.kiosks.release(KIOSK, new_id())
    for days, gone in ((KEEP.days + 2, 0), (KEEP.days, 1), (KEEP.days, 0)):
        await asyncio.to_thread(purge_command, world.directory, days, as_json=True)
        assert capsys.readouterr().out == f'{{"forgotten": {gone}}}\n'
