"""Grafana's JSON of a dashboard, from rows of panels. Import it, or put it where Grafana's provisioning looks.

In a query `$of` stands for the job and the instances that are chosen. The form is the dashboard schema of Grafana 11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

SCHEMA = 39
COLUMNS, STAT_WIDTH, GRAPH_WIDTH = 24, 4, 8
STAT_HEIGHT, GRAPH_HEIGHT = 4, 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SECONDS, COUNT, RATE, DAYS, BYTES, SHARE, TIME = "s", "short", "ops", "d", "bytes", "percentunit", "dateTimeAsIso"


@dataclass(frozen=True)
class Panel:
    """One panel; `bad` is the value from which a single figure turns red."""

    title: str
    unit: str
    queries: dict[str, str]
    stat: bool = False
    bad: float | None = None


def stat(title: str, query: str, unit: str = COUNT, bad: float | None = None) -> Panel:
    """Return a single figure."""
    return Panel(title, unit, {"": query}, stat=True, bad=bad)


def each(title: str, unit: str, query: str, *by: str) -> Panel:
    """Return a query whose series are told apart by these labels, the instance if none is given."""
    return Panel(title, unit, {" ".join(f"{{{{{label}}}}}" for label in by or ("instance",)): query})


def counted(title: str, name: str, *by: str) -> Panel:
    """Return how often something happened, by labels."""
    query = f"sum by ({', '.join(by)}) (increase({name}{{$of}}[$__rate_interval]))"
    return each(title, COUNT, query, *by)


def slowest(title: str, name: str, by: str, quantile: float = 0.9) -> Panel:
    """Return a quantile of a histogram, by a label."""
    buckets = f"sum by (le, {by}) (rate({name}_bucket{{$of}}[$__rate_interval]))"
    return each(title, SECONDS, f"histogram_quantile({quantile}, {buckets})", by)


def quantiles(title: str, name: str, more: str = "") -> Panel:
    """Return the median and the slowest of a histogram."""
    buckets = f"sum by (le) (rate({name}_bucket{{$of{more}}}[$__rate_interval]))"
    return Panel(title, SECONDS, {f"p{q * 100:g}": f"histogram_quantile({q:g}, {buckets})" for q in (0.5, 0.9, 0.99)})


Rows: TypeAlias = Sequence[tuple[str, Sequence[Panel]]]


def dashboard(program: str, title: str, rows: Rows, told: Mapping[str, str]) -> str:
    """Return the JSON of a dashboard about one job of Prometheus; `told` describes metrics, by name."""
    build = f"label_values({program}_build_info, instance)"
    content = {
        "uid": f"jpki-{program}",
        "title": title,
        "tags": ["jpki", program],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                {
                    "name": "instance",
                    "label": "Instance",
                    "type": "query",
                    "datasource": SOURCE,
                    "query": {"query": build, "refId": "instances"},
                    "refresh": 2,
                    "sort": 1,
                    "multi": True,
                    "includeAll": True,
                    "allValue": ".+",
                },
            ]
        },
        "panels": _laid_out(program, rows, told),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _laid_out(program: str, rows: Rows, told: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the panels from left to right, a row's single figures first."""
    made: list[dict[str, Any]] = []
    y = 0
    for title, panels in rows:
        made.append(_row(title, y))
        y, x = y + 1, 0
        for index, panel in enumerate(panels):
            width, height = (STAT_WIDTH, STAT_HEIGHT) if panel.stat else (GRAPH_WIDTH, GRAPH_HEIGHT)
            made.append(_panel(program, panel, told) | {"gridPos": _place(x, y, width, height)})
            x += width
            if x == COLUMNS or index == len(panels) - 1:
                y, x = y + height, 0
    return [{"id": number, **panel} for number, panel in enumerate(made, 1)]


def _row(title: str, y: int) -> dict[str, Any]:
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": _place(0, y, COLUMNS, 1)}


def _place(x: int, y: int, w: int, h: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": w, "h": h}


def _panel(program: str, panel: Panel, told: Mapping[str, str]) -> dict[str, Any]:
    of = f'job="{program}", instance=~"$instance"'
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.stat:
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if panel.bad is not None:
            steps.append({"color": "red", "value": panel.bad})
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        options: dict[str, Any] = {
            "colorMode": "value",
            "graphMode": "area",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    else:
        defaults["custom"] = {"drawStyle": "line", "fillOpacity": 10, "showPoints": "never"}
        options = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": _description(panel, told),
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": SOURCE,
                "editorMode": "code",
                "expr": query.replace("$of", of),
                "legendFormat": legend,
                "range": True,
            }
            for number, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _description(panel: Panel, told: Mapping[str, str]) -> str:
    for name in re.findall(r"\b\w+", next(iter(panel.queries.values()))):
        if text := told.get(name) or told.get(re.sub(r"_(bucket|count|sum)$", "", name)):
            return re.sub(r"\[([\w.]+)\]\([\w.]+\)", r"docs/\1", text)
    return ""
