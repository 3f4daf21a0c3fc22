"""Asked to stop, the daemon ends or finishes the running attempt by its state, and is gone in time with exit code 0."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from jpkireset.gateway.v1 import gateway_service_pb2, gateway_service_pb2_grpc, reset_service_pb2_grpc
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.reset_service_pb2 import (
    OUTCOME_DONE,
    OUTCOME_NOT_DONE,
    OUTCOME_UNKNOWN,
    STATE_WRITING,
    View,
)

from tests.rig.citizen import Citizen
from tests.rig.front_end import FINISHED, RESOLVING, Attempt, FrontEnd
from tests.rig.process import BIN, ROOT, wait_until

LONGEST_S = 35.0  # less than the service manager's limit
APDU_LIMIT_S = 10.0  # of a daemon that is not impatient
QUICK_S = 6.0  # nothing is written
IMPATIENT = (BIN / "python", "-P", ROOT / "tests/rig/impatient.py")


@pytest.fixture
async def stopped(citizen: Citizen) -> AsyncIterator[Callable[[float], None]]:
    """Wait for the daemon that was asked to stop: exit code 0. It is started again after the test."""
    daemon = citizen.stack.gatewayd

    def wait(seconds: float) -> None:
        assert daemon.ended(seconds) == 0

    yield wait
    citizen.stack.cardsim.clear_faults()
    citizen.stack.cardsim.remove_all()
    if not daemon.running:
        daemon.start()


async def last_view(attempt: Attempt) -> View:
    """The last view before the stream ends; it need not be in FINISHED."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        await attempt.until(FINISHED)
    return attempt.view


async def record_after_restart(citizen: Citizen, attempt_id: str) -> tuple[int, int]:
    citizen.stack.gatewayd.start()
    async with FrontEnd(citizen.stack.gatewayd.socket) as front:
        record = await front.attempt_record(attempt_id)
    return record.outcome, record.reason


@pytest.mark.reason("DRAINING")
async def test_while_a_person_is_asked(citizen: Citizen, stopped: Callable[[float], None]) -> None:
    attempt = await citizen.to_pin()
    citizen.stack.gatewayd.signal(signal.SIGTERM)
    view = await last_view(attempt)
    assert (view.state, view.outcome, view.reason) == (FINISHED, OUTCOME_NOT_DONE, reasons.REASON_DRAINING)
    stopped(QUICK_S)
    citizen.lift()
    assert await record_after_restart(citizen, attempt.id) == (OUTCOME_NOT_DONE, reasons.REASON_DRAINING)


async def test_new_attempts_are_refused_and_the_write_is_finished(
    citizen: Citizen, new_password: str, stopped: Callable[[float], None]
) -> None:
    """The card is mute during the write. Two signals later it answers, and the attempt is done."""
    daemon, cardsim = citizen.stack.gatewayd, citizen.stack.cardsim
    citizen.reserve()
    attempt = await citizen.to_password()
    with cardsim.held("reset_retry_counter"):
        await attempt.new_password(new_password)
        await attempt.until_view(lambda view: view.state == STATE_WRITING)
        daemon.signal(signal.SIGTERM)
        await citizen.front.until_status(lambda status: status.problems)
        second = await citizen.front.attempt()
        assert (await second.end()).reason == reasons.REASON_DRAINING
        daemon.signal(signal.SIGTERM)
        assert attempt.view.state == STATE_WRITING
        assert daemon.running
    view = await last_view(attempt)
    assert (view.state, view.outcome) == (FINISHED, OUTCOME_DONE), "the lifting of the card is not waited for"
    stopped(QUICK_S)
    assert citizen.references["signing_password"]["tries"] == 5
    last = citizen.stack.centrald.ledger(attempt.id)[-1]
    assert (last["verdict"], last["state_after"]) == ("valid", "used"), "the receipt has been sent before the end"
    citizen.lift()
    assert (await record_after_restart(citizen, attempt.id))[0] == OUTCOME_DONE


