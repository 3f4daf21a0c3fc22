"""Answers of the person, or the script, in front of standard input. What is typed hidden is never shown or kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import stat
import termios
from collections.abc import Callable, Iterator

CHUNK_BYTES = 4096  # a terminal hands over one line at a time, at most this long
LONGEST_LINE_BYTES = 4096
LOCAL_FLAGS = 3  # index of c_lflag in the list of termios(3)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Return a text that moves no terminal's cursor and turns no text around; its lines stay lines."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """Return what somebody else said so that it cannot look like a line of ours."""
    return harmless(text.replace("\n", " "))


class Terminal:
    """Lines from a file descriptor; on a terminal, echo is off from `hushed` on except for plain questions."""

    def __init__(self, descriptor: int, write: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._write = write
        self._ahead = bytearray()
        self._open_prompt = ""
        self.interactive = os.isatty(descriptor)
        self._echo = True

    @contextlib.contextmanager
    def hushed(self) -> Iterator[None]:
        """Keep echo off within, also between questions, and give the terminal back as it was."""
        if not self.interactive:
            yield
            return
        before = termios.tcgetattr(self._descriptor)
        self._set_echo(on=False)
        try:
            yield
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, before)

    def hush_again(self) -> None:
        """Restore our setting after a shell had the terminal (SIGCONT)."""
        if self.interactive:
            self._set_echo(on=self._echo)

    def say(self, text: str) -> None:
        """Write a line; an open question is written again below it."""
        if self._open_prompt:
            self._write(f"\n{text}\n{self._open_prompt}")
        else:
            self._write(f"{text}\n")

    async def ask(self, prompt: str, *, hidden: bool) -> bytes | None:
        """Write the prompt and return the next line without its end, None at the end of input.

        On a terminal what was typed ahead is thrown away, so that no keystroke answers a question it never saw. When
        cancelled, what was typed so far is thrown away too.
        """
        if self.interactive:
            self._set_echo(on=not hidden)
        self._open_prompt = prompt
        self._write(prompt)
        try:
            return await self._line()
        finally:
            self._open_prompt = ""
            if not self.interactive:
                self._write("\n")
            else:
                self._set_echo(on=False)
                if hidden:
                    self._write("\n")  # the person's own was not echoed

    async def _line(self) -> bytes | None:
        while (end := self._ahead.find(b"\n")) < 0:
            await self._readable()
            try:
                chunk = os.read(self._descriptor, CHUNK_BYTES)
            except OSError:  # the terminal is gone
                return None
            if not chunk or len(self._ahead) > LONGEST_LINE_BYTES:
                return self._take(len(self._ahead)) if self._ahead and not chunk else None
            self._ahead += chunk
        return self._take(end + 1)

    def _take(self, count: int) -> bytes:
        line = bytes(self._ahead[:count])
        self._ahead[:count] = bytes(count)
        del self._ahead[:count]
        return line.rstrip(b"\r\n")

    async def _readable(self) -> None:
        if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            return  # a file is always readable, and cannot be watched
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._descriptor)

    def _set_echo(self, *, on: bool) -> None:
        self._echo = on
        attributes = termios.tcgetattr(self._descriptor)
        flags = attributes[LOCAL_FLAGS] | termios.ICANON | termios.ISIG
        attributes[LOCAL_FLAGS] = flags | termios.ECHO if on else flags & ~termios.ECHO
        termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, attributes)
