"""What has been decided, and can I take it back? The history page.

Reopening goes through the API's undo, from the browser: one way for every undo.
"""

from typing import Any

import gradio as gr

from services.review_ui import past
from services.review_ui.desk import Desk
from services.review_ui.languages import Words
from services.review_ui.pages import frame
from services.review_ui.pages.frame import i18n
from services.review_ui.past import Past, Search

_COLUMNS = ("time", "item", "text", "label", "action", "reviewer", "state", "note", "key")
_WIDTHS: list[str | int] = [
    "165px",
    "120px",
    "360px",
    "110px",
    "110px",
    "110px",
    "110px",
    "180px",
    "130px",
]


def build(page: gr.Blocks, desk: Desk) -> None:
    """Fills the route of `page` that is open."""
    frame.head("history")
    with gr.Column(elem_classes="rv-panel"):
        with gr.Row():
            text = gr.Textbox(label=i18n("search"), max_length=200, scale=3, min_width=260)
            label = gr.Dropdown([("…", "")], value="", label=i18n("label"))
            reviewer = gr.Dropdown([("…", "")], value="", label=i18n("reviewer"))
            period = gr.Dropdown(list(frame.PERIODS), value="last_week", label=i18n("since"))
            find = gr.Button(i18n("find"), variant="primary", elem_id="find", scale=0)
        table = gr.Dataframe(
            datatype="str",
            interactive=False,
            label=i18n("decisions"),
            elem_id="decisions",
            column_widths=_WIDTHS,
            max_height=560,
            max_chars=160,
            buttons=[],
        )
        chosen = gr.Textbox(visible="hidden", elem_id="chosen")
        with gr.Row():
            reopen = gr.Button(i18n("reopen"), elem_id="reopen", scale=0)
            download = gr.Button(i18n("download"), elem_id="download", scale=0)

    def start(request: gr.Request) -> tuple[Any, Any, Any, Any]:
        account = frame.visitor(desk, request)
        words = frame.words_of(request)
        with desk.transaction() as session:
            labels, reviewers = past.labels_and_reviewers(session, account)
        everything = [(words["all"], "")]
        return (
            gr.update(choices=everything + [(name, name) for name in labels]),
            gr.update(
                choices=everything + [(name, name) for name in reviewers],
                visible=past.sees_all(account),
            ),
            gr.update(choices=[(words[key], key) for key in frame.PERIODS]),
            search("", "", "", "last_week", request),
        )

    def search(
        text: str, label: str, reviewer: str, period: str, request: gr.Request
    ) -> dict[str, Any]:
        account = frame.visitor(desk, request)
        wanted = Search(
            text=str(text or "")[:200],
            label=label or None,
            reviewer=reviewer or None,
            since=frame.since(desk, period),
        )
        with desk.transaction() as session:
            found = past.find(session, account, wanted)
        words = frame.words_of(request)
        return {
            "headers": [words[column] for column in _COLUMNS],
            "data": [_row(each, words) for each in found],
        }

    def choose(selected: gr.SelectData, request: gr.Request) -> str:
        frame.visitor(desk, request)
        return str(selected.row_value[-1]) if selected.row_value else ""

    asked = [text, label, reviewer, period]
    private: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    page.load(start, None, [label, reviewer, period, table], **private)
    gr.on([find.click, text.submit], search, asked, table, **private)
    gr.on([label.input, reviewer.input, period.input], search, asked, table, **private)
    table.select(choose, None, chosen, show_progress="hidden", **private)
    reopen.click(None, chosen, None, js=_js("reopen"), api_visibility="private")
    download.click(None, table, None, js=_js("download"), api_visibility="private")


def _js(name: str) -> str:
    return f'(value) => import("/ui/pages.js").then((pages) => pages.{name}(value))'


def _row(each: Past, words: Words) -> list[str]:
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
        str(each.key),
    ]
