from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gatewayd.config import Config, load
from gatewayd.reload import Reload, changed
from tests.fakes.clock import FakeClock
from tests.rig.manager import Manager
from tests.unit.gatewayd.test_config import GOOD, written


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    """The root logger's level is the whole process's."""
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path, GOOD)


def reload_of(path: Path) -> Reload:
    return Reload(load(path), partial(load, path), FakeClock())


def told(caplog: pytest.LogCaptureFixture) -> dict[str, object]:
    (record,) = (record for record in caplog.records if record.message == "configuration reloaded")
    return vars(record)


def test_the_log_level_changes_at_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reload = reload_of(path)
    path.write_text(GOOD + '[log]\nlevel = "debug"\n')
    with caplog.at_level(logging.INFO):
        reload.take()
        assert logging.getLogger().level == logging.DEBUG
    assert told(caplog)["log_level"] == "debug"
    assert told(caplog)["waiting_for_restart"] == []


def test_what_waits_for_a_restart_is_named(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reload = reload_of(path)
    path.write_text(GOOD.replace("Kiosk", "Other") + '[metrics]\naddress = "127.0.0.1:9465"\n')
    with caplog.at_level(logging.INFO):
        reload.take()
        assert told(caplog)["waiting_for_restart"] == ["reader.name", "metrics.address"]
        caplog.clear()
        path.write_text(GOOD)  # as it runs
        reload.take()
        assert told(caplog)["waiting_for_restart"] == []


@pytest.mark.parametrize("text", ["[log]\nlevel = 'loud'", "[", GOOD + "[log]\nlevel = 'loud'"])
def test_a_bad_file_changes_nothing(path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    reload = reload_of(path)
    path.write_text(text)
    with caplog.at_level(logging.INFO):
        reload.take()
        assert logging.getLogger().level == logging.INFO
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_the_manager_hears_of_its_beginning_and_end(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = Manager(tmp_path / "n")
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    asked, then = asyncio.Event(), asyncio.Event()
    task = asyncio.ensure_future(reload_of(path).run(asked, then.set))
    try:
        for _ in range(2):
            asked.set()
            async with asyncio.timeout(5):
                await then.wait()
            then.clear()
            manager.until(lambda line: line == "READY=1")
    finally:
        task.cancel()
        manager.close()
    assert manager.told == ["RELOADING=1", "MONOTONIC_USEC=0", "READY=1"] * 2


def test_equal_configurations_differ_in_nothing(path: Path) -> None:
    one, other = load(path), load(path)
    assert isinstance(one, Config)
    assert list(changed(one, other)) == []
