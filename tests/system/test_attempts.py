"""The operators' view of attempts, through the installed command line and the operators' socket."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from gatewayctl.exits import ExitCode
from tests.rig.citizen import Citizen
from tests.rig.process import BIN

SECONDS = 20.0


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
        ("acknowledged", "report done valid"),
        ("finished", "done"),
    ]
    output, code = gatewayctl(citizen, "attempts", "--unresolved")
    assert (output, code) == ("No attempt is unresolved.\n", ExitCode.DONE)


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
