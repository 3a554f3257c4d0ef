"""What does a reviewer look at? One Gradio page whose card is a component of our own.

The card (assets/review.html, review.js) buffers tasks in the browser and talks to the REST API, so
that the next item is there at once. Gradio brings the page, the theme and the pages to come.
"""

import asyncio
import os
from pathlib import Path

# Read by gradio when it is imported: no statistics to anybody, no check for new versions.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from fastapi import FastAPI

ASSETS = Path(__file__).parent / "assets"

_HEAD = """
<link rel="stylesheet" href="/ui/theme.css">
<link rel="stylesheet" href="/ui/review.css">
<link rel="modulepreload" href="/ui/review.js">
<link rel="icon" href="/ui/favicon.svg">
"""
_START = 'import("/ui/review.js").then((review) => review.mount(element));'


def build() -> gr.Blocks:
    """The page."""
    page: gr.Blocks = gr.Blocks(title="Review", analytics_enabled=False, fill_width=True)
    with page:
        gr.HTML(
            html_template=(ASSETS / "review.html").read_text(encoding="utf-8"),
            js_on_load=_START,
            apply_default_css=False,
            elem_id="review",
        )
    return page


def mount(app: FastAPI) -> None:
    """Puts the page at `/`; `security.Guard` keeps the rest of Gradio's routes shut."""
    # Within a running event loop: without one gradio makes its own and never closes it.
    asyncio.run(_mount(app))


async def _mount(app: FastAPI) -> None:
    gr.mount_gradio_app(
        app,
        build(),
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
    )