async def test_while_a_card_stays_mute_in_the_write(
    citizen: Citizen, new_password: str, stopped: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of a command is shortened from 10 s to 0.8 s; everything else has its time."""
    daemon = citizen.stack.gatewayd
    with monkeypatch.context() as patched:
        patched.setattr(daemon, "command", lambda: [*IMPATIENT, "--config", daemon.config])
        daemon.restart()
    await citizen.front.ready()
    citizen.reserve()
    attempt = await citizen.to_password()
    with citizen.stack.cardsim.held("reset_retry_counter"):
        await attempt.new_password(new_password)
        await attempt.until_view(lambda view: view.state == STATE_WRITING)
        for _ in range(3):
            daemon.signal(signal.SIGTERM)
        await last_view(attempt)
        stopped(LONGEST_S - APDU_LIMIT_S)
    citizen.lift()
    assert await record_after_restart(citizen, attempt.id) == (OUTCOME_UNKNOWN, reasons.REASON_OUTCOME_UNRESOLVED)


async def test_while_the_same_card_is_asked_for(
    citizen: Citizen, new_password: str, stopped: Callable[[float], None]
) -> None:
    citizen.reserve()
    attempt = await citizen.to_password()
    with citizen.stack.cardsim.fault("reset_retry_counter", "tear"):
        await attempt.new_password(new_password)
        await attempt.until_view(lambda view: view.state == RESOLVING)
    citizen.stack.gatewayd.signal(signal.SIGTERM)
    view = await last_view(attempt)
    assert (view.outcome, view.reason) == (OUTCOME_UNKNOWN, reasons.REASON_OUTCOME_UNRESOLVED)
    stopped(QUICK_S)
    assert await record_after_restart(citizen, attempt.id) == (OUTCOME_UNKNOWN, reasons.REASON_OUTCOME_UNRESOLVED)


async def test_while_the_card_is_to_be_lifted(
    citizen: Citizen, new_password: str, stopped: Callable[[float], None]
) -> None:
    citizen.reserve()
    attempt = await citizen.reset(new_password)
    citizen.stack.gatewayd.signal(signal.SIGTERM)
    assert (await last_view(attempt)).outcome == OUTCOME_DONE
    stopped(QUICK_S)


async def test_without_the_centre_the_reports_are_left_for_the_next_start(
    citizen: Citizen, stopped: Callable[[float], None]
) -> None:
    stack = citizen.stack
    citizen.reserve()
    attempt = await citizen.to_password()
    stack.centrald.signal(signal.SIGSTOP)
    try:
        stack.gatewayd.signal(signal.SIGTERM)
        assert (await last_view(attempt)).reason == reasons.REASON_DRAINING
        stopped(QUICK_S)
    finally:
        stack.centrald.signal(signal.SIGCONT)
    citizen.lift()
    stack.gatewayd.start()
    async with FrontEnd(stack.gatewayd.socket) as front:
        await front.ready()
    wait_until(lambda: stack.centrald.ledger(attempt.id)[-1]["event"] == "released", QUICK_S, "the release")


async def test_signals_after_the_end_change_nothing(citizen: Citizen) -> None:
    """All work is done, and the interpreter packs up. A signal's default then would be the process's death."""
    daemon = citizen.stack.gatewayd
    process = daemon.process
    process.signal(signal.SIGTERM)
    wait_until(lambda: '"event": "stopped"' in process.output(), QUICK_S, "the end")
    while process.running:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process.signal(number)
    assert daemon.ended(QUICK_S) == 0
    daemon.start()


async def test_a_stop_waits_for_callers_that_stay_and_for_no_watch(
    citizen: Citizen, stopped: Callable[[float], None]
) -> None:
    """A front-end that watches the status hears of the end; who stays is given two seconds, unless it is in a hurry."""
    daemon = citizen.stack.gatewayd
    took = {}
    for who, signals in (("a watch", 1), ("a caller", 1), ("a caller, twice", 2)):
        async with FrontEnd(daemon.socket) as front, grpc.aio.insecure_channel(f"unix:{daemon.socket}") as channel:
            await front.ready()
            watching = asyncio.ensure_future(front.until_status(lambda status: False))
            if who != "a watch":
                staying = reset_service_pb2_grpc.ResetServiceStub(channel).ResetPassword()  # and no start is sent
                stub = gateway_service_pb2_grpc.GatewayServiceStub(channel)
                await stub.GetStatus(gateway_service_pb2.GetStatusRequest(), timeout=QUICK_S)  # behind it
            await front.status()
            begun = time.monotonic()
            for _ in range(signals):
                daemon.signal(signal.SIGTERM)
                wait_until(lambda: '"stopping"' in daemon.process.output(), QUICK_S, "the first signal")
            stopped(QUICK_S)
            took[who] = time.monotonic() - begun
            with pytest.raises(grpc.aio.AioRpcError, match="the daemon stops"):
                await watching
            if who != "a watch":
                staying.cancel()
        daemon.start()
    print("stop with " + ", ".join(f"{who}: {seconds:.2f} s" for who, seconds in took.items()))
    assert took["a watch"] < took["a caller"]
    assert took["a caller, twice"] < took["a caller"]
