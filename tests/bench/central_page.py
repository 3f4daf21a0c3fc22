"""The centre's figures for people: tables as Markdown, and their place between the markers of a page."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.bench import figures

BEGIN, END = "<!-- centre: written by `make bench-central` -->", "<!-- centre: end -->"
RATE_GOAL, RATIO_GOAL = 100.0, 1.5
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
            where,
            _table(("Goal", "Found"), _goals(rows)),
            _table(
                (
                    "Database", "Reservations", "Services", "Kiosks", "Attempts/s", "p50, p99 of a call (ms)",
                    "CPU of an attempt (ms): centrald, database, load generator",
                    "Cores: centrald, database, load generator, others",
                ),
                map(_whole, rows),
            ),
            _ABOUT_KIOSKS,
            _calls([row for row in rows if (row["centres"], row["load"]) == (1, "calm")]),
        ]
    )  # fmt: skip


def _goals(rows: Sequence[Row]) -> list[Sequence[str]]:
    found = [(f"p99 within {RATIO_GOAL} × from the smaller table to the larger", _ratios(rows))]
    rates = [row for row in rows if row["database"] == "postgresql"]
    if rates:
        best = max(rates, key=lambda row: float(row["attempts_per_second"]))
        rate, cost = best["attempts_per_second"], sum(best["cpu_ms_per_attempt"].values())
        judged = "reached" if rate >= RATE_GOAL else "**missed**"
        goal = f"{RATE_GOAL:.0f} whole attempts a second with PostgreSQL on two cores, load generator and all"
        told = (
            f"{judged}: at most {rate:.0f}, with {best['centres']} service(s), {best['kiosks']} kiosks and"
            f" {_thousands(best['reservations'])} reservations; an attempt costs {cost:.1f} ms of CPU there, of which"
            f" centrald takes {best['cpu_ms_per_attempt']['centrald']:.1f}"
        )
        found.insert(0, (goal, told))
    return [*found]


def _ratios(rows: Sequence[Row]) -> str:
    sizes = sorted({row["reservations"] for row in rows})
    by_kind: dict[tuple[str, int, int], dict[int, float]] = {}
    for row in rows:
        kind = row["database"], row["centres"], row["kiosks"]
        by_kind.setdefault(kind, {})[row["reservations"]] = row["all_calls"]["p99"]
    parts = []
    for (database, centres, kiosks), p99 in by_kind.items():
        ratio = p99[sizes[-1]] / p99[sizes[0]]
        judged = "" if ratio <= RATIO_GOAL else " (**missed**)"
        parts.append(f"{NAMES[database]}, {centres} service(s), {kiosks} kiosks: {ratio:.2f} ×{judged}")
    return "; ".join(parts)


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


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
