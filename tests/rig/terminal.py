"""A program on a terminal of its own, typed at by a test."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pexpect

SECONDS = 20
SIZE = (50, 200)  # lines and columns; wide, so that no sentence is broken
# Stays behind the program as a person's shell would, and tells what it left.
SHELL = 'trap : INT QUIT; "$@"; echo "[code $?]"; stty -a'
CTRL_C, CTRL_D, CTRL_BACKSLASH = "\x03", "\x04", "\x1c"


@dataclass
class Left:
    """What a program left on its terminal."""

    screen: str
    code: int
    echo: bool  # what is typed next is shown again


@contextmanager
def terminal(
    command: list[str], environment: Mapping[str, str] | None = None
) -> Iterator[tuple[pexpect.spawn[str], Callable[[], Left]]]:
    """Run a command on a terminal; the second value waits for its end. Nothing of it is left running."""
    screen = io.StringIO()
    child = pexpect.spawn(
        "/bin/sh",
        ["-c", SHELL, "sh", *command],
        encoding="utf-8",
        timeout=SECONDS,
        dimensions=SIZE,
        env={**os.environ, **(environment or {})},
    )
    child.logfile_read = screen

    def left() -> Left:
        child.expect(r"\[code (\d+)\]")
        assert isinstance(child.match, re.Match)
        code = int(child.match.group(1))
        settings = child.read()
        return Left(screen.getvalue(), code, " echo " in settings)

    try:
        yield child, left
    finally:
        child.close(force=True)
