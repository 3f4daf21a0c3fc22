"""The dashboards are what Grafana understands, whole and without two panels in one place."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from docs import metrics

DASHBOARDS = sorted((Path(__file__).parents[3] / "systemd/dashboards").glob("*.json"))
VARIABLES = {"instance", "__rate_interval", "__range", "datasource"}

# Of Grafana's schema (grafana/grafana, kinds/dashboard/dashboard_kind.cue) the part that is used, and nothing beside.
Positive = Annotated[int, msgspec.Meta(ge=1)]
Column = Annotated[int, msgspec.Meta(ge=0, lt=24)]


class Source(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["prometheus"]
    uid: Literal["${datasource}"]


class Place(msgspec.Struct, forbid_unknown_fields=True):
    x: Column
    y: Annotated[int, msgspec.Meta(ge=0)]
    w: Annotated[int, msgspec.Meta(gt=0, le=24)]
    h: Positive


class Target(msgspec.Struct, forbid_unknown_fields=True):
    refId: Annotated[str, msgspec.Meta(pattern="^[A-Z]$")]  # noqa: N815 - Grafana's name
    datasource: Source
    editorMode: Literal["code"]  # noqa: N815
    expr: str
    legendFormat: str  # noqa: N815
    range: bool


class Row(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="row"):
    id: Positive
    title: str
    collapsed: bool
    panels: list[Any]
    gridPos: Place  # noqa: N815


class Fields(msgspec.Struct, forbid_unknown_fields=True):
    defaults: dict[str, Any]
    overrides: list[Any]


class Graph(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="timeseries"):
    id: Positive
    title: str
    description: Annotated[str, msgspec.Meta(min_length=10)]
    datasource: Source
    fieldConfig: Fields  # noqa: N815
    options: dict[str, Any]
    targets: Annotated[list[Target], msgspec.Meta(min_length=1)]
    gridPos: Place  # noqa: N815


class Stat(Graph, tag_field="type", tag="stat"):
    pass


class Dashboard(msgspec.Struct, forbid_unknown_fields=True):
    uid: Annotated[str, msgspec.Meta(pattern="^[a-z-]{1,40}$")]
    title: str
    tags: list[str]
    schemaVersion: Literal[39]  # noqa: N815
    version: int
    editable: bool
    graphTooltip: Literal[0, 1, 2]  # noqa: N815
    refresh: str
    time: dict[Literal["from", "to"], str]
    timezone: Literal["browser"]
    annotations: dict[Literal["list"], list[Any]]
    links: list[Any]
    templating: dict[Literal["list"], list[dict[str, Any]]]
    panels: list[Row | Graph | Stat]


def read(path: Path) -> Dashboard:
    return msgspec.json.decode(path.read_bytes(), type=Dashboard)


def queries(dashboard: Dashboard) -> list[str]:
    return [target.expr for panel in dashboard.panels if isinstance(panel, Graph) for target in panel.targets]


def overlap(one: Place, other: Place) -> bool:
    across = one.x < other.x + other.w and other.x < one.x + one.w
    return across and one.y < other.y + other.h and other.y < one.y + one.h


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_it_is_laid_out(path: Path) -> None:
    panels = read(path).panels
    assert [panel.id for panel in panels] == list(range(1, len(panels) + 1))
    assert all(panel.gridPos.x + panel.gridPos.w <= 24 for panel in panels)
    assert not [pair for pair in itertools.combinations(panels, 2) if overlap(pair[0].gridPos, pair[1].gridPos)]
    titles = [panel.title for panel in panels]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_it_asks_for_what_there_is(path: Path) -> None:
    """Of the chosen instances of one job only, and with no variable that nobody sets."""
    dashboard = read(path)
    for query in queries(dashboard):
        selectors = re.findall(r"\{(.*?)\}", query)
        assert selectors
        assert all(one.startswith(f'job="{path.stem}", instance=~"$instance"') for one in selectors), query
        assert set(re.findall(r"\$(\w+)", query)) <= VARIABLES
    known = {variable["name"] for variable in dashboard.templating["list"]}
    assert known == {"datasource", "instance"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_metric_of_the_program_is_shown(path: Path) -> None:
    shown = {name for query in queries(read(path)) for name in re.findall(rf"\b{path.stem}_\w+", query)}
    plain = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert plain == {family.name for family in metrics.families(path.stem)}
