"""The operators' view of attempts, through the installed command line and the operators' socket."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

from jpkireset.gateway.v1.reason_pb2 import REASON_OUTCOME_UNRESOLVED
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE, OUTCOME_UNKNOWN

from gatewayctl.exits import ExitCode
from tests.rig import metrics
from tests.rig.citizen import Citizen
from tests.rig.front_end import REMOVE_CARD
from tests.rig.process import BIN

SECONDS = 20.0
POLL_S = 0.02
REFUSED = "gatewayd_receipts_refused_total"


def gatewayctl(citizen: Citizen, *words: str, **environment: str) -> tuple[str, int]:
    done = subprocess.run(
        [BIN / "gatewayctl", *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**citizen.stack.environment, **environment},
        check=False,
    )
    return done.stdout + done.stderr, done.returncode


def told(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


async def test_attempts_are_listed_and_told_step_by_step(citizen: Citizen, new_password: str) -> None:
    cancelled = await citizen.agree()
    await cancelled.cancel()
    await cancelled.end()
    citizen.reserve()
    done = await citizen.reset(new_password)
    output, code = gatewayctl(citizen, "attempts", "--json", "--limit", "2")
    assert code == ExitCode.DONE
    assert [(one["attempt"]["attempt_id"], one["attempt"]["state"]) for one in told(output)] == [
        (done.id, "STATE_REMOVE_CARD"),
        (cancelled.id, "STATE_FINISHED"),
    ]
    await citizen.leave(done)

    output, code = gatewayctl(citizen, "attempt", done.id, "--json")
    assert code == ExitCode.DONE
    (attempt,) = told(output)
    assert [(step["event"], step["detail"]) for step in attempt["timeline"]] == [
        ("accepted", "signing_password"),
        ("begun", ""),
        ("authorizing", ""),
        ("intended", ""),
        ("result", "done"),
        ("finished", "done"),
        ("acknowledged", "report done valid"),
    ]
    assert gatewayctl(citizen, "attempt", done.id[:8], "--json") == (output, code), (
        "as a citizen reads it from the receipt"
    )
    output, code = gatewayctl(citizen, "attempts", "--unresolved")
    assert (output, code) == ("No attempt is unresolved.\n", ExitCode.DONE)


async def test_done_that_the_centre_refuses_later_is_unknown_and_listed(citizen: Citizen, new_password: str) -> None:
    """The centre falls silent before the change, whose receipt is damaged: the citizen hears done, by the counter."""
    stack, cardsim = citizen.stack, citizen.stack.cardsim
    citizen.reserve()
    refused_before = metrics.value(metrics.scrape(stack.gatewayd.metrics_url), REFUSED)
    attempt = await citizen.to_password()
    muted, damaged = cardsim.plan("external_authenticate", "mute"), cardsim.plan("reset_retry_counter", "mac_wrong")
    await attempt.new_password(new_password)
    async with asyncio.timeout(SECONDS):
        while not cardsim.struck(muted):
            await asyncio.sleep(POLL_S)
    stack.centrald.stop()
    cardsim.release()
    assert (await attempt.until(REMOVE_CARD)).outcome == OUTCOME_DONE
    assert cardsim.struck(damaged)
    assert (await citizen.leave(attempt)).outcome == OUTCOME_DONE
    assert (await citizen.front.attempt_record(attempt.id)).outcome == OUTCOME_DONE

    stack.centrald.start()
    async with asyncio.timeout(SECONDS):
        while (record := await citizen.front.attempt_record(attempt.id)).outcome == OUTCOME_DONE:
            await asyncio.sleep(POLL_S)
    assert (record.outcome, record.reason) == (OUTCOME_UNKNOWN, REASON_OUTCOME_UNRESOLVED)
    output, code = gatewayctl(citizen, "attempts", "--unresolved", "--json")
    assert code == ExitCode.DONE
    assert [one["attempt"]["attempt_id"] for one in told(output)] == [attempt.id]
    output, code = gatewayctl(citizen, "attempt", attempt.id)
    assert code == ExitCode.UNKNOWN
    assert "report done invalid" in output
    assert metrics.value(metrics.scrape(stack.gatewayd.metrics_url), REFUSED) == refused_before + 1


async def test_front_end_s_user_learns_the_outcome_alone(citizen: Citizen) -> None:
    attempt = await citizen.agree()
    await attempt.cancel()
    await attempt.end()
    nowhere = "/nonexistent/operators.sock"
    output, code = gatewayctl(citizen, "attempt", attempt.id, GATEWAYD_OPERATORS_SOCKET=nowhere)
    assert code == ExitCode.NOT_DONE
    assert "operators' socket" in output
    output, code = gatewayctl(citizen, "attempts", GATEWAYD_OPERATORS_SOCKET=nowhere)
    assert code == ExitCode.BROKEN_CALL
    assert nowhere in output
    refused, code = gatewayctl(citizen, "attempts", GATEWAYD_OPERATORS_SOCKET=str(citizen.stack.gatewayd.socket))
    assert code == ExitCode.BROKEN_CALL
    assert "UNIMPLEMENTED" in refused
