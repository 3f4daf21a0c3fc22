"""A world for each test, copied from one that was made once."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from centrald.config import Service
from centrald.initialize import initialize
from tests.unit.centrald.world import KIOSK, OTHER_KIOSK, ManualClock, World


@pytest.fixture(scope="session")
def initialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of `centrald init`, as of noon."""
    directory = tmp_path_factory.mktemp("central") / "new"
    initialize(directory, ["localhost", "127.0.0.1"], always_open=False, clock=ManualClock())
    return directory


@pytest.fixture
async def world(initialized: Path, tmp_path: Path) -> AsyncIterator[World]:
    """A centre at noon with two kiosks of two chains, open 06:30 to 23:00."""
    directory = tmp_path / "central"
    shutil.copytree(initialized, directory)
    made = World(directory, ManualClock(), Service().hours())
    await made.add_kiosk(KIOSK)
    await made.add_kiosk(OTHER_KIOSK)
    yield made
    await made.database.close()
