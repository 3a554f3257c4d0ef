"""The Gradio pages: the card, and the native pages around it.

The card (assets/card) buffers tasks in the browser and talks to the REST API, so
that the next item is there at once. History and dashboard are made of Gradio's own components.
"""

import asyncio
import os
import warnings
from pathlib import Path

# Read by gradio when it is imported: no statistics to anybody, no check for new versions.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from fastapi import FastAPI
from gradio.components.navbar import Navbar

from services.review_ui.api.context import RequestContext
from services.review_ui.screen.pages import dashboard, frame, history

ASSETS = Path(__file__).parent / "assets"

_HEAD = """
<link rel="stylesheet" href="/ui/theme.css">
<link rel="stylesheet" href="/ui/card/review.css">
<link rel="stylesheet" href="/ui/pages/pages.css">
<link rel="icon" href="/ui/favicon.svg">
"""
# A script that did not come, as when a network changes, comes with another try of the whole page.
_START = """
import("/ui/card/review.js").then(
    (review) => review.mount(element),
    () => setTimeout(() => location.reload(), 3000),
);
"""


def build(context: RequestContext) -> gr.Blocks:
    """The pages."""
    page: gr.Blocks = gr.Blocks(title="Review", analytics_enabled=False, fill_width=True)
    with page:
        gr.HTML(
            html_template=(ASSETS / "card" / "review.html").read_text(encoding="utf-8"),
            js_on_load=_START,
            apply_default_css=False,
            elem_id="review",
        )
        Navbar(visible=False)
    with page.route("History", "/history"):
        history.build(page, context)
    with page.route("Dashboard", "/dashboard"):
        dashboard.build(page, context)
    return page


def mount(app: FastAPI, context: RequestContext) -> None:
    """Puts the pages at `/`; `security.Guard` keeps the rest of Gradio's routes shut."""
    # Within a running event loop: without one gradio makes its own and never closes it.
    asyncio.run(_mount(app, context))


async def _mount(app: FastAPI, context: RequestContext) -> None:
    with warnings.catch_warnings():
        # Said for several pages even where server-side rendering is off.
        warnings.filterwarnings("ignore", message="SSR mode is not supported")
        gr.mount_gradio_app(
            app,
            build(context),
            path="/",
            footer_links=[],
            run_history=False,
            show_error=False,
            max_file_size="1kb",
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            mcp_server=False,
            app_kwargs={"openapi_url": None, "docs_url": None, "redoc_url": None},
            theme=gr.themes.Base(
                font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
            ),
            head=_HEAD,
            i18n=frame.translations,
        )
