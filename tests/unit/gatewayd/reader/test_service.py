"""The reader without pcscd: what no contract test can provoke, and what operators hear of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from smartcard import scard as real

from gatewayd.clock import SystemClock
from gatewayd.errors import (
    CardAbsent,
    DeadlineExceeded,
    LinkEnded,
    LinkError,
    ReaderHeld,
    ReaderMissing,
    ServiceLost,
    TransmitFailed,
)
from gatewayd.reader.hooks import LOCK_FAILURE_REASONS, ReaderHooks, lock_failure_reason
from gatewayd.reader.port import Connection, Link, ReaderProblem, ReaderState
from gatewayd.reader.service import PcscReader
from gatewayd.reader.timing import Timing
from tests.unit.gatewayd.reader.fake_scard import OK, READER, FakeScard

CALLS = ("SCardEstablishContext", "SCardListReaders", "SCardGetStatusChange", "SCardConnect", "SCardTransmit")
QUICK = Timing(
    connect_patience=0.1,
    retry_pause=0.01,
    lift_patience=0.05,
    presence_poll=0.05,
    watch_slice=0.05,
    close_limit=0.2,
)
PATIENT = replace(QUICK, connect_patience=5.0)
COMMAND = b"\x00\xa4\x00\x00"
BUDGET_S = 5.0


class Hang:
    """A card that does not answer before `end`."""

    def __init__(self, answer: list[int] = OK) -> None:
        self._answer = answer
        self._over = threading.Event()

    def __call__(self, _: list[int]) -> list[int]:
        self._over.wait(10)
        return self._answer

    def end(self) -> None:
        self._over.set()


@dataclass
class Heard:
    events: list[str] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)

    @property
    def hooks(self) -> ReaderHooks:
        return ReaderHooks(
            lock_taken=lambda: self.events.append("taken"),
            lock_released=lambda: self.events.append("released"),
            lock_waited=self.waited.append,
            lock_held=self.held.append,
            lock_failed=self.events.append,
            reconnected=lambda: self.events.append("reconnected"),
        )


@dataclass
class Bench:
    reader: PcscReader
    scard: FakeScard
    heard: Heard

    async def until(self, condition: Callable[[ReaderState], bool]) -> ReaderState:
        async with asyncio.timeout(5):
            state = self.reader.state
            while not condition(state):
                state = await self.reader.changed(state)
            return state

    async def placed(self) -> None:
        await self.until(lambda state: state.problem is None)
        self.scard.set_card(present=True)
        await self.until(lambda state: state.card_present)


async def transmit(connection: Connection, *, budget_s: float = BUDGET_S, last: bool = False) -> bytes:
    def job(link: Link) -> bytes:
        return link.transmit(COMMAND)

    return await connection.run(job, budget_s=budget_s, last=last)


@contextlib.asynccontextmanager
async def bench(scard: FakeScard, name: str = READER, timing: Timing = QUICK) -> AsyncIterator[Bench]:
    heard = Heard()
    reader = PcscReader(name, SystemClock(), heard.hooks, timing)
    reader.start()
    try:
        yield Bench(reader, scard, heard)
    finally:
        await reader.close()


# Threads and contexts


async def test_two_threads_two_contexts_and_each_call_on_its_own(scard: FakeScard) -> None:
    before = set(threading.enumerate())  # a thread that an earlier test had to abandon may still be there
    async with bench(scard) as b:
        await b.placed()
        for _ in range(20):
            await transmit(b.reader.connection(), last=True)
        assert len(scard.contexts) == 2
        assert scard.count("SCardEstablishContext") == 2
        assert scard.threads["SCardTransmit"] == scard.threads["SCardConnect"] == {"reader-owner"}
        assert "MainThread" not in set().union(
            *(scard.threads[name] for name in scard.threads if name != "SCardCancel")
        )
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("reader-"):
            thread.join(5)  # it was told to end: the owner is on its last lines, the watch in its last slice
            assert not thread.is_alive()
    assert not scard.contexts


async def test_close_does_not_wait_for_the_slice_of_the_watch(scard: FakeScard) -> None:
    async with bench(scard, timing=replace(QUICK, watch_slice=60.0, close_limit=60.0)) as b:
        await b.until(lambda state: state.problem is None)
        async with asyncio.timeout(5):
            await b.reader.close()
        scard.set_card(present=True)  # lets the thread go


async def test_threads_are_daemons_so_that_a_hung_pcscd_never_keeps_the_process(scard: FakeScard) -> None:
    async with bench(scard) as b:
        await b.until(lambda state: state.problem is None)
        assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("reader-"))


async def test_thread_that_does_not_come_back_is_abandoned_at_close(scard: FakeScard) -> None:
    hang = scard.answer = Hang()
    async with bench(scard) as b:
        await b.placed()
        with pytest.raises(DeadlineExceeded):
            await transmit(b.reader.connection(), budget_s=0.05)
        async with asyncio.timeout(2):
            await b.reader.close()
    hang.end()


def test_thread_that_comes_back_after_the_loop_is_closed_has_nobody_to_tell(scard: FakeScard) -> None:
    hang = scard.answer = Hang()

    async def main() -> None:
        async with bench(scard) as b:
            await b.placed()
            with pytest.raises(DeadlineExceeded):
                await transmit(b.reader.connection(), budget_s=0.05)

    asyncio.run(main())
    hang.end()
    for thread in threading.enumerate():
        if thread.name == "reader-owner":
            thread.join(5)
            assert not thread.is_alive()  # an exception there would be a warning, which is an error


async def test_closed_reader_refuses_work(scard: FakeScard) -> None:
    async with bench(scard) as b:
        await b.reader.close()
        with pytest.raises(LinkEnded):
            await transmit(b.reader.connection())


async def test_close_ends_a_connection_and_the_work_behind_it(scard: FakeScard) -> None:
    hang = scard.answer = Hang()
    async with bench(scard, timing=Timing(watch_slice=0.05)) as b:
        await b.placed()

        def job(link: Link) -> None:
            link.transmit(COMMAND)
            link.transmit(COMMAND)

        running = asyncio.ensure_future(b.reader.connection().run(job, budget_s=BUDGET_S))
        waiting = asyncio.ensure_future(transmit(b.reader.connection()))
        while not scard.count("SCardTransmit"):
            await asyncio.sleep(0.005)
        closing = asyncio.ensure_future(b.reader.close())
        await asyncio.sleep(0)
        hang.end()
        await closing
        with pytest.raises(DeadlineExceeded):
            await running
        with pytest.raises(LinkError):
            await waiting
        assert scard.count("SCardTransmit") == 1
        assert scard.arguments("SCardDisconnect") == [(7, real.SCARD_RESET_CARD)]


# Connecting


async def test_foreign_holder_is_waited_for_a_little(scard: FakeScard) -> None:
    async with bench(scard, timing=PATIENT) as b:
        await b.placed()
        scard.fail("SCardConnect", *[real.SCARD_E_SHARING_VIOLATION] * 3)
        assert await transmit(b.reader.connection(), last=True) == bytes(OK)
        assert b.heard.waited[0] >= 3 * QUICK.retry_pause


async def test_foreign_holder_that_stays_is_told(scard: FakeScard) -> None:
    async with bench(scard) as b:
        await b.placed()
        scard.standing["SCardConnect"] = real.SCARD_E_SHARING_VIOLATION
        with pytest.raises(ReaderHeld):
            await transmit(b.reader.connection())
        assert b.heard.events == ["reader_held"]
        assert not b.heard.waited


async def test_patience_ends_with_the_jobs_budget(scard: FakeScard) -> None:
    async with bench(scard, timing=Timing(connect_patience=5, retry_pause=0.01, watch_slice=0.05)) as b:
        await b.placed()
        scard.standing["SCardConnect"] = real.SCARD_E_SHARING_VIOLATION
        with pytest.raises(DeadlineExceeded):
            await transmit(b.reader.connection(), budget_s=0.05)
        await b.until(lambda state: state.problem is None)


async def test_service_lost_while_idle_costs_a_new_context_and_nothing_else(scard: FakeScard) -> None:
    async with bench(scard, timing=PATIENT) as b:
        await b.placed()
        await transmit(b.reader.connection(), last=True)
        scard.fail("reader-owner SCardListReaders", real.SCARD_E_NO_SERVICE)
        scard.fail("SCardConnect", real.SCARD_E_NO_SERVICE)
        assert await transmit(b.reader.connection(), last=True) == bytes(OK)
        assert "service_lost" not in b.heard.events


@pytest.mark.parametrize(
    ("code", "error", "reason"),
    [
        (real.SCARD_E_NO_SMARTCARD, CardAbsent, "card_absent"),
        (real.SCARD_W_UNRESPONSIVE_CARD, TransmitFailed, "card_unreadable"),
        (real.SCARD_E_UNKNOWN_READER, ReaderMissing, "reader_missing"),
    ],
)
async def test_connect_that_fails_at_once(scard: FakeScard, code: int, error: type[LinkError], reason: str) -> None:
    async with bench(scard) as b:
        await b.placed()
        scard.fail("SCardConnect", code)
        with pytest.raises(error):
            await transmit(b.reader.connection())
        assert b.heard.events == [reason]
        assert await transmit(b.reader.connection(), last=True) == bytes(OK)  # no lift is asked for


async def test_connect_whose_count_fails_gives_the_reader_back(scard: FakeScard) -> None:
    async with bench(scard) as b:
        await b.placed()
        scard.fail("reader-owner SCardGetStatusChange", real.SCARD_E_UNKNOWN_READER)
        with pytest.raises(ReaderMissing):
            await transmit(b.reader.connection())
        assert scard.count("SCardDisconnect") == 1


def test_every_failure_has_a_bounded_word() -> None:
    kinds = (CardAbsent, DeadlineExceeded, ReaderHeld, ReaderMissing, ServiceLost, TransmitFailed)
    assert {lock_failure_reason(kind("")) for kind in kinds} == LOCK_FAILURE_REASONS


# The lock, as operators see it


async def test_lock_is_told_from_connect_to_disconnect(scard: FakeScard) -> None:
    async with bench(scard) as b:
        await b.placed()
        connection = b.reader.connection()
        await transmit(connection)
        assert b.heard.events == ["taken"]
        await connection.close()
        assert b.heard.events == ["taken", "released"]
        assert len(b.heard.held) == len(b.heard.waited) == 1


async def test_lock_is_held_and_the_reader_stuck_while_a_job_hangs(scard: FakeScard) -> None:
    hang = scard.answer = Hang()
    async with bench(scard) as b:
        await b.placed()
        with pytest.raises(DeadlineExceeded):
            await transmit(b.reader.connection(), budget_s=0.05)
        assert b.heard.events == ["taken"]
        assert b.reader.state.problem is ReaderProblem.READER_STUCK
        since = b.reader.stuck_for_s
        await asyncio.sleep(0.01)
        assert 0 < since < b.reader.stuck_for_s
        hang.end()
        await b.until(lambda state: state.problem is None)
        assert b.reader.stuck_for_s == 0
        assert b.heard.events == ["taken", "released"]


async def test_one_command_that_runs_too_long_ends_the_wait_before_the_budget(scard: FakeScard) -> None:
    hang = scard.answer = Hang()
    async with bench(scard, timing=replace(QUICK, apdu_limit=0.2)) as b:
        await b.placed()
        async with asyncio.timeout(2):
            with pytest.raises(DeadlineExceeded):
                await transmit(b.reader.connection(), budget_s=60)
        hang.end()


async def test_job_given_up_in_the_moment_it_ends_gives_the_reader_back(
    scard: FakeScard, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(scard) as b:
        await b.placed()
        loop = asyncio.get_running_loop()
        tell, told = loop.call_soon_threadsafe, threading.Event()

        def spy(*arguments: Any) -> None:
            tell(*arguments)
            if threading.current_thread().name == "reader-owner":
                told.set()

        monkeypatch.setattr(loop, "call_soon_threadsafe", spy)
        job = asyncio.create_task(transmit(b.reader.connection()))
        await asyncio.sleep(0)  # it is handed over
        assert told.wait(5)  # the loop stands still: the thread is through with the job, and nobody has heard of it
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        async with asyncio.timeout(5):
            while b.heard.events != ["taken", "released"]:
                await asyncio.sleep(0.001)


async def test_cancelled_job_that_hangs_shows_as_stuck(scard: FakeScard) -> None:
    hang = scard.answer = Hang()
    async with bench(scard, timing=replace(QUICK, apdu_limit=0.2)) as b:
        await b.placed()
        running = asyncio.ensure_future(transmit(b.reader.connection()))
        while not scard.count("SCardTransmit"):
            await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await b.until(lambda state: state.problem is ReaderProblem.READER_STUCK)
        assert b.reader.stuck_for_s > 0
        hang.end()
        await b.until(lambda state: state.problem is None)
        assert b.reader.stuck_for_s == 0


# How a connection ends


@pytest.mark.parametrize("lifted", [True, False])
async def test_failed_card_is_reset_unless_it_is_gone(scard: FakeScard, lifted: bool) -> None:
    def answer(_: list[int]) -> list[int]:
        if lifted:
            scard.set_card(present=False)
        return []

    scard.answer = answer
    async with bench(scard) as b:
        await b.placed()
        with pytest.raises(TransmitFailed):
            await transmit(b.reader.connection())
        assert b.reader.state.card_present is not lifted
        expected = real.SCARD_LEAVE_CARD if lifted else real.SCARD_RESET_CARD
        assert scard.arguments("SCardDisconnect") == [(7, expected)]


async def test_card_lifted_while_nothing_was_sent_is_not_reset_in_its_absence(scard: FakeScard) -> None:
    async with bench(scard) as b:
        await b.placed()
        connection = b.reader.connection()
        await transmit(connection)
        scard.set_card(present=False)
        await connection.close()
        assert scard.arguments("SCardDisconnect") == [(7, real.SCARD_LEAVE_CARD)]


async def test_swap_during_a_failure_is_a_new_card(scard: FakeScard) -> None:
    scard.answer = lambda _: []
    async with bench(scard) as b:
        await b.placed()
        with pytest.raises(TransmitFailed):
            await transmit(b.reader.connection())
        with pytest.raises(CardAbsent, match="lifted"):
            await transmit(b.reader.connection())
        scard.set_card(present=True, events=2)
        scard.answer = lambda _: OK
        assert await transmit(b.reader.connection(), last=True) == bytes(OK)


async def test_disconnect_that_fails_costs_the_context(scard: FakeScard) -> None:
    async with bench(scard, timing=PATIENT) as b:
        await b.placed()
        scard.fail("SCardDisconnect", real.SCARD_E_NO_SERVICE)
        await transmit(b.reader.connection(), last=True)
        assert b.heard.events == ["taken", "released"]
        contexts = scard.count("SCardEstablishContext")
        assert await transmit(b.reader.connection(), last=True) == bytes(OK)
        assert scard.count("SCardEstablishContext") == contexts + 1


async def test_closing_a_stuck_connection_does_not_raise(scard: FakeScard) -> None:
    async with bench(scard, timing=replace(QUICK, apdu_limit=0.5)) as b:
        await b.placed()
        connection = b.reader.connection()
        await transmit(connection)
        hang = scard.answer = Hang()
        other = asyncio.ensure_future(transmit(b.reader.connection(), budget_s=0.05))
        await asyncio.sleep(0)
        async with asyncio.timeout(2):
            await connection.close()
        hang.end()
        with pytest.raises(DeadlineExceeded):
            await other


# The watch


async def test_reader_that_comes_and_goes(scard: FakeScard) -> None:
    scard.readers = []
    async with bench(scard) as b:
        await b.until(lambda state: state.problem is ReaderProblem.READER_UNAVAILABLE)
        scard.readers = [READER]
        state = await b.until(lambda state: state.problem is None)
        assert state.name == READER
        scard.readers = [READER, "Kiosk 00 01"]
        await b.placed()
        scard.readers = ["Other 00 00"]
        state = await b.until(lambda state: state.problem is not None)
        assert state == ReaderState(ReaderProblem.READER_UNAVAILABLE, "", False, 1)


async def test_name_without_suffix_follows_the_reader_to_its_new_index(scard: FakeScard) -> None:
    scard.readers = ["Kiosk 01 00"]
    async with bench(scard, "Kiosk") as b:
        await b.until(lambda state: state.name == "Kiosk 01 00")
        scard.readers = [READER]
        await b.until(lambda state: state.name == READER)


async def test_daemon_starts_without_pcscd_and_finds_it(scard: FakeScard) -> None:
    scard.standing["SCardEstablishContext"] = real.SCARD_E_NO_SERVICE
    async with bench(scard) as b:
        async with asyncio.timeout(5):
            while not scard.calls:  # of the watch, nobody else has anything to do
                await asyncio.sleep(0.005)
        assert b.reader.state.problem is ReaderProblem.PCSC_UNAVAILABLE
        with pytest.raises(ServiceLost):
            await transmit(b.reader.connection())
        assert b.heard.events == ["service_lost"]
        del scard.standing["SCardEstablishContext"]
        await b.until(lambda state: state.problem is None)
        assert "reconnected" not in b.heard.events  # it was never lost


async def test_pcscd_that_was_lost_is_found_without_a_busy_loop(scard: FakeScard) -> None:
    clock = SystemClock()
    async with bench(scard) as b:
        await b.placed()
        scard.standing["SCardEstablishContext"] = real.SCARD_E_NO_SERVICE
        scard.standing["SCardListReaders"] = real.SCARD_F_COMM_ERROR
        await b.until(lambda state: state.problem is ReaderProblem.PCSC_UNAVAILABLE)
        before = scard.count("SCardEstablishContext")
        begun = clock.monotonic()
        await clock.sleep(10 * QUICK.retry_pause)
        tried = scard.count("SCardEstablishContext") - before
        assert tried <= 1 + (clock.monotonic() - begun) / QUICK.retry_pause
        scard.standing.clear()
        state = await b.until(lambda state: state.card_present)
        assert state.insertions == 2
        assert b.heard.events == ["reconnected"]


@pytest.mark.parametrize("function", ["SCardGetStatusChange", "SCardListReaders"])
async def test_code_that_belongs_to_no_watch_does_not_end_it(scard: FakeScard, function: str) -> None:
    async with bench(scard) as b:
        await b.until(lambda state: state.problem is None)
        scard.fail(f"reader-watch {function}", real.SCARD_E_NO_SMARTCARD)
        scard.set_card(present=True)
        await b.until(lambda state: state.problem is ReaderProblem.PCSC_UNAVAILABLE)
        await b.until(lambda state: state.problem is None and state.card_present)


async def test_card_that_pcscd_only_remembers_is_looked_for_once_more(scard: FakeScard) -> None:
    """The first time the reader is somebody's, and the look has to wait."""
    scard.state = 4 << 16 | real.SCARD_STATE_PRESENT | real.SCARD_STATE_MUTE
    scard.fail("SCardConnect", real.SCARD_E_SHARING_VIOLATION)
    scard.before["SCardDisconnect"] = lambda: scard.set_card(present=False, events=0)
    async with bench(scard) as b:
        await b.until(lambda state: state.problem is None and state.card_present)
        state = await b.until(lambda state: not state.card_present)
        assert (state.problem, state.insertions) == (None, 0)
        assert scard.count("SCardConnect") == 2
        assert scard.threads["SCardDisconnect"] == {"reader-watch"}


