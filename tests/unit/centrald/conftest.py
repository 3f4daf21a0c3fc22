"""A world for each test and each kind of database, copied from one that was made once."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from centrald.cli.main import main
from centrald.config import Service, Storage
from centrald.initialize import initialize
from centrald.storage.database import Database
from tests.rig.postgres import Postgres
from tests.unit.centrald.world import KIOSK, OTHER_KIOSK, ManualClock, World

BOTH = ("sqlite", "postgresql")
Run = Callable[..., tuple[int, str, str]]  # words of a command line to exit code, standard output and standard error


@pytest.fixture(scope="session")
def initialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of `centrald init`, as of noon."""
    directory = tmp_path_factory.mktemp("central") / "new"
    initialize(directory, ["localhost", "127.0.0.1"], always_open=False, clock=ManualClock())
    return directory


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """A PostgreSQL database with the tables of the service, to make others from."""
    name = postgres.create()
    asyncio.run(_migrate(postgres.url(name)))
    return name


async def _migrate(url: str) -> None:
    database = Database.open(url, Path())
    await database.migrate()
    await database.close()


@pytest.fixture(params=BOTH)
def storage_url(request: pytest.FixtureRequest) -> str:
    """A database with empty tables, of each kind; the file lies in the world's directory."""
    if request.param == "sqlite":
        return Storage().url
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.create(request.getfixturevalue("template")))


@pytest.fixture
async def world(initialized: Path, tmp_path: Path, storage_url: str) -> AsyncIterator[World]:
    """A centre at noon with two kiosks of two chains, open 06:30 to 23:00."""
    directory = tmp_path / "central"
    shutil.copytree(initialized, directory)
    made = World(directory, ManualClock(), Service().hours(), storage_url)
    await made.add_kiosk(KIOSK)
    await made.add_kiosk(OTHER_KIOSK)
    yield made
    await made.database.close()


@pytest.fixture
def centrald(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run one command; returns exit code, standard output and standard error."""
    handlers, level = logging.root.handlers[:], logging.root.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["centrald", *map(str, words)])
        with pytest.raises(SystemExit) as raised:
            main()
        out, err = capfd.readouterr()
        return int(raised.value.code or 0), out, err

    yield run
    logging.root.handlers[:] = handlers  # a command's own write to what the test's end closes
    logging.root.setLevel(level)
    for number, handler in signals.items():  # ignored after `serve`, and so in every program a later test starts
        signal.signal(number, handler)
