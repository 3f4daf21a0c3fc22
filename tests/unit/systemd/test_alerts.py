"""The alert rules of daemon and centre, as Prometheus itself judges them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from centrald.app import make_metrics as make_central_metrics
from gatewayd.app import make_metrics
from tests.fakes.clock import FakeClock

ROOT = Path(__file__).parents[3]
PARTS = ("gatewayd", "centrald")
REGISTRIES: dict[str, Callable[[], CollectorRegistry]] = {
    "gatewayd": lambda: make_metrics(FakeClock()).registry,
    "centrald": lambda: make_central_metrics().registry,
}
SPEAKING = {"gatewayd": (), "centrald": (ROOT / "docs/CENTRAL.md",)}  # beside the rules


def rules(part: str) -> Path:
    return ROOT / f"systemd/alerts/{part}.yml"


def cases(part: str) -> Path:
    return ROOT / f"tests/unit/{part}/alerts.yml"


def promtool(*words: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("part", PARTS)
def test_the_alerts_fire_and_do_not_fire(part: str) -> None:
    promtool("check", "rules", rules(part))
    promtool("test", "rules", cases(part))


@pytest.mark.parametrize("part", PARTS)
def test_each_alert_is_tried(part: str) -> None:
    alerts = set(re.findall(r"- alert: (\w+)", rules(part).read_text()))
    assert alerts == set(re.findall(r"alertname(?:=\"|: )(\w+)", cases(part).read_text()))


@pytest.mark.parametrize("part", PARTS)
def test_alerts_speak_of_metrics_that_exist(part: str) -> None:
    described = {family.name for family in REGISTRIES[part]().collect()}
    for path in (rules(part), *SPEAKING[part]):
        spoken = re.findall(rf"\b(?:{part}|process)_\w+", path.read_text())
        assert {re.sub(r"_(total|bucket|count|sum|info)$", "", name) for name in spoken} <= described, path.name
