"""What every reader port must do: run over the fake reader here, and over PC/SC in tests/integration."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

import pytest

from gatewayd.errors import (
    CardAbsent,
    DeadlineExceeded,
    LinkEnded,
    LinkError,
    ReaderHeld,
    ServiceLost,
    TransmitFailed,
)
from gatewayd.reader.port import Connection, Link, ReaderPort, ReaderProblem, ReaderState
from tests.fakes.faults import Exchange, Fault, SimulatedCard

BUDGET_S = 5.0
SHORT_BUDGET_S = 0.3
FIRST, SECOND, THIRD = (bytes((0, 0xA4, 0, number)) for number in range(3))
OK = b"\x90\x00"


class Stage(Protocol):
    """A reader and what happens to it. Faults are planned by the number of the command, 1 being the next."""

    @property
    def reader(self) -> ReaderPort: ...

    @property
    def exchanges(self) -> list[Exchange]: ...

    @property
    def resets(self) -> int: ...

    @property
    def is_mute(self) -> bool: ...

    async def insert(self, card: SimulatedCard) -> None: ...

    async def remove(self) -> None: ...

    def plan(self, number: int, fault: Fault) -> None: ...

    def answer(self) -> None: ...

    def hold(self) -> None: ...

    def restore_service(self) -> None: ...


@dataclass
class Echo:
    """A card that answers 9000 and remembers whether it was reset since its last command."""

    name: str = "echo"
    fresh: bool = True
    powered: bool = False
    seen: list[bytes] = field(default_factory=list)

    def power_on(self) -> bytes:
        self.fresh = self.powered = True
        return b""

    def power_off(self) -> None:
        self.fresh, self.powered = True, False

    def reset(self) -> None:
        self.fresh = True

    def transmit(self, apdu: bytes) -> bytes:
        self.fresh = False
        self.seen.append(apdu)
        return self.name.encode() + OK


async def until(reader: ReaderPort, *, present: bool, problem: ReaderProblem | None = None) -> ReaderState:
    async with asyncio.timeout(8):
        state = reader.state
        while state.card_present is not present or state.problem is not problem:
            state = await reader.changed(state)
        return state


async def placed(stage: Stage, card: Echo | None = None) -> Echo:
    card = card or Echo()
    await stage.insert(card)
    await until(stage.reader, present=True)
    return card


async def send(connection: Connection, *commands: bytes, last: bool = False, budget_s: float = BUDGET_S) -> bytes:
    def job(link: Link) -> bytes:
        return [link.transmit(command) for command in commands][-1]

    return await connection.run(job, budget_s=budget_s, last=last)


async def works(stage: Stage) -> bool:
    return (await send(stage.reader.connection(), FIRST, last=True)).endswith(OK)


async def muted(stage: Stage) -> None:
    async with asyncio.timeout(5):
        while not stage.is_mute:
            await asyncio.sleep(0.005)


class ReaderContract:
    """The suite. A subclass gives the fixture `stage`, without a card at the start."""

    # Presence

    async def test_presence_and_every_insertion_are_told(self, stage: Stage) -> None:
        before = await until(stage.reader, present=False)
        assert before.name == "Kiosk 00 00"
        await stage.insert(Echo())
        lying = await until(stage.reader, present=True)
        assert lying.insertions == before.insertions + 1
        await stage.remove()
        gone = await until(stage.reader, present=False)
        assert gone.insertions == lying.insertions
        assert await stage.reader.changed(lying) == gone

    # Jobs and connections

    async def test_job_runs_whole_and_its_value_comes_back(self, stage: Stage) -> None:
        card = await placed(stage)
        assert await send(stage.reader.connection(), FIRST, SECOND) == b"echo" + OK
        assert card.seen == [FIRST, SECOND]

    async def test_connection_keeps_the_cards_state_until_it_is_closed(self, stage: Stage) -> None:
        card = await placed(stage)
        connection = stage.reader.connection()
        await send(connection, FIRST)
        await send(connection, SECOND)
        assert not card.fresh
        await connection.close()
        assert card.fresh
        await connection.close()

    async def test_last_job_ends_the_connection_with_a_reset_before_it_returns(self, stage: Stage) -> None:
        card = await placed(stage)
        connection = stage.reader.connection()
        resets = stage.resets
        await send(connection, FIRST, last=True)
        assert stage.resets == resets + 1
        assert card.fresh
        with pytest.raises(LinkEnded):
            await send(connection, SECOND)
        assert card.seen == [FIRST]

    async def test_job_may_reset_the_card_and_go_on(self, stage: Stage) -> None:
        card = await placed(stage)

        def job(link: Link) -> bool:
            link.transmit(FIRST)
            link.reset()
            was_fresh = card.fresh
            link.transmit(SECOND)
            return was_fresh

        assert await stage.reader.connection().run(job, budget_s=BUDGET_S, last=True)
        assert card.seen == [FIRST, SECOND]

    async def test_what_a_job_raises_comes_back_and_ends_the_connection(self, stage: Stage) -> None:
        card = await placed(stage)
        connection = stage.reader.connection()

        def job(link: Link) -> None:
            link.transmit(FIRST)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await connection.run(job, budget_s=BUDGET_S)
        assert card.fresh
        with pytest.raises(LinkEnded):
            await send(connection, SECOND)

    async def test_newer_connection_ends_the_older(self, stage: Stage) -> None:
        card = await placed(stage)
        older, newer = stage.reader.connection(), stage.reader.connection()
        await send(older, FIRST)
        await send(newer, SECOND)
        with pytest.raises(LinkEnded):
            await send(older, THIRD)
        await newer.close()
        assert card.seen == [FIRST, SECOND]

    async def test_unused_connection_closes(self, stage: Stage) -> None:
        connection = stage.reader.connection()
        await connection.close()
        with pytest.raises(LinkEnded):
            await send(connection, FIRST)

    # Obstacles

    async def test_without_a_card_nothing_is_sent(self, stage: Stage) -> None:
        connection = stage.reader.connection()
        with pytest.raises(CardAbsent):
            await send(connection, FIRST)
        with pytest.raises(LinkEnded):
            await send(connection, FIRST)
        assert not stage.exchanges

    async def test_foreign_holder_is_an_error_and_not_a_wait_for_ever(self, stage: Stage) -> None:
        await placed(stage)
        stage.hold()
        with pytest.raises(ReaderHeld):
            await send(stage.reader.connection(), FIRST)
        assert not stage.exchanges

    # A card that leaves

    @pytest.mark.parametrize("fault", [Fault.TORN_BEFORE, Fault.TORN_AFTER])
    async def test_torn_card_fails_the_job_and_ends_the_connection(self, stage: Stage, fault: Fault) -> None:
        card = await placed(stage)
        connection = stage.reader.connection()
        stage.plan(2, fault)
        with pytest.raises(TransmitFailed):
            await send(connection, FIRST, SECOND, THIRD)
        assert not stage.reader.state.card_present, "the lift is told before the failure"
        assert card.seen == [FIRST, SECOND][: 1 + (fault is Fault.TORN_AFTER)]
        with pytest.raises(LinkEnded):
            await send(connection, FIRST)
        with pytest.raises(CardAbsent):
            await send(stage.reader.connection(), FIRST)
        await until(stage.reader, present=False)
        await placed(stage)
        assert await works(stage)

    async def test_after_a_failure_the_link_sends_nothing_and_the_jobs_own_verdict_counts(self, stage: Stage) -> None:
        card = await placed(stage)
        connection = stage.reader.connection()
        stage.plan(1, Fault.TORN_AFTER)

        def job(link: Link) -> list[type[LinkError]]:
            met = []
            for command in (FIRST, SECOND):
                try:
                    link.transmit(command)
                except LinkError as error:
                    met.append(type(error))
            return met

        assert await connection.run(job, budget_s=BUDGET_S) == [TransmitFailed, LinkEnded]
        assert card.seen == [FIRST]
        with pytest.raises(LinkEnded):
            await send(connection, THIRD)

    async def test_failed_card_that_was_never_missed_must_be_lifted(self, stage: Stage) -> None:
        card = await placed(stage)
        stage.plan(1, Fault.SLIPPED_AFTER)
        with pytest.raises(TransmitFailed):
            await send(stage.reader.connection(), FIRST)
        assert stage.reader.state.card_present
        with pytest.raises(CardAbsent):
            await send(stage.reader.connection(), SECOND)
        assert card.seen == [FIRST]
        await stage.remove()
        await until(stage.reader, present=False)
        await placed(stage)
        assert await works(stage)

    async def test_card_lifted_between_two_jobs_gets_nothing(self, stage: Stage) -> None:
        card = await placed(stage)
        connection = stage.reader.connection()
        await send(connection, FIRST)
        await stage.remove()
        with pytest.raises(TransmitFailed):
            await send(connection, SECOND)
        with pytest.raises(LinkEnded):
            await send(connection, SECOND)
        assert card.seen == [FIRST]

    async def test_another_card_never_hears_the_old_connection(self, stage: Stage) -> None:
        card = await placed(stage)
        connection = stage.reader.connection()
        await send(connection, FIRST)
        await stage.remove()
        await until(stage.reader, present=False)
        other = await placed(stage, Echo("other"))
        with pytest.raises(TransmitFailed):
            await send(connection, SECOND)
        assert (card.seen, other.seen) == ([FIRST], [])
        assert await works(stage)

    # Time

    async def test_job_that_is_over_sends_nothing(self, stage: Stage) -> None:
        card = await placed(stage)
        with pytest.raises(DeadlineExceeded):
            await send(stage.reader.connection(), FIRST, budget_s=0)
        assert not card.seen
        assert await works(stage)

    async def test_mute_card_is_not_waited_for_and_its_late_value_is_told(self, stage: Stage) -> None:
        card = await placed(stage)
        connection = stage.reader.connection()
        stage.plan(1, Fault.MUTE_AFTER)
        late: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()

        def job(link: Link) -> list[object]:
            said: list[object] = [link.transmit(FIRST)]
            try:
                link.transmit(SECOND)
            except LinkError as error:
                said.append(type(error))
            return said

        with pytest.raises(DeadlineExceeded):
            await connection.run(job, budget_s=SHORT_BUDGET_S, late=late.set_result)
        assert stage.reader.state.problem is ReaderProblem.READER_STUCK
        with pytest.raises(LinkEnded):
            await send(connection, THIRD)
        with pytest.raises(DeadlineExceeded):
            await send(stage.reader.connection(), THIRD, budget_s=SHORT_BUDGET_S)
        stage.answer()
        assert await asyncio.wait_for(late, 5) == [b"echo" + OK, DeadlineExceeded]
        await until(stage.reader, present=True)
        assert card.seen == [FIRST]
        assert await works(stage)

    async def test_mute_card_lets_go_when_it_is_lifted(self, stage: Stage) -> None:
        await placed(stage)
        stage.plan(1, Fault.MUTE_AFTER)
        late: list[bytes] = []
        with pytest.raises(DeadlineExceeded):
            await stage.reader.connection().run(
                lambda link: link.transmit(FIRST), budget_s=SHORT_BUDGET_S, late=late.append
            )
        await stage.remove()
        await until(stage.reader, present=False)
        await placed(stage)
        assert await works(stage)
        assert not late

    async def test_cancelled_job_sends_nothing_further(self, stage: Stage) -> None:
        card = await placed(stage)
        stage.plan(2, Fault.MUTE_AFTER)
        late: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        connection = stage.reader.connection()

        def job(link: Link) -> bytes:
            link.transmit(FIRST)
            answer = link.transmit(SECOND)
            with pytest.raises(DeadlineExceeded):
                link.transmit(THIRD)
            return answer

        running = asyncio.ensure_future(connection.run(job, budget_s=BUDGET_S, late=late.set_result))
        await muted(stage)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.raises(LinkEnded):
            await send(connection, THIRD)
        stage.answer()
        assert await asyncio.wait_for(late, 5) == b"echo" + OK
        assert card.seen == [FIRST, SECOND]
        assert await works(stage)

    # The service

    @pytest.mark.parametrize("fault", [Fault.SERVICE_LOST_BEFORE, Fault.SERVICE_LOST_AFTER])
    async def test_lost_service_fails_the_job_and_heals_by_itself(self, stage: Stage, fault: Fault) -> None:
        card = await placed(stage)
        insertions = stage.reader.state.insertions
        connection = stage.reader.connection()
        stage.plan(1, fault)
        with pytest.raises(ServiceLost):
            await send(connection, FIRST, SECOND)
        assert card.seen == [FIRST][: fault is Fault.SERVICE_LOST_AFTER]
        await until(stage.reader, present=False, problem=ReaderProblem.PCSC_UNAVAILABLE)
        with pytest.raises(LinkEnded):
            await send(connection, FIRST)
        with pytest.raises(ServiceLost):
            await send(stage.reader.connection(), FIRST)
        stage.restore_service()
        async with asyncio.timeout(5):
            back = await until(stage.reader, present=True)
        assert back.insertions > insertions  # nobody can know whether it is the same card
        assert await works(stage)
