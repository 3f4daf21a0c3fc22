"""What people read of a report."""

from __future__ import annotations

import textwrap
from collections import Counter

from gatewayctl.doctor.finding import Finding, Report, Verdict

WIDTH = 100
INDENT = " " * 9


def lines(finding: Finding) -> list[str]:
    """Return a finding: verdict, check and summary, and below it the remedy."""
    said = textwrap.wrap(
        f"{finding.check}: {finding.summary}",
        WIDTH,
        initial_indent=f"{finding.verdict.value:9}",
        subsequent_indent=INDENT,
    )
    if finding.remedy:
        said += textwrap.wrap(f"→ {finding.remedy}", WIDTH, initial_indent=INDENT, subsequent_indent=f"{INDENT}  ")
    return said


def summary(report: Report) -> str:
    """Return the last line."""
    count = Counter(finding.verdict for finding in report.findings)
    return ", ".join(f"{count[verdict]} {verdict.value}" for verdict in Verdict if count[verdict])
