"""The dashboard: charts and tables over reports/dashboard.py; measures.py and hooks.py.

Reviewers see their own work, leads and admins everybody's; what waits is the same for all.
"""

from datetime import timedelta
from typing import Any

import gradio as gr
import pandas as pd

from services.review_ui.api.context import RequestContext
from services.review_ui.reports import dashboard
from services.review_ui.reports.dashboard import Figures, Flow, Work
from services.review_ui.reports.stale_cache import StaleCache
from services.review_ui.screen.pages import frame, hooks, measures
from services.review_ui.screen.pages.frame import Words, i18n

_COLOURS = ["#3b82f6", "#d97706"]
_CHART: dict[str, Any] = {"height": 290, "min_width": 330, "buttons": []}
_TABLE: dict[str, Any] = {"datatype": "str", "interactive": False, "buttons": [], "min_width": 330}


def build(page: gr.Blocks, context: RequestContext) -> None:
    """Fills the route of `page` that is open."""
    frame.head("dashboard")
    with gr.Column(elem_classes="rv-panel"):
        with gr.Row():
            period = gr.Dropdown(
                list(frame.PERIODS), value="last_day", label=i18n("since"), scale=0, min_width=220
            )
            refresh = gr.Button(i18n("refresh"), elem_id="refresh", scale=0)
        backlog = gr.Dataframe(label=i18n("backlog"), elem_id="backlog", **_TABLE)
        with gr.Row():
            per_hour = gr.BarPlot(label=i18n("per_hour"), **_CHART)
            agreement = gr.LinePlot(label=i18n("agreement_per_hour"), **_CHART)
        with gr.Row():
            seconds = gr.LinePlot(label=i18n("seconds"), **_CHART)
            confidence = gr.BarPlot(label=i18n("confidence"), **_CHART)
        reviewers = gr.Dataframe(label=i18n("per_reviewer"), elem_id="reviewers", **_TABLE)
        labels = gr.Dataframe(label=i18n("per_label"), elem_id="labels", **_TABLE)
        measured = measures.build()
        sent = hooks.build()
    work, moves = StaleCache[Figures](), StaleCache[list[Flow]]()
    measure, send = measures.reader(context), hooks.reader(context)

    def start(request: gr.Request) -> list[Any]:
        frame.visitor(context, request)
        words = frame.words_of(request)
        choices = gr.update(choices=[(words[key], key) for key in frame.PERIODS])
        return [choices, *show("last_day", request)]

    def show(period: str, request: gr.Request) -> list[Any]:
        account = frame.visitor(context, request)
        reviewer = None if account.is_lead else account.name
        since = frame.since(context, period)

        def read() -> Figures:
            with context.transaction() as session:
                return dashboard.read(session, since=since, reviewer=reviewer)

        def move() -> list[Flow]:
            with context.transaction() as session:
                return dashboard.flows(session, list(context.workflows), context.clock())

        # A period slides with the clock: what is kept is asked for by its name.
        found, moving = work.get((period, reviewer), read), moves.get("all", move)
        words = frame.words_of(request)
        return [
            _backlog([each for each in moving if account.sees(each.workflow)], words),
            *_charts(found, words),
            *_tables(found, words),
            *measure(account, period, words),
            send(account, words),
        ]

    shown = [backlog, per_hour, agreement, seconds, confidence, reviewers, labels, *measured, sent]
    private: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    page.load(start, None, [period, *shown], **private)
    gr.on([refresh.click, period.input], show, period, shown, **private)


def _backlog(moving: list[Flow], words: Words) -> dict[str, Any]:
    rows = [
        [
            flow.workflow,
            f"{flow.open:,}",
            f"{flow.arrived:,.0f}",
            f"{flow.decided:,.0f}",
            frame.NOTHING if flow.hours_to_drain is None else f"{flow.hours_to_drain:,.1f}",
        ]
        for flow in moving
    ]
    return frame.table(("workflow", "open", "arrived", "decided_hour", "drain"), rows, words)


def _charts(found: Figures, words: Words) -> list[Any]:
    hour, what, count, sure = (words[key] for key in ("hour", "what", "decided", "sure"))
    hours = pd.DataFrame(
        {
            # Times also where there are none: or the empty chart would format numbers as times.
            hour: pd.to_datetime([at for at, _ in found.hours], utc=True),
            count: [work.decided for _, work in found.hours],
            "%": [None if w.agreement is None else w.agreement * 100 for _, w in found.hours],
            "s": [work.seconds for _, work in found.hours],
        }
    )
    bins = pd.DataFrame(
        [
            (f"{each.low * 100:.0f} %", name, number)
            for each in found.confidence
            for name, number in ((words["kept"], each.kept), (words["changed"], each.changed))
        ],
        columns=[sure, what, count],
    )
    order = list(dict.fromkeys(bins[sure]))
    short = not found.hours or found.hours[-1][0] - found.hours[0][0] < timedelta(days=2)
    over_time: dict[str, Any] = {"x": hour, "x_axis_format": "%H:%M" if short else "%d.%m."}
    colours = dict(zip((words["kept"], words["changed"]), _COLOURS, strict=True))
    return [
        gr.BarPlot(hours, y=count, **over_time),
        gr.LinePlot(hours.dropna(subset=["%"]), y="%", y_lim=[0, 100], **over_time),
        gr.LinePlot(hours.dropna(subset=["s"]), y="s", **over_time),
        gr.BarPlot(
            bins, x=sure, y=count, color=what, color_map=colours, sort=order, colors_in_legend=[]
        ),
    ]


def _tables(found: Figures, words: Words) -> list[dict[str, Any]]:
    reviewers = ("reviewer", "decided", "skipped", "flagged", "agreement", "median")
    labels = ("label", "decided", "agreement", "median")  # nobody skips or flags with a label
    by_reviewer = [
        [w.name, f"{w.decided:,}", f"{w.skipped:,}", f"{w.flagged:,}", *_quality(w)]
        for w in found.reviewers
    ]
    by_label = [[w.name, f"{w.decided:,}", *_quality(w)] for w in found.labels]
    return [frame.table(reviewers, by_reviewer, words), frame.table(labels, by_label, words)]


def _quality(work: Work) -> list[str]:
    return [frame.percent(work.agreement), frame.seconds(work.seconds)]
