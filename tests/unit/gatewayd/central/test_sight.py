"""What a glance at the connection tells."""

from __future__ import annotations

import pytest

from gatewayd.central.sight import Sight


@pytest.mark.parametrize(
    ("glances", "told"),
    [
        ([(True, 1), (True, 2)], [False, False]),
        ([(False, 0), (False, 0)], [True, False]),  # away since before the first glance
        ([(True, 1), (False, 1), (False, 1), (True, 1)], [False, True, False, True]),
        ([(False, 0), (False, 1), (False, 1)], [True, True, False]),  # made, used and lost between two glances
    ],
)
def test_what_happened_between_two_glances(glances: list[tuple[bool, int]], told: list[bool]) -> None:
    sight = Sight()
    assert [sight.changed(connected=connected, answers=answers) for connected, answers in glances] == told
