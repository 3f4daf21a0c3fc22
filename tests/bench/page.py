"""The results for people: a line, tables, a plot, and their place between the markers of a page."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.bench.figures import Pair, Results, Spread

BEGIN, END = "<!-- reset: written by `make bench` -->", "<!-- reset: end -->"
PLOT = Path("performance/reset.svg")  # beside the page
WIDTH = 120
MEDIAN_GOAL, P99_GOAL = 2.0, 3.0  # times the floor
APDUS_GOAL, START_GOAL_MS, RSS_GOAL_MIB, CPU_GOAL = 45, 1000.0, 64.0, 0.002
PARTS = {
    "card": "commands on the card",
    "connect": "connecting to the card",
    "centre": "calls to the centre",
    "journal": "commits of the journal",
    "rest": "the daemon's own code, and the front-end's stream",
}


def line(pairs: Sequence[Pair]) -> str:
    """Return what the pairs say so far."""
    reset, floor = _spreads(pairs)
    return (
        f"reset {reset.p50:.1f} ms, floor {floor.p50:.1f} ms: {reset.p50 / floor.p50:.2f} ×;"
        f" p99 {reset.p99:.1f} and {floor.p99:.1f} ms: {reset.p99 / floor.p99:.2f} ×"
    )


def text(results: Results) -> str:
    """Return everything as Markdown."""
    machine = results.machine
    where = (
        f"Measured on {machine.date} at commit {machine.commit}{' and changes to it' if machine.changed else ''}, with"
        f" {machine.cores} cores ({machine.processor}), {machine.memory_gib:.0f} GiB, {machine.system}. Of the cores"
        f" {machine.busy:.2f} were in use meanwhile, all programs together; the load average of the minute before was"
        f" {machine.load:.1f}. {len(results.pairs)} pairs of a whole reset and a pass of the floor, in turn."
    )
    counts = (
        f"A reset has {results.apdus} commands on the card, {results.calls} calls to the centre and {results.commits}"
        f" synced commits of the journal until its end is shown, and the floor as many. {_centre(results)}"
    )
    parts = [
        _paragraph(where),
        _table(("What", "Found", "Goal", ""), _goals(results)),
        _table(("", "Reset, ms: p50", "p99", "Share", "Floor, ms: p50", "p99"), _parts(results.pairs)),
        _paragraph(counts),
        _table(
            ("From this input to the view that asks next", "ms: p50", "p99"), _named(results, lambda one: one.inputs)
        ),
        _table(("Step of the daemon", "ms: p50", "p99"), _named(results, lambda one: one.steps)),
        _table(("Call to the centre", "ms: p50", "p99"), _named(results, lambda one: one.central)),
        _table(("Beside a reset", "ms: p50", "p99", "of"), _beside(results)),
        _paragraph(f"A scrape has {results.scrape_bytes} bytes and takes {results.scrape_cpu_ms:.1f} ms of CPU."),
        f"![How long resets and passes of the floor took]({PLOT})",
    ]
    return "\n\n".join(parts)


def write(results: Results, path: Path) -> None:
    """Put text and plot into their place. Raises ValueError when the page has no markers."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no place for the results")
    plot(results, path.parent / PLOT)
    path.write_text(f"{before}{BEGIN}\n\n{text(results)}\n\n{END}{after}")


