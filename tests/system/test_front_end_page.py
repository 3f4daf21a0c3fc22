"""docs/FRONTEND.md is true: its exchanges are played with its example programs, on the whole stack."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import json_format
from jpkireset.gateway.v1.gateway_service_pb2 import READINESS_PROBLEM_CARD_LEFT_BEHIND
from jpkireset.gateway.v1.reset_service_pb2 import ResetPasswordRequest

from tests.rig.citizen import Citizen
from tests.rig.doubt import PATIENCE_S, WRITE
from tests.rig.exchange import PAGE, Player, Program, exchanges
from tests.rig.foreign import NODE, PROTOS
from tests.rig.process import ROOT, wait_until

EXAMPLES = ROOT / "clients/examples"
LONGEST = 130  # lines of an example
# Exit codes of the example programs: 0 done, 1 not done, 2 unknown.
ENDS = {
    "not-ready": 1,
    "whole-reset": 0,
    "two-wrong-pins": 1,
    "daemon-dies": 1,
    "journal-lost": 2,
    "front-end-dies": 0,
    "unknown-and-resolved": 0,
    "unknown-and-left": 2,
}


def test_page_quotes_the_examples() -> None:
    page = PAGE.read_text()
    for name, language in (("reset_client.py", "python"), ("reset_client.mjs", "javascript")):
        source = (EXAMPLES / name).read_text()
        assert f"```{language}\n{source}```\n" in page
        assert source.count("\n") <= LONGEST


@pytest.mark.parametrize("command", [[sys.executable, EXAMPLES / "reset_client.py"], [NODE, "reset_client.mjs"]])
def test_an_example_without_arguments_says_what_it_wants(tmp_path: Path, command: list[str | Path]) -> None:
    shutil.copy(EXAMPLES / "reset_client.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(ROOT / "tests/foreign/node_modules")
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "reset_client" in ended.stderr
    assert "    at " not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_requests_of_the_page_are_requests() -> None:
    page = PAGE.read_text()
    requests = [line for line in page.splitlines() if line.startswith('{"')]
    inputs = [json_format.Parse(line, ResetPasswordRequest()).WhichOneof("input") for line in requests]
    assert set(inputs) == {field.name for field in ResetPasswordRequest.DESCRIPTOR.oneofs_by_name["input"].fields}
    assert all(json.loads(line) for line in requests)


def test_every_exchange_is_played() -> None:
    assert set(exchanges()) == set(ENDS)


@pytest.fixture(params=["python", "javascript"])
def start(request: pytest.FixtureRequest, citizen: Citizen, tmp_path: Path) -> Callable[[], Program]:
    """Start an example program. grpc-js is found beside the program, so it is run from a copy."""
    socket, kept = citizen.stack.gatewayd.socket, tmp_path / "attempt.txt"
    if request.param == "python":
        return lambda: Program([sys.executable, EXAMPLES / "reset_client.py", socket, kept])
    shutil.copy(EXAMPLES / "reset_client.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(ROOT / "tests/foreign/node_modules")
    return lambda: Program([NODE, tmp_path / "reset_client.mjs", socket, kept, PROTOS])


def restarted(citizen: Citizen) -> None:
    """Kill the daemon and start it again."""
    citizen.stack.gatewayd.kill()
    citizen.stack.gatewayd.start()


def restarted_anew(citizen: Citizen) -> None:
    """Kill the daemon, and start it with an empty journal."""
    gatewayd = citizen.stack.gatewayd
    gatewayd.kill()
    for file in gatewayd.journal.parent.glob(f"{gatewayd.journal.name}*"):
        file.unlink()
    gatewayd.start()


@pytest.mark.parametrize("name", ENDS)
async def test_exchange(citizen: Citizen, start: Callable[[], Program], name: str) -> None:
    cardsim = citizen.stack.cardsim
    write: list[int] = []
    events: dict[str, Callable[[], object]] = {
        "a reservation was made": citizen.reserve,
        "a card lay on the reader when the daemon started": lambda: None,  # below
        "the card is placed": citizen.place,
        "the card is taken": citizen.lift,
        "the daemon dies, and is started again": lambda: restarted(citizen),
        "the daemon dies, and is started again with a new journal": lambda: restarted_anew(citizen),
        "the citizen will lift the card too early": lambda: cardsim.plan(WRITE, "tear"),
        "the card will take its time for the change": lambda: write.append(cardsim.plan(WRITE, "mute")),
        "the card is being changed": lambda: wait_until(lambda: cardsim.struck(write[0]), PATIENCE_S, "the change"),
        "the card answers": cardsim.release,
    }
    lines = exchanges()[name]
    if lines[0] == "(a card lay on the reader when the daemon started)":
        citizen.place()
        await citizen.front.until_status(lambda status: status.card_present)  # pcscd has seen it
        citizen.stack.gatewayd.restart()
        await citizen.front.until_status(lambda status: READINESS_PROBLEM_CARD_LEFT_BEHIND in status.problems)
    assert Player(start, events).play(lines) == ENDS[name]
