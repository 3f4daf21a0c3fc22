"""Exchanges as docs/FRONTEND.md shows them, played with a program that is a front-end.

A block of the page is a script: `> word` is typed, `(the card is placed)` happens, and everything else is what the
program prints. A busy view may be missing: a front-end that is slower than the daemon is sent the newest view only.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.rig.process import ROOT, RigError, wait_until

PAGE = ROOT / "docs/FRONTEND.md"
BLOCK = re.compile(r"^```text exchange=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TYPED, HAPPENS, BUSY = "> ", "(", " busy"
AGAIN = "(the front-end is started again)"
DIES = "(the front-end dies)"
SECONDS = 20.0


def exchanges() -> dict[str, list[str]]:
    """The page's exchanges by name, as lines."""
    return {name: text.splitlines() for name, text in BLOCK.findall(PAGE.read_text(encoding="utf-8"))}


class Program:
    """A front-end that is a program: what it printed so far, and what is typed."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        words = [str(word) for word in command]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self.printed: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.printed.extend(line.rstrip("\n") for line in self._process.stdout)

    def type(self, word: str) -> None:
        """Type one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()

    def ended(self) -> int:
        """Wait for its end and return its exit code; nothing of it is left. Raises TimeoutExpired."""
        try:
            return self._process.wait(SECONDS)
        finally:
            self._process.kill()
            self._process.wait(SECONDS)
            self._reader.join(SECONDS)
            for stream in (self._process.stdin, self._process.stdout):
                assert stream is not None
                stream.close()


class Player:
    """Plays an exchange with programs that `start` starts."""

    def __init__(self, start: Callable[[], Program], events: Mapping[str, Callable[[], object]]) -> None:
        self._start = start
        self._events = events
        self._busy: list[str] = []  # views that may come now, or not at all
        self._shown = 0

    def play(self, lines: Sequence[str]) -> int:
        """Play to the end; return the exit code of the program that ran last. Raises RigError where they part."""
        first = next(number for number, line in enumerate(lines) if not line.startswith(HAPPENS))
        for line in lines[:first]:
            self._happens(line)
        program = self._start()
        try:
            for line in lines[first:]:
                if line.startswith(TYPED):
                    program.type(line.removeprefix(TYPED))
                elif line == DIES:
                    program.kill()
                    program.ended()
                elif line == AGAIN:
                    program, self._shown = self._start(), 0
                    self._busy.clear()
                elif line.startswith(HAPPENS):
                    self._happens(line)
                elif BUSY in line:
                    self._busy.append(line)
                else:
                    self._expect(program, line)
        except BaseException:
            program.kill()
            program.ended()
            raise
        code = program.ended()
        if program.printed[self._shown :]:
            raise RigError(f"more than the page shows: {program.printed[self._shown :]}")
        return code

    def _happens(self, line: str) -> None:
        self._events[line.strip("()")]()

    def _expect(self, program: Program, line: str) -> None:
        """Wait for a line; busy views before it are skipped when the page has them."""
        while True:
            wait_until(lambda: len(program.printed) > self._shown, SECONDS, f"{line!r} after {program.printed}")
            printed = program.printed[self._shown]
            self._shown += 1
            if printed == line:
                self._busy.clear()
                return
            if printed not in self._busy:
                raise RigError(f"{line!r} expected, not {printed!r}, after {program.printed[: self._shown - 1]}")
            self._busy.remove(printed)