async def test_card_that_stays_silent_is_not_reset_without_end(scard: FakeScard) -> None:
    scard.state = real.SCARD_STATE_PRESENT | real.SCARD_STATE_MUTE
    async with bench(scard) as b:
        await b.until(lambda state: state.card_present)
        rounds = scard.count("SCardListReaders")
        while scard.count("SCardListReaders") < rounds + 5:
            await asyncio.sleep(0.005)
        assert b.reader.state.card_present
        assert scard.count("SCardDisconnect") == 1


async def test_pcscd_that_hangs_is_noticed_without_a_job(scard: FakeScard) -> None:
    hang = Hang()
    async with bench(scard, timing=replace(QUICK, silence_limit=0.2)) as b:
        await b.placed()
        scard.before["SCardGetStatusChange"] = lambda: hang([])
        await b.until(lambda state: state.problem is ReaderProblem.READER_STUCK)
        assert b.reader.stuck_for_s > 0, "the service manager's watchdog is fed while it is 0"
        scard.before.clear()
        hang.end()
        await b.until(lambda state: state.problem is None)


async def test_late_value_is_told_when_the_loop_still_runs(scard: FakeScard) -> None:
    hang = scard.answer = Hang()
    async with bench(scard) as b:
        await b.placed()
        late: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        with pytest.raises(DeadlineExceeded):
            await b.reader.connection().run(lambda link: link.transmit(COMMAND), budget_s=0.05, late=late.set_result)
        hang.end()
        assert await asyncio.wait_for(late, 5) == bytes(OK)


async def test_late_failure_is_dropped(scard: FakeScard) -> None:
    hang = scard.answer = Hang([])
    async with bench(scard) as b:
        await b.placed()
        late: list[bytes] = []
        with pytest.raises(DeadlineExceeded):
            await b.reader.connection().run(lambda link: link.transmit(COMMAND), budget_s=0.05, late=late.append)
        hang.end()
        await b.until(lambda state: state.problem is None)
        assert not late
