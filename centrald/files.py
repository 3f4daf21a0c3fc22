"""Files that are there after a power cut, whole or not at all: keys, certificates, lists of revocation."""

from __future__ import annotations

import os
from pathlib import Path

from centrald.errors import AlreadyThere


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet; raises AlreadyThere."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise AlreadyThere(f"{path} exists") from None
    _write(handle, data)
    _sync_name(path)


def replace(path: Path, data: bytes) -> None:
    """Put a file in the place of another, mode 0600: who reads it meanwhile reads one of the two."""
    temporary = path.with_suffix(".new")
    _write(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), data)
    temporary.chmod(0o600)  # one that a cut-off try left may have another
    temporary.replace(path)
    _sync_name(path)


def _write(handle: int, data: bytes) -> None:
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_name(path: Path) -> None:
    """Make a new name last: a file's own sync says nothing of the folder that names it (fsync(2))."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
