"""Limits that the pages tell are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from gatewayctl.doctor import certificates
from gatewayd.central import circuit, client, wire
from gatewayd.config import Reader
from gatewayd.dialogue import table
from gatewayd.dialogue.table import LOOKS, Step
from gatewayd.reader.timing import Timing
from gatewayd.session import access

ROOT = Path(__file__).resolve().parents[3]
SECONDS = {"s": 1, "min": 60}
WAITS = {
    "Timing.apdu_limit": Timing().apdu_limit,
    "JOB_BUDGET_S": access.JOB_BUDGET_S,
    "Timing.connect_patience": Timing().connect_patience,
    "CALL_TIMEOUT_S": wire.CALL_TIMEOUT_S,
    "STEP_BUDGET_S": wire.STEP_BUDGET_S,
    "AUTHORIZE_BUDGET_S": client.AUTHORIZE_BUDGET_S,
    "ATTEMPT_LIMIT_S": table.ATTEMPT_LIMIT_S,
    "RESOLVE_LIMIT_S": table.RESOLVE_LIMIT_S,
    "SPAN_S": circuit.SPAN_S,
    "PAUSE_S": circuit.PAUSE_S,
    "stuck_limit_s": Reader(name="").stuck_limit_s,
}


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_waits_are_as_long_as_the_architecture_says() -> None:
    rows = re.findall(
        r"^\| [^|]+ \| ([\d.]+ (?:s|min)(?:; [\d.]+ (?:s|min))*) \| ([^|]+) \|$", page("ARCHITECTURE.md"), re.M
    )
    told: dict[str, float] = {}
    for limits, names in rows:
        limit_s = [float(number) * SECONDS[unit] for number, unit in (one.split() for one in limits.split("; "))]
        told |= dict(zip(re.findall(r"`([\w.]+)`", names), limit_s, strict=False))
    assert {name: told.get(name) for name in WAITS} == WAITS


def test_people_have_as_long_as_the_operators_are_told() -> None:
    steps = (Step.WAITING_FOR_CARD, Step.ASK_PIN, Step.ASK_PASSWORD)
    card, pin, password = (f"{LOOKS[step].idle_s:g} s" for step in steps)
    text = page("docs/OPERATIONS.md")
    assert f"{card} for placing a card, {pin} for the PIN, {password} for the password" in text
    assert f"| a whole attempt | {table.ATTEMPT_LIMIT_S / 60:g} min at most" in text


def test_certificates_are_warned_of_as_early_as_the_operators_are_told() -> None:
    (alert,) = set(
        re.findall(r"expiry_timestamp_seconds - time\(\)\) / 86400 < (\d+)", page("systemd/alerts/gatewayd.yml"))
    )
    warned = f"The doctor warns {certificates.SOON.days} days before a certificate ends"
    assert f"{warned}, the alert comes {alert} days before." in page("docs/OPERATIONS.md")
