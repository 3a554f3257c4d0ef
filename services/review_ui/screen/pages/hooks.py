"""The dashboard's table of webhooks, for admins.

Shown where there is a webhook, and without secrets: what is to be done about one goes by the API.
"""

from collections.abc import Callable
from typing import Any

import gradio as gr

from services.review_ui.api.context import RequestContext
from services.review_ui.auth.accounts import Account
from services.review_ui.reports.stale_cache import StaleCache
from services.review_ui.screen.pages import frame
from services.review_ui.screen.pages.frame import Words, i18n
from services.review_ui.webhooks import store as webhook_store
from services.review_ui.webhooks.store import WebhookBacklog

_COLUMNS = ("address", "workflow", "state", "hooks_waiting", "hooks_failed", "last_error", "time")


def build() -> gr.Dataframe:
    """The table, hidden until `reader` finds something to show."""
    return gr.Dataframe(
        label=i18n("webhooks"),
        elem_id="webhooks",
        visible=False,
        datatype="str",
        interactive=False,
        buttons=[],
        max_chars=160,
    )


def reader(context: RequestContext) -> Callable[[Account, Words], Any]:
    """What fills the table for an account."""
    cache = StaleCache[list[WebhookBacklog]]()

    def show(account: Account, words: Words) -> Any:
        found = cache.get("all", lambda: _read(context)) if account.role == "admin" else []
        rows = [_row(known, words) for known in found]
        return gr.Dataframe(frame.table(_COLUMNS, rows, words), visible=bool(found))

    return show


def _read(context: RequestContext) -> list[WebhookBacklog]:
    with context.transaction() as session:
        found = webhook_store.everything(session)
        session.expunge_all()  # the rows are read after the transaction
        return found


def _row(known: WebhookBacklog, words: Words) -> list[str]:
    at = known.last_error_at
    return [
        known.webhook.url,
        known.webhook.workflow or words["all"],
        known.webhook.disabled_reason or words["hooks_on"],
        f"{known.waiting:,}",
        f"{known.failed:,}",
        known.last_error or frame.NOTHING,
        f"{at:%Y-%m-%d %H:%M:%S}" if known.last_error and at else frame.NOTHING,
    ]
