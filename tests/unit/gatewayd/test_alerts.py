"""The alert rules, as Prometheus itself judges them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from gatewayd.app import make_metrics
from tests.fakes.clock import FakeClock

RULES = Path(__file__).parents[3] / "systemd/alerts/gatewayd.yml"
CASES = Path(__file__).with_name("alerts.yml")


def promtool(*words: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_fire_and_do_not_fire() -> None:
    promtool("check", "rules", RULES)
    promtool("test", "rules", CASES)


def test_each_alert_is_tried() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    assert alerts == set(re.findall(r"alertname(?:=\"|: )(\w+)", CASES.read_text()))


def test_alerts_speak_of_metrics_that_exist() -> None:
    described = {family.name for family in make_metrics(FakeClock()).registry.collect()}
    spoken = re.findall(r"\b(?:gatewayd|process)_\w+", RULES.read_text())
    assert {re.sub(r"_(total|bucket|count|sum|info)$", "", name) for name in spoken} <= described
