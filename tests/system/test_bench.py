"""The bench of a reset runs whole, in its shortest form; how fast anything is, is nothing a test can say."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from tests.bench import page
from tests.bench.figures import Results, demand_alike
from tests.rig.process import ROOT, RigError, run
from tests.rig.site import Site

PAIRS = 5
MOST_APDUS = 45
SECONDS = 90.0  # some 10 on a machine that has nothing else to do
PAGE = f"# Performance\n\n{page.BEGIN}\nold\n{page.END}\n\n## The centre\n"


@pytest.mark.timeout(2 * SECONDS)
def test_the_bench_measures_and_writes_down(tmp_path: Path, site: Site) -> None:
    written, figures = tmp_path / "PERFORMANCE.md", tmp_path / "figures.json"
    written.write_text(PAGE)
    words: list[str | Path] = [
        "--pairs",
        str(PAIRS),
        "--idle",
        "0.1",
        "--page",
        written,
        "--json",
        figures,
        "--site",
        site.directory,
    ]
    told = run([sys.executable, "-m", "tests.bench.reset", *words], env={"PYTHONPATH": str(ROOT)}, seconds=SECONDS)
    assert f"{PAIRS} pairs: reset " in told

    results = msgspec.json.decode(figures.read_bytes(), type=Results)
    assert len(results.pairs) == PAIRS
    assert 0 < results.apdus <= MOST_APDUS
    for pair in results.pairs:
        assert pair.counts[:2] == (results.apdus, results.calls)
        assert pair.floor_counts == (results.apdus, results.calls, results.commits)
        parts = {name: value for name, value in pair.reset_parts.items() if name != "rest"}  # what overlaps is twice
        assert all(value > 0 for value in (*parts.values(), *pair.floor_parts.values()))
        assert abs(sum(pair.reset_parts.values()) - pair.reset) < 0.001

    text = written.read_text()
    assert text.startswith(f"# Performance\n\n{page.BEGIN}")
    assert text.endswith(f"{page.END}\n\n## The centre\n")
    assert "old" not in text
    assert "| reset ÷ floor, medians |" in text
    assert (tmp_path / page.PLOT).read_text().count("<svg") == 1

    apdus, calls, commits = results.apdus, results.calls, results.commits
    for other in ((apdus + 1, calls, commits), (apdus, calls + 1, commits), (apdus, calls, commits + 1)):
        with pytest.raises(RigError, match="of the floor"):
            demand_alike(results.pairs, other)
