"""The centre's figures for people: tables as Markdown, and their place between the markers of a page."""

from __future__ import annotations

import datetime
import os
import platform
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.bench import figures

BEGIN, END = "<!-- centre: written by `make bench-central` -->", "<!-- centre: end -->"
RATE_GOAL, RATIO_GOAL = 100.0, 1.5
_WIDTH = 120
_ABOUT_KIOSKS = (
    "Two kiosks leave room, so that the times are the calls' own; sixteen fill the machine, so that calls wait for each"
    " other. With one service and two kiosks:"
)
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}

Row = dict[str, Any]  # of `tests.bench.central`


def write(rows: Sequence[Row], page: Path) -> None:
    """Put the figures into their place. Raises ValueError when the page has no markers."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the results")
    page.write_text(f"{before}{BEGIN}\n\n{text(rows)}\n\n{END}{after}")


def text(rows: Sequence[Row]) -> str:
    """Return everything as Markdown."""
    commit, changed = figures.commit()
    others = [row["cores"]["others"] for row in rows]
    where = (
        f"Measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d} at commit {commit}"
        f"{' and changes to it' if changed else ''}, with {os.cpu_count()} cores ({figures.processor_name()}),"
        f" {figures.memory_gib():.0f} GiB, {platform.system()} {platform.release()}, all on one machine. What is none"
        f" of ours (the kernel's threads, and all other programs) took {min(others):.2f} to {max(others):.2f} cores."
    )
    return "\n\n".join(
        [
            _paragraph(where),
            _table(("What", "Found", "Goal", ""), _goals(rows)),
            _table(
                (
                    "Database", "Reservations", "Services", "Kiosks", "Attempts/s", "p50, p99 of a call (ms)",
                    "CPU of an attempt (ms): centrald, database, load generator",
                    "Cores: centrald, database, load generator, others",
                ),
                map(_whole, rows),
            ),
            _paragraph(_ABOUT_KIOSKS),
            _calls([row for row in rows if (row["centres"], row["load"]) == (1, "calm")]),
        ]
    )  # fmt: skip


def _goals(rows: Sequence[Row]) -> list[Sequence[str]]:
    rates = {row["attempts_per_second"]: row["centres"] for row in rows if row["database"] == "postgresql"}
    what = "whole attempts a second, PostgreSQL, {}, load generator and all"
    reached = [
        (what.format(_services(rates[rate])), f"{rate:.1f}", f"≥ {RATE_GOAL:.0f}", _judged(rate >= RATE_GOAL))
        for rate in sorted(rates)[-1:]
    ]
    return [*reached, *_ratios(rows)]


def _ratios(rows: Sequence[Row]) -> Iterable[Sequence[str]]:
    small, *_, large = sorted({row["reservations"] for row in rows} | {0})[-2:]
    by_kind: dict[tuple[str, int, int], dict[int, float]] = {}
    for row in rows:
        kind = row["database"], row["centres"], row["kiosks"]
        by_kind.setdefault(kind, {})[row["reservations"]] = row["all_calls"]["p99"]
    if not small:  # there is one size only
        return
    for (database, centres, kiosks), p99 in by_kind.items():
        ratio = p99[large] / p99[small]
        sizes = f"{_thousands(large)} ÷ at {_thousands(small)}"
        what = f"p99 of a call, {NAMES[database]}, {_services(centres)}, {kiosks} kiosks: at {sizes}"
        yield what, f"{ratio:.2f} ×", f"≤ {RATIO_GOAL} ×", _judged(ratio <= RATIO_GOAL)


def _services(count: int) -> str:
    return "1 service" if count == 1 else f"{count} services"


def _judged(held: bool) -> str:
    return "held" if held else "**missed**"


def _whole(row: Row) -> Sequence[str]:
    parts = ("centrald", "database", "load")
    every = row["all_calls"]
    return (
        NAMES[row["database"]],
        _thousands(row["reservations"]),
        str(row["centres"]),
        str(row["kiosks"]),
        f"{row['attempts_per_second']:.0f}",
        f"{every['p50']:.1f}, {every['p99']:.0f}",
        ", ".join(f"{row['cpu_ms_per_attempt'][name]:.1f}" for name in parts),
        ", ".join(f"{row['cores'][name]:.2f}" for name in (*parts, "others")),
    )


def _calls(rows: Sequence[Row]) -> str:
    head = ("Call, p50 / p99 in ms", *(f"{NAMES[row['database']]}, {_thousands(row['reservations'])}" for row in rows))
    names = list(rows[0]["calls"]) if rows else []
    return _table(
        head,
        (
            (f"`{name}`", *(f"{row['calls'][name]['p50']:.1f} / {row['calls'][name]['p99']:.0f}" for row in rows))
            for name in names
        ),
    )


def _paragraph(words: str) -> str:
    return textwrap.fill(words, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
