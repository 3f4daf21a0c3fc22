"""METRICS.md: every metric of daemon and centre, from their own registries, enumerations and alert rules.

What only people can say of a metric stands in `docs.metric_words`. A metric of which it says nothing is an error.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Info
from prometheus_client.metrics import MetricWrapperBase

import centrald.app
import gatewayd.app
from docs.metric_words import ADVICE, PAIRS, VALUES, Values
from gatewayd.clock import SystemClock

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {"gatewayd": "The kiosks' daemon", "centrald": "The centre"}
SUFFIX = {"counter": "_total", "info": "_info"}
LONG = 11  # values of a label that are told one by one


@dataclass(frozen=True)
class Family:
    """What is told of one metric."""

    name: str  # as Prometheus has it, with _total and _info
    kind: str
    text: str
    labels: Values
    most_series: int
    advice: str
    alerts: list[str]

    @property
    def unit(self) -> str:
        """The unit, which the name ends with."""
        if "timestamp_seconds" in self.name:
            return "Unix time, s"
        return "s" if self.name.endswith("_seconds") else "–"


def families(program: str) -> list[Family]:
    """Return the program's own metrics in the order of their making.

    Raises KeyError for one without advice, ValueError for one whose labels are not those of `VALUES`.
    """
    metrics = gatewayd.app.make_metrics(SystemClock()) if program == "gatewayd" else centrald.app.make_metrics()
    made = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    most = {_name(one): _most_series(one) for one in made}
    related = alerts()
    return [
        Family(
            name=family.name + SUFFIX.get(family.type, ""),
            kind=family.type,
            text=family.documentation,
            labels=VALUES.get(family.name, {}),
            most_series=most.get(family.name, 1),
            advice=ADVICE[family.name],
            alerts=related.get(family.name, []),
        )
        for family in metrics.registry.collect()
        if family.name.startswith(program)
    ]


def _name(made: MetricWrapperBase) -> str:
    (family,) = made.describe()
    return family.name


def _most_series(made: MetricWrapperBase) -> int:
    """Return the number of series that a family can have, by the values of its labels."""
    name = _name(made)
    values = {label: sorted(known) for label, known in VALUES.get(name, {}).items()}
    if not values or isinstance(made, Info):
        return sum(len(family.samples) for family in made.collect())
    one = {label: known[0] for label, known in values.items()}
    made.labels(**one)
    samples = [sample for family in made.collect() for sample in family.samples if one.items() <= sample.labels.items()]
    return len(samples) * PAIRS.get(name, math.prod(map(len, values.values())))


def alerts() -> dict[str, list[str]]:
    """Return the alerts by the family their expressions speak of."""
    found = defaultdict(list)
    for path in sorted((ROOT / "systemd/alerts").glob("*.yml")):
        for rule in re.split(r"^ +- alert: ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            expression = rule.partition("labels:")[0]
            spoken = re.findall(r"\b(?:gatewayd|centrald)_\w+", expression)
            for name in {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in spoken}:
                found[name].append(rule.split()[0])
    return dict(found)


def page(notice: str) -> str:
    """Return docs/METRICS.md."""
    lines = [
        notice,
        "# Metrics",
        "",
        "Served as text on `[metrics] address` under `/metrics`, on a thread that answers while the program hangs. No",
        "label says anything of a citizen or a card, and every label has the values listed here and no others; so a",
        "program has at most as many series as the tables say, and mostly far fewer. `systemd/prometheus.yml` scrapes",
        "them, `systemd/alerts/` has the alerts, [RUNBOOKS.md](RUNBOOKS.md) a page for each, `systemd/dashboards/` the",
        "dashboards.",
        "",
        "Counters and histograms begin anew when a program starts. Times are seconds, dates Unix time in seconds.",
        "Beside these there are `process_*` (processor, memory, files, start) and `python_*` of the Prometheus client.",
    ]
    for program, title in PROGRAMS.items():
        found = families(program)
        lines += [
            "",
            f"## {title}",
            "",
            f"{len(found)} metrics, at most {sum(one.most_series for one in found):,} series.",
            "",
            "| Metric | Type | Unit | Labels | Series at most | Means | What to do | Alerts |",
            "|---|---|---|---|---|---|---|---|",
            *map(_row, found),
        ]
    lines += ["", "## Labels with many values", ""]
    for name, values in _long_labels():
        lines += [f"**{name}**: {', '.join(f'`{value}`' for value in values)}", ""]
    return "\n".join(lines)


def _row(family: Family) -> str:
    labels = "<br>".join(_label(label, values) for label, values in family.labels.items()) or "–"
    links = "<br>".join(f"[{alert}](RUNBOOKS.md#{alert.lower()})" for alert in family.alerts) or "–"
    cells = (
        f"`{family.name}`",
        family.kind,
        family.unit,
        labels,
        f"{family.most_series:,}",
        family.text,
        family.advice,
    )
    return f"| {' | '.join(cells)} | {links} |"


def _label(label: str, values: Collection[str]) -> str:
    if len(values) > LONG:
        return f"`{label}`: {len(values)} values, see below"
    return f"`{label}`: {', '.join(f'`{value}`' for value in values)}"


def _long_labels() -> list[tuple[str, list[str]]]:
    """Return the labels whose values a table has no room for, each set once, with the metrics that have them."""
    owners = defaultdict(list)
    for family, labels in VALUES.items():
        for label, values in labels.items():
            if len(values) > LONG:
                owners[label, tuple(values)].append(family)
    return [
        (f"`{label}` of {', '.join(f'`{owner}`' for owner in of)}", list(values))
        for (label, values), of in owners.items()
    ]
