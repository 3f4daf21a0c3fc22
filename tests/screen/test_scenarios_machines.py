"""Machines that fail, by the table: each screen by its real cause, and each screen on the way fit for everybody."""

from __future__ import annotations

import pytest

from tests.rig.examiner import Examiner
from tests.rig.scenarios.machines import MACHINES
from tests.rig.scenarios.table import Scenario
from tests.rig.stage import Stage


@pytest.mark.parametrize("scenario", MACHINES, ids=lambda scenario: scenario.name)
def test_scenario(stage: Stage, examiner: Examiner, scenario: Scenario) -> None:
    examiner.problems.clear()
    with stage.visit(examiner) as visitor:
        scenario.play(visitor)
    assert examiner.problems == []
