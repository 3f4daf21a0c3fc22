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
EVERY = 1_000
SPEAKING = {"gatewayd": (), "centrald": (ROOT / "docs/CENTRAL.md",)}  # beside the rules


def rules(part: str) -> Path:
    return ROOT / f"systemd/alerts/{part}.yml"


def cases(part: str) -> Path:
    return ROOT / f"tests/unit/{part}/alerts.yml"


def alerts(text: str) -> set[str]:
    """Return the names of the rules in a file, or of the alerts in what promtool says."""
    return set(re.findall(r"(?:- alert: |alertname=\")(\w+)", text))


def expressions(text: str) -> str:
    """Return the expressions of the rules in a file."""
    return "\n".join(re.findall(r"expr:(.*?)(?=\n +(?:for|labels):)", text, flags=re.DOTALL))


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, timeout=60, check=False)


def refused(part: str, expression: str, folder: Path, *, tests: int) -> dict[str, str]:
    """Say what promtool expected, and what it got, where every rule had this expression and no patience."""
    rule = re.sub(r"expr:.*?(?=\n +(?:for|labels):)", f"expr: {expression}", rules(part).read_text(), flags=re.DOTALL)
    (folder / rules(part).name).write_text(re.sub(r"\n +for: .*", "", rule))
    head, *tried = re.split(r"^(?=  - name: )", cases(part).read_text(), flags=re.MULTILINE)
    told = re.sub(r"^rule_files: .*", f"rule_files: [{rules(part).name}]", head, flags=re.MULTILINE)
    (folder / "cases.yml").write_text(told + "".join(tried[:tests]))
    done = promtool("test", "rules", folder / "cases.yml")
    assert done.returncode
    said = re.findall(r"exp:(.*?)got:(.*?)(?=exp:|\Z)", done.stdout + done.stderr, flags=re.DOTALL)
    return {"exp": "".join(expected for expected, _ in said), "got": "".join(got for _, got in said)}


@pytest.mark.parametrize("part", PARTS)
def test_the_alerts_fire_and_do_not_fire(part: str) -> None:
    for words in (("check", "rules", rules(part)), ("test", "rules", cases(part))):
        done = promtool(*words)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("part", PARTS)
def test_each_alert_has_a_time_when_it_must_fire(part: str, tmp_path: Path) -> None:
    """Where no rule ever fires, every one is missed."""
    assert alerts(refused(part, "vector(0) > 0", tmp_path, tests=EVERY)["exp"]) == alerts(rules(part).read_text())


@pytest.mark.parametrize("part", PARTS)
def test_each_alert_has_a_time_when_it_must_not_fire(part: str, tmp_path: Path) -> None:
    """Where every rule always fires, the first test is told of each; and what the rules look at has values in it."""
    assert alerts(refused(part, "vector(1)", tmp_path, tests=1)["got"]) == alerts(rules(part).read_text())
    quiet = re.split(r"^  - name: ", cases(part).read_text(), flags=re.MULTILINE)[1]
    looked_at = set(re.findall(rf"\b(?:{part}|process)_\w+|\bup\b", expressions(rules(part).read_text())))
    assert looked_at <= set(re.findall(r"series: '(\w+)", quiet))


@pytest.mark.parametrize("part", PARTS)
def test_alerts_speak_of_metrics_that_exist(part: str) -> None:
    described = {family.name for family in REGISTRIES[part]().collect()}
    for path in (rules(part), *SPEAKING[part]):
        spoken = re.findall(rf"\b(?:{part}|process)_\w+", path.read_text())
        assert {re.sub(r"_(total|bucket|count|sum|info)$", "", name) for name in spoken} <= described, path.name
