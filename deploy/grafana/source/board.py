"""Of what are the dashboards made? Rows of panels, with their queries, units and limits.

A thin layer over grafana-foundation-sdk: it lays panels out from left to right and gives every one
the datasource, an id and a description, which each must have.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from grafana_foundation_sdk.builders import bargauge, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="hitl-prometheus")
WIDTH = 24
Kind = Literal["stat", "series", "bars"]
Panel = stat.Panel | timeseries.Panel | bargauge.Panel
GOOD, WARN, BAD = "green", "orange", "red"


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the name of its lines; `{{label}}` is filled in."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Shown:
    """A panel. `limits`: from which value on it is coloured, e.g. ((1, BAD),); below it is green.
    `empty`: what stands there while nothing is wrong and the query finds nothing; a panel without
    it must always find something."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: Kind = "series"
    width: int = 8
    height: int = 8
    limits: Sequence[tuple[float, str]] = ()
    first: str = GOOD
    stacked: bool = False
    most: float | None = None
    empty: str | None = None


@dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Shown]


@dataclass(frozen=True)
class Mark:
    """A line across all panels at the moments at which the query finds something."""

    name: str
    expr: str
    color: str


@dataclass(frozen=True)
class Board:
    """A whole dashboard. `variables`: name, label and the query for its values."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[tuple[str, str, str]] = ()
    marks: Sequence[Mark] = field(default_factory=tuple)


def made(board: Board) -> model.Dashboard:
    """The dashboard as Grafana reads it."""
    builder = (
        build.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["hitl"])
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
    )
    for name, label, values in board.variables:
        builder.with_variable(_variable(name, label, values))
    for mark in board.marks:
        builder.annotation(
            build.AnnotationQuery()
            .name(mark.name)
            .datasource(DATASOURCE)
            .expr(mark.expr)
            .enable(True)
            .icon_color(mark.color)
        )
    number, y = 0, 0
    for row in board.rows:
        number += 1
        builder.with_row(
            build.Row(row.title).id(number).grid_pos(model.GridPos(h=1, w=WIDTH, x=0, y=y))
        )
        y, x, deepest = y + 1, 0, 0
        for shown in row.panels:
            if x + shown.width > WIDTH:
                y, x, deepest = y + deepest, 0, 0
            number += 1
            at = model.GridPos(h=shown.height, w=shown.width, x=x, y=y)
            builder.with_panel(_panel(shown).id(number).grid_pos(at))
            x, deepest = x + shown.width, max(deepest, shown.height)
        y += deepest
    return builder.build()


def _variable(name: str, label: str, values: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(values)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".*")
        .multi(True)
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
    )


def _panel(shown: Shown) -> Panel:
    panel: Panel
    match shown.kind:
        case "stat":
            panel = stat.Panel().graph_mode(common.BigValueGraphMode.AREA)
            panel.color_mode(common.BigValueColorMode.VALUE)
            panel.reduce_options(_last())
        case "bars":
            panel = bargauge.Panel().orientation(common.VizOrientation.HORIZONTAL)
            panel.reduce_options(_last())
        case "series":
            panel = timeseries.Panel().line_width(1).fill_opacity(20 if shown.stacked else 5)
            panel.legend(
                common_builders.VizLegendOptions()
                .display_mode(common.LegendDisplayMode.LIST)
                .placement(common.LegendPlacement.BOTTOM)
                .show_legend(True)
            )
            panel.tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
            if shown.stacked:
                panel.stacking(
                    common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
                )
    panel.title(shown.title).description(shown.description).unit(shown.unit).min(0)
    panel.datasource(DATASOURCE)
    if shown.most is not None:
        panel.max(shown.most)
    if shown.empty is not None:
        panel.no_value(shown.empty)
    steps = [model.Threshold(color=shown.first, value=None)]
    steps += [model.Threshold(color=color, value=value) for value, color in shown.limits]
    panel.thresholds(build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    if shown.kind == "series":
        panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC))
    for place, query in enumerate(shown.queries):
        panel.with_target(
            prometheus.Dataquery()
            .expr(" ".join(query.expr.split()))
            .legend_format(query.legend)
            .ref_id(chr(ord("A") + place))
            .datasource(DATASOURCE)
        )
    return panel


def _last() -> common_builders.ReduceDataOptions:
    return common_builders.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
