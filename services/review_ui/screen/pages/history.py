"""The history page: what was decided, to be undone or taken up, and what waits for a lead.

Reopening goes through the API's undo, from the browser: one way for every undo. Leads take up what
others answered on the card, by a link.
"""

import html
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import gradio as gr

from services.review_ui.api.context import RequestContext
from services.review_ui.auth.accounts import Account
from services.review_ui.reports import history
from services.review_ui.reports.history import PastDecision, Search
from services.review_ui.screen.pages import frame
from services.review_ui.screen.pages.frame import Words, i18n
from services.review_ui.tasks import lead_queue
from services.review_ui.tasks.lead_queue import LeadTask

_TABLE: dict[str, Any] = {"interactive": False, "max_chars": 160, "buttons": []}
# A column's key among the words, and its width. The link is for leads; `key` stays the last.
_DECISIONS = {
    "time": "165px",
    "item": "120px",
    "text": "360px",
    "answer": "110px",
    "action": "110px",
    "reviewer": "110px",
    "state": "110px",
    "note": "180px",
    "take_up": "110px",
    "key": "130px",
}
_FOR_LEADS = {
    "why": "110px",
    "take_up": "110px",
    "item": "120px",
    "text": "340px",
    "answers": "280px",
    "note": "240px",
    "time": "165px",
    "held_by": "110px",
}


def build(page: gr.Blocks, context: RequestContext) -> None:
    """Fills the route of `page` that is open."""
    frame.head("history")
    with gr.Column(elem_classes="rv-panel"):
        with gr.Row():
            text = gr.Textbox(label=i18n("search"), max_length=200, scale=3, min_width=260)
            label = gr.Dropdown([("…", "")], value="", label=i18n("label"))
            reviewer = gr.Dropdown([("…", "")], value="", label=i18n("reviewer"))
            period = gr.Dropdown(list(frame.PERIODS), value="last_week", label=i18n("since"))
            find = gr.Button(i18n("find"), variant="primary", elem_id="find", scale=0)
        table = gr.Dataframe(label=i18n("decisions"), elem_id="decisions", max_height=560, **_TABLE)
        chosen = gr.Textbox(visible="hidden", elem_id="chosen")
        with gr.Row():
            reopen = gr.Button(i18n("reopen"), elem_id="reopen", scale=0)
            download = gr.Button(i18n("download"), elem_id="download", scale=0)
        with gr.Column(visible=False) as leads:
            tasks = gr.Dataframe(
                label=i18n("for_leads"), elem_id="for-leads", max_height=400, **_TABLE
            )
            save = gr.Button(i18n("download_for_leads"), elem_id="download-for-leads", scale=0)

    def start(request: gr.Request) -> tuple[Any, ...]:
        account = frame.visitor(context, request)
        words = frame.words_of(request)
        with context.transaction() as session:
            labels, reviewers = history.labels_and_reviewers(session, account)
            waiting = (
                lead_queue.waiting(session, list(context.workflows), context.clock())
                if account.is_lead
                else []
            )
        everything = [(words["all"], "")]
        return (
            gr.update(choices=everything + [(name, name) for name in labels]),
            gr.update(
                choices=everything + [(name, name) for name in reviewers],
                visible=account.is_lead,
            ),
            gr.update(choices=[(words[key], key) for key in frame.PERIODS]),
            search("", "", "", "last_week", request),
            gr.Column(visible=account.is_lead),
            _shown(_FOR_LEADS, [_lead_row(each, account, words) for each in waiting], words),
        )

    def search(text: str, label: str, reviewer: str, period: str, request: gr.Request) -> Any:
        account = frame.visitor(context, request)
        wanted = Search(
            text=str(text or "")[:200],
            label=label or None,
            reviewer=reviewer or None,
            since=frame.since(context, period),
        )
        with context.transaction() as session:
            found = history.find(session, account, wanted)
        words = frame.words_of(request)
        rows = [_row(each, account, words) for each in found]
        columns = dict(_DECISIONS)
        if not account.is_lead:
            place = list(columns).index("take_up")
            del columns["take_up"]
            rows = [[*row[:place], *row[place + 1 :]] for row in rows]
        return _shown(columns, rows, words)

    def choose(selected: gr.SelectData, request: gr.Request) -> str:
        frame.visitor(context, request)
        return str(selected.row_value[-1]) if selected.row_value else ""

    asked = [text, label, reviewer, period]
    private: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    page.load(start, None, [label, reviewer, period, table, leads, tasks], **private)
    gr.on([find.click, text.submit], search, asked, table, **private)
    gr.on([label.input, reviewer.input, period.input], search, asked, table, **private)
    table.select(choose, None, chosen, show_progress="hidden", **private)
    reopen.click(None, chosen, None, js=_js("reopen"), api_visibility="private")
    for button, shown, name in (
        (download, table, "decisions.csv"),
        (save, tasks, "for-leads.csv"),
    ):
        saving = _js("download", name, str(shown.elem_id))
        button.click(None, shown, None, js=saving, api_visibility="private")


def _js(name: str, *given: str) -> str:
    listed = "".join(f", {json.dumps(each)}" for each in given)
    return f'(value) => import("/ui/pages/pages.js").then((pages) => pages.{name}(value{listed}))'


def _shown(columns: Mapping[str, str], rows: list[list[str]], words: Words) -> Any:
    """The table; only the link is read as HTML, and nothing of an item is in it."""
    return gr.Dataframe(
        frame.table(columns, rows, words),
        datatype=["html" if column == "take_up" else "str" for column in columns],
        column_widths=list(columns.values()),
    )


def _link(task_id: UUID, words: Words) -> str:
    return f'<a href="/?task={task_id}">{html.escape(words["take_up_link"])}</a>'


def _lead_row(each: LeadTask, account: Account, words: Words) -> list[str]:
    free = each.held_by in (None, account.name)
    labels = [f"{answer.reviewer}: {answer.label}" for answer in each.answers if answer.label]
    flags = [f"{a.reviewer}: {a.reason or ''}" for a in each.answers if a.label is None]
    notes = [f"{answer.reviewer}: {answer.note}" for answer in each.answers if answer.note]
    return [
        words[each.why],
        _link(each.task_id, words) if free else "",
        each.item_id,
        each.text,
        " · ".join(labels),
        " · ".join(flags + notes),
        frame.NOTHING if each.since is None else f"{each.since:%Y-%m-%d %H:%M:%S}",
        each.held_by or "",
    ]


def _row(each: PastDecision, account: Account, words: Words) -> list[str]:
    state = "undone" if each.undone else "counts" if each.effective else "late"
    return [
        f"{each.decided_at:%Y-%m-%d %H:%M:%S}",
        each.item_id,
        each.text,
        each.label or frame.NOTHING,
        words[f"did_{each.action}"],
        each.reviewer,
        words[state],
        each.note,
        _link(each.task_id, words) if each.reviewer != account.name else "",
        str(each.key),
    ]
