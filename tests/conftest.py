"""What every test may use."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.rig.postgres import Postgres
from tests.rig.site import Site


def pytest_configure() -> None:
    """End as on Ctrl-C when asked to end: fixtures are torn down, nothing is left running."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A centre, a kiosk and one registered card of each persona; tests use copies, since keys take the time."""
    return Site.make(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A private PostgreSQL, started when the first test asks for it."""
    with Postgres() as server:
        yield server
