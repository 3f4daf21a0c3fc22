"""A stack to be played with: it runs in the foreground until Ctrl-C, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Never

from tests.rig.directory import claimed
from tests.rig.interrupt import end_in_order
from tests.rig.process import RigError
from tests.rig.progress import Progress

Serve = Callable[[Path, contextlib.ExitStack, Progress], Never]


def until_interrupted(directory: str, serve: Serve) -> int:
    """Serve in this directory, or in that of STACK_DIR; return the exit code."""
    end_in_order()
    progress = Progress()
    try:
        with contextlib.ExitStack() as cleanup, contextlib.suppress(KeyboardInterrupt):
            own = cleanup.enter_context(claimed(Path(os.environ.get("STACK_DIR") or directory).resolve()))
            serve(own, cleanup, progress)
    except RigError as error:
        progress.failed(str(error))
        return 1
    progress.note("\nstopped, nothing left behind")
    return 0
