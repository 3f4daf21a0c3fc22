"""Files that a power cut leaves whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from centrald.errors import AlreadyThere
from centrald.files import replace, write_new


def write_private(path: Path, data: bytes) -> None:
    write_new(path, data, mode=0o600)


@pytest.mark.parametrize("write", [write_private, replace])
def test_what_is_written_is_synced_and_then_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
    path, synced = tmp_path / "key", list[tuple[int, bool]]()
    sync = os.fsync

    def watched(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, path.exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [inode for inode, _ in synced] == [path.stat().st_ino, tmp_path.stat().st_ino]
    assert synced[-1][1], "the name is there when its folder is synced"


def test_nothing_is_written_over_by_chance(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_new(path, b"one", mode=0o600)
    with pytest.raises(AlreadyThere):
        write_new(path, b"two", mode=0o600)
    assert path.read_bytes() == b"one"
    replace(path, b"two")
    assert path.read_bytes() == b"two"
    assert [file.name for file in tmp_path.iterdir()] == ["key"]
