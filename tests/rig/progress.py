"""What the commands print: one line for each finished step, with its time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.markup import escape

INDENT = 14  # columns before a step's text


class Progress:
    """Numbers nothing, hides nothing: works on a terminal and in a log."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._start = self._last = time.monotonic()
        self.times: list[tuple[str, float]] = []

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._start

    def heading(self, text: str) -> None:
        """Print what the next lines belong to."""
        self._console.print(f"\n[bold]{escape(text)}[/bold]")

    def done(self, text: str) -> None:
        """Print that something came to be, with the time since the line before."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        self._console.print(f"  [green]✓[/green] [dim]{seconds:6.2f} s[/dim]  {escape(text)}")

    def note(self, text: str) -> None:
        """Print something that is no step."""
        self._console.print(escape(text))

    def quote(self, lines: Iterable[str]) -> None:
        """Print what a program said, below the line before."""
        for line in lines:
            self._console.print(f"{' ' * INDENT}[dim]{escape(line)}[/dim]")

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table below the line before, as wide as it is."""
        lines = [list(heads), *(list(row) for row in rows)]
        widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
        padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
        self.quote("   ".join(cells).rstrip() for cells in padded)

    def failed(self, text: str) -> None:
        """Print what did not hold."""
        self._console.print(f"  [bold red]✗[/bold red] {escape(text)}")

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print a heading, and remember how long its lines took for `summary`."""
        self.heading(title)
        start = self._last = time.monotonic()
        yield
        self.times.append((title, time.monotonic() - start))

    def summary(self) -> None:
        """Print the time of each step and of the whole."""
        self.heading("Time per step")
        for title, seconds in [*self.times, ("all", self.elapsed)]:
            self._console.print(f"  {seconds:6.2f} s  {escape(title)}")
