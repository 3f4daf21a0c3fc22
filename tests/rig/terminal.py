"""A program on a terminal of its own, typed at by a test."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pexpect.fdpexpect import fdspawn

SECONDS = 20
HANG_UP_SECONDS = 2
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
) -> Iterator[tuple[fdspawn[str], Callable[[], Left]]]:
    """Run a command on a terminal; the second value waits for its end. Nothing of it is left running.

    The first value's name is the terminal's.

    The program is not forked off: in a process that holds a gRPC server, gRPC's own handlers run between fork and exec,
    and now and then broke the child.
    """
    screen = io.StringIO()
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, SIZE)
    process = subprocess.Popen(
        ["setsid", "--ctty", "/bin/sh", "-c", SHELL, "sh", *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, **(environment or {})},
    )
    child = fdspawn(master, encoding="utf-8", timeout=SECONDS)
    child.name = os.ttyname(slave)
    os.close(slave)
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
        child.close()  # hangs the terminal up
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(HANG_UP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(SECONDS)
