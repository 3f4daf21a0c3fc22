"""Cards that cannot be served, by the table: each screen by its real cause, and each on the way fit for everybody."""

from __future__ import annotations

import pytest

from tests.rig.examiner import Examiner
from tests.rig.scenarios.cards import CARDS
from tests.rig.scenarios.table import Scenario
from tests.rig.stage import Stage


@pytest.mark.parametrize("scenario", CARDS, ids=lambda scenario: scenario.name)
def test_scenario(stage: Stage, examiner: Examiner, scenario: Scenario) -> None:
    examiner.problems.clear()
    with stage.visit(examiner) as visitor:
        scenario.play(visitor)
    assert examiner.problems == []