def plot(results: Results, path: Path) -> None:
    """Draw which share of resets, and of passes of the floor, took how long at most."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "reset"  # the same figures give the same file
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    figure, (spread, shares) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    reset, floor = _spreads(results.pairs)
    for values, label, color in (
        ([pair.floor for pair in results.pairs], "floor", "tab:gray"),
        ([pair.reset for pair in results.pairs], "reset", "tab:blue"),
    ):
        spread.ecdf(values, label=label, color=color)
    spread.axvline(MEDIAN_GOAL * floor.p50, label="goal of the median", color="tab:green", linestyle="--", linewidth=1)
    spread.set_xlim(0, 1.3 * max(reset.p99, floor.p99))
    spread.set_xlabel("ms")
    spread.set_ylabel("share of passes")
    spread.legend()
    left = {"floor": 0.0, "reset": 0.0}
    for part in PARTS:
        widths = {
            "floor": statistics.fmean(pair.floor_parts.get(part, 0.0) for pair in results.pairs),
            "reset": statistics.fmean(pair.reset_parts[part] for pair in results.pairs),
        }
        shares.barh(list(widths), list(widths.values()), left=list(left.values()), label=part)
        left = {name: begin + widths[name] for name, begin in left.items()}
    shares.set_xlabel("ms, mean")
    shares.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _spreads(pairs: Sequence[Pair]) -> tuple[Spread, Spread]:
    return Spread.of([pair.reset for pair in pairs]), Spread.of([pair.floor for pair in pairs])


def _mean(pairs: Sequence[Pair], pick: Callable[[Pair], float]) -> float:
    return statistics.fmean(map(pick, pairs))


def _goals(results: Results) -> Iterable[Sequence[str]]:
    reset, floor = _spreads(results.pairs)
    rows = (
        ("reset ÷ floor, medians", reset.p50 / floor.p50, MEDIAN_GOAL, "{:.2f} ×"),
        ("reset ÷ floor, 99th percentiles", reset.p99 / floor.p99, P99_GOAL, "{:.2f} ×"),
        ("commands on the card", results.apdus, APDUS_GOAL, "{:.0f}"),
        ("start until READY, median", results.start.p50, START_GOAL_MS, "{:.0f} ms"),
        (f"memory after {results.idle_seconds:g} s of idleness", results.idle_rss_mib, RSS_GOAL_MIB, "{:.1f} MiB"),
        (f"memory after {len(results.pairs)} resets", results.used_rss_mib, RSS_GOAL_MIB, "{:.1f} MiB"),
        ("a core's share while idle", 100 * results.idle_cpu, 100 * CPU_GOAL, "{:.2f} %"),
    )
    for what, found, goal, form in rows:
        yield what, form.format(found), f"≤ {form.format(goal)}", "held" if found <= goal else "**missed**"


def _parts(pairs: Sequence[Pair]) -> Iterable[Sequence[str]]:
    reset, floor = _spreads(pairs)
    whole = _mean(pairs, lambda one: one.reset)
    for part, name in PARTS.items():
        found = Spread.of([pair.reset_parts[part] for pair in pairs])
        row = [name, f"{found.p50:.1f}", f"{found.p99:.1f}", f"{found.mean / whole:.0%}"]
        bare = Spread.of([pair.floor_parts.get(part, 0.0) for pair in pairs])
        yield [*row, *((f"{bare.p50:.1f}", f"{bare.p99:.1f}") if bare.mean else ("–", "–"))]
    yield ["all", f"{reset.p50:.1f}", f"{reset.p99:.1f}", "", f"{floor.p50:.1f}", f"{floor.p99:.1f}"]


def _centre(results: Results) -> str:
    asked = statistics.median(pair.reset_parts["centre"] for pair in results.pairs)
    wire = statistics.median(pair.floor_parts["centre"] for pair in results.pairs)
    whole, floor = _spreads(results.pairs)
    return (
        f"Empty calls would take {wire:.1f} ms of the {asked:.1f} ms that the centre takes, so {asked - wire:.1f} ms"
        " are its own work: certificates, signatures, cryptograms, the receipt, its database. Without them a reset"
        f" would take {(whole.p50 - asked + wire) / floor.p50:.2f} × the floor."
    )


def _named(results: Results, pick: Callable[[Pair], dict[str, float]]) -> Iterable[Sequence[str]]:
    for name in pick(results.pairs[0]):
        found = Spread.of([pick(pair)[name] for pair in results.pairs if name in pick(pair)])
        yield name.replace("_", " "), f"{found.p50:.1f}", f"{found.p99:.1f}"


def _beside(results: Results) -> Iterable[Sequence[str]]:
    for name, found in (
        ("unary call on the local socket (GetStatus)", results.unary),
        ("an input and its view on an open stream", results.stream),
        ("start until READY", results.start),
        ("scrape of the metrics", results.scrape),
    ):
        yield name, f"{found.p50:.2f}", f"{found.p99:.2f}", str(found.count)


def _paragraph(words: str) -> str:
    return textwrap.fill(words, WIDTH, break_long_words=False, break_on_hyphens=False)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(heads), ["---"] * len(heads), *map(list, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
