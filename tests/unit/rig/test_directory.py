"""A stack's directory: one holder, empty at the start, gone after a clean end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.directory import claimed
from tests.rig.process import RigError


def test_directory_is_gone_after_a_clean_end(tmp_path: Path) -> None:
    with claimed(tmp_path / "run") as directory:
        (directory / "file").touch()
    assert not (tmp_path / "run").exists()


def test_directory_stays_after_an_error_and_is_emptied_by_the_next(tmp_path: Path) -> None:
    def fail() -> None:
        with claimed(tmp_path) as directory:
            (directory / "logs").mkdir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "logs").exists()
    with claimed(tmp_path):
        assert not (tmp_path / "logs").exists()


def test_only_one_stack_holds_a_directory(tmp_path: Path) -> None:
    with claimed(tmp_path / "run") as directory:
        (directory / "file").touch()
        with pytest.raises(RigError, match="in use"), claimed(directory):
            pass
        assert (directory / "file").exists()


def test_somebody_elses_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").touch()
    with pytest.raises(RigError, match="something else"), claimed(tmp_path):
        pass
    assert (tmp_path / "thesis").exists()
