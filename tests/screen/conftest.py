"""A browser before the kiosk's screen, and the whole stack behind it: one of each for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.browser import Chromium, chromium
from tests.rig.examiner import LONG, Examiner
from tests.rig.secrecy import Planted
from tests.rig.site import Site
from tests.rig.stage import Stage, screen_of, stack_of
from tests.rig.visitor import NEW_PASSWORD, USER_PIN, Visitor

# Of one test, with the making of a site, a stack and a browser. The long examination looks at a screen in twenty ways
# on three panels, which takes the better part of a minute; the longest visit has two dozen screens.
LONGEST_S = 1800 if LONG else 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test here the time that the first of a worker needs."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(LONGEST_S))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser for all tests of a module: its driver's event loop must be gone before an asynchronous test comes."""
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as running:
        yield running


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, site: Site, browser: Chromium) -> Iterator[Stage]:
    """A stack and a screen for all tests of a module; no secret is left in any of their files."""
    with stack_of(site, tmp_path_factory.mktemp("screen") / "stack") as stack:
        with screen_of(stack) as screen:
            yield Stage(stack, screen, browser)
        planted = Planted([NEW_PASSWORD], [USER_PIN])
        assert planted.found(stack.directory, {"metrics": stack.scraped()}) == []


@pytest.fixture(scope="session")
def examiner() -> Examiner:
    """What knows all screens that were seen in this worker."""
    return Examiner()


@pytest.fixture
def visitor(stage: Stage) -> Iterator[Visitor]:
    """A citizen at an idle kiosk, with a locked card in hand and no reservation."""
    with stage.visit() as visitor:
        yield visitor
