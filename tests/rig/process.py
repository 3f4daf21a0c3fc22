"""Programs the rig starts: each has a log and a deadline for its readiness, and none outlives its parent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent  # the virtual environment's, so that no PATH is needed
# The kernel ends the child when the *thread* that started it ends, however it ends: so start from the main thread. That
# holds once setpriv has asked for it: a child whose parent dies within those milliseconds stays.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")
POLL_SECONDS = 0.005
STOP_SECONDS = 10.0
COMMAND_SECONDS = 30.0
TAIL_LINES = 20


class RigError(Exception):
    """A part could not be brought up, or down, within its time; the message ends with its log's last lines."""


def wait_until(condition: Callable[[], T | None], seconds: float, what: str) -> T:
    """Return the condition's first value that is neither None nor False. Raises RigError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value is not None and value is not False:
            return value
        if time.monotonic() > deadline:
            raise RigError(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    seconds: float = COMMAND_SECONDS,
) -> str:
    """Run a command to its end and return its standard output. Raises RigError when it fails or takes too long."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=seconds,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RigError(f"{' '.join(words[:2])}: not within {seconds:g} s") from error
    if done.returncode:
        raise RigError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def insist(running: subprocess.Popen[Any], *numbers: signal.Signals) -> None:
    """Send the signals again and again, every few milliseconds, until the program is gone. Raises RigError."""

    def gone() -> bool:
        for number in numbers:
            running.send_signal(number)
        return running.poll() is not None

    wait_until(gone, STOP_SECONDS, f"the end of {running.args!r}")


class Process:
    """One program with its log file. What it writes to both outputs is appended there."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        prefix: Sequence[str] = DIES_WITH_PARENT,
    ) -> None:
        self.name = name
        self.log = log
        self._start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                [*prefix, *(str(word) for word in command)],
                stdin=stdin,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # Ctrl-C goes to the rig, which stops its parts in order
            )

    @property
    def pid(self) -> int:
        """The program's own process id."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return self._popen.poll() is None

    def output(self) -> str:
        """Return what this run wrote so far."""
        with self.log.open("rb") as log:
            log.seek(self._start)
            return log.read().decode(errors="replace")

    def wait_for_event(self, event: str, seconds: float = COMMAND_SECONDS) -> dict[str, Any]:
        """Wait for the JSON line with this `event` and return it. Raises RigError, also when the program ends first."""

        def find() -> dict[str, Any] | None:
            ended = not self.running
            for line in self.output().splitlines():
                with contextlib.suppress(ValueError):
                    found = json.loads(line)
                    if isinstance(found, dict) and found.get("event") == event:
                        return found
            if ended:
                raise RigError(f"{self.name} ended with {self._popen.returncode}{self._tail()}")
            return None

        try:
            return wait_until(find, seconds, f"{self.name}: event {event!r}")
        except RigError as error:
            if self.running:
                raise RigError(f"{error}{self._tail()}") from None
            raise

    def insist(self, *numbers: signal.Signals) -> None:
        """Send the signals again and again until it is gone. Raises RigError."""
        insist(self._popen, *numbers)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; harmless when the program has ended."""
        if self.running:
            self._popen.send_signal(number)

    def kill(self) -> None:
        """End it the hard way (SIGKILL) and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._popen.wait(STOP_SECONDS)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until it ends and return its exit code (negative: a signal's number). Raises RigError in time."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RigError(f"{self.name} still runs after {seconds:g} s{self._tail()}") from None

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Ask it to end (SIGTERM) and return its exit code. Kills it and raises RigError when it does not."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a frozen one would never see the other
        try:
            return self.wait(seconds)
        except RigError:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _tail(self) -> str:
        lines = self.output().splitlines()[-TAIL_LINES:]
        return "".join(f"\n  {line}" for line in [f"{self.log}:", *lines])
