"""The directory of a stack: claimed by one at a time, emptied before use, gone after a clean end."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.rig.process import RigError

MARK = ".stack"


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[Path]:
    """Hold the directory, empty. After an error its content stays, for the logs' sake.

    Raises RigError when another stack holds it, or when it holds something that is not a stack's.
    """
    mark = directory / MARK
    if directory.exists() and not mark.exists() and any(directory.iterdir()):
        raise RigError(f"{directory} holds something else: choose another STACK_DIR")
    directory.mkdir(parents=True, exist_ok=True)
    with mark.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RigError(f"{directory} is in use by another stack: choose another STACK_DIR") from None
        for path in directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != mark:
                path.unlink()
        yield directory
        shutil.rmtree(directory)
