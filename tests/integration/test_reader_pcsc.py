"""What the real stack does to a reader that lives long: each test is a trap that was met, measured or read of."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gatewayd.errors import DeadlineExceeded, ReaderHeld
from gatewayd.reader import pcsc
from gatewayd.reader.port import ReaderProblem
from gatewayd.reader.timing import Timing
from tests.contract.reader_contract import FIRST, OK, Echo, placed, send, until, works
from tests.integration.pcsc_stage import TIMING, PcscStage, pcsc_stage
from tests.rig.ghost import haunt
from tests.rig.pcscd import KIOSK, PrivatePcscd

RECOVERY_S = 5.0
HEALING_S = 5.0
CYCLES = 200


@pytest.fixture
async def stage(private_pcscd: PrivatePcscd) -> AsyncIterator[PcscStage]:
    async with pcsc_stage(private_pcscd) as stage:
        await until(stage.reader, present=False)
        yield stage


async def resting(card: Echo) -> None:
    """Wait until pcscd has powered an unused card off, about a second after its last use."""
    async with asyncio.timeout(5):
        while card.powered:
            await asyncio.sleep(0.02)


async def test_swap_between_two_polls_counts_as_an_insertion(stage: PcscStage) -> None:
    """Of a resting card, that is: a swap within a second of its last use can go unseen by pcscd 1.9.9 and vpcd.

    So the count informs, and each connection identifies the card.
    """
    card = await placed(stage)
    before = stage.reader.state.insertions
    await resting(card)
    await stage.remove()
    await stage.insert(Echo("other"))
    async with asyncio.timeout(5):
        state = stage.reader.state
        while state.insertions == before or not state.card_present:
            state = await stage.reader.changed(state)
    assert state.insertions == before + 1


async def test_card_that_is_only_in_pcscds_memory_is_found_out(stage: PcscStage) -> None:
    await asyncio.to_thread(haunt, stage.pcscd.readers[KIOSK])
    context = pcsc.establish()
    try:
        async with asyncio.timeout(HEALING_S):
            while context.slot(stage.reader.state.name).card_present:
                await asyncio.sleep(0.02)
    finally:
        context.release()
    await until(stage.reader, present=False)
    await placed(stage)
    assert await works(stage)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_restarted_pcscd_is_found_again_while_idle(stage: PcscStage, number: signal.Signals) -> None:
    await placed(stage)
    assert await works(stage)
    stage.pcscd.kill(number)
    async with asyncio.timeout(RECOVERY_S):
        await until(stage.reader, present=False, problem=ReaderProblem.PCSC_UNAVAILABLE)
    stage.pcscd.resume()
    async with asyncio.timeout(RECOVERY_S):
        await until(stage.reader, present=True)
    assert await works(stage)
    assert stage.heard.reconnected == 1


async def test_hung_pcscd_is_not_waited_for_and_heals(stage: PcscStage) -> None:
    await placed(stage)
    stage.pcscd.kill(signal.SIGSTOP)
    try:
        with pytest.raises(DeadlineExceeded):
            await send(stage.reader.connection(), FIRST, budget_s=0.3)
        assert stage.reader.state.problem is ReaderProblem.READER_STUCK
        assert not stage.exchanges
    finally:
        stage.pcscd.kill(signal.SIGCONT)
    await until(stage.reader, present=True)
    assert await works(stage)


async def test_hung_pcscd_is_noticed_while_idle(private_pcscd: PrivatePcscd) -> None:
    async with pcsc_stage(private_pcscd, timing=replace(TIMING, silence_limit=0.3)) as stage:
        await placed(stage)
        private_pcscd.kill(signal.SIGSTOP)
        try:
            async with asyncio.timeout(5):
                await until(stage.reader, present=True, problem=ReaderProblem.READER_STUCK)
        finally:
            private_pcscd.kill(signal.SIGCONT)
        await until(stage.reader, present=True)
        assert await works(stage)


async def test_stranger_gets_an_error_at_once_while_we_hold_the_card(stage: PcscStage) -> None:
    await placed(stage)
    connection = stage.reader.connection()
    await send(connection, FIRST)
    with pytest.raises(ReaderHeld):
        stage.hold()
    await connection.close()
    stage.hold()


async def test_stranger_that_lets_go_in_time_is_waited_for(private_pcscd: PrivatePcscd) -> None:
    async with pcsc_stage(private_pcscd, timing=Timing(retry_pause=0.01, watch_slice=0.1)) as stage:
        await placed(stage)
        stage.hold()
        waiting = asyncio.ensure_future(send(stage.reader.connection(), FIRST, last=True))
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        stage.let_go()
        assert (await waiting).endswith(OK)
        assert stage.heard.waited[0] >= 0.1


async def test_two_readers_of_one_name_are_no_reader(private_pcscd: PrivatePcscd) -> None:
    context = pcsc.establish()
    assert {"Kiosk 00 00", "Kiosk 00 01"} <= set(context.readers())
    context.release()
    async with pcsc_stage(private_pcscd, name=KIOSK, expect=ReaderProblem.READER_UNAVAILABLE) as stage:
        await until(stage.reader, present=False, problem=ReaderProblem.READER_UNAVAILABLE)


async def test_nothing_is_left_by_many_connections(stage: PcscStage) -> None:
    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    await placed(stage)
    assert await works(stage)
    before = held()
    for _ in range(CYCLES):
        assert await works(stage)
    assert held() == before
    assert stage.heard.taken == stage.heard.released == CYCLES + 1
