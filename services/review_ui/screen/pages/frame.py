"""What all pages around the card share: the head, the words, the account that is logged in."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.navbar import Navbar
from gradio.i18n import I18nData

from services.review_ui.api.context import RequestContext
from services.review_ui.auth.accounts import Account
from services.review_ui.auth.sessions import COOKIE

Words = Mapping[str, str]
_ASSETS = Path(__file__).parent.parent / "assets"
_HEAD = _ASSETS / "pages" / "pages.html"
# The pages' words by language code: one file a language, shared with the card.
_LANGUAGES: dict[str, Words] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))["pages"]
    for path in sorted((_ASSETS / "words").glob("*.json"))
}
_START = 'import("/ui/pages/pages.js").then((pages) => pages.mount(element));'
# A period's key among the words, and its length; None: from the beginning.
PERIODS: dict[str, timedelta | None] = {
    "last_day": timedelta(days=1),
    "last_week": timedelta(days=7),
    "last_month": timedelta(days=30),
    "ever": None,
}
NOTHING = "\N{EN DASH}"
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

# A prefix: among Gradio's own keys is "label".
translations = gr.I18n(
    **{
        code: {f"hitl_{key}": word for key, word in words.items()}
        for code, words in _LANGUAGES.items()
    }
)


def i18n(key: str) -> I18nData:
    """The word in the language of whichever browser shows it."""
    return translations(f"hitl_{key}")


def head(current: str) -> None:
    """The line with the product's name and the ways to the other pages."""
    Navbar(visible=False)
    gr.HTML(
        html_template=_HEAD.read_text(encoding="utf-8").replace(
            f'href="/{current}"', f'href="/{current}" aria-current="page"'
        ),
        js_on_load=_START,
        apply_default_css=False,
        elem_classes="rv-frame",
    )


def visitor(context: RequestContext, request: gr.Request) -> Account:
    """Who calls. Every function of a page asks: its address is open to whoever is logged in.

    Raises:
        gr.Error: nobody is logged in (any more).
    """
    account = context.account(request.cookies.get(COOKIE))
    if account is None:
        raise gr.Error("Your session has ended: log in again at /login.", print_exception=False)
    return account


def words_of(request: gr.Request) -> Words:
    """The words in the caller's language, by Accept-Language (RFC 9110, 12.5.4): browsers list the
    best first."""
    for wanted in request.headers.get("accept-language", "").split(","):
        code = wanted.split(";")[0].strip()[:2].lower()
        if code in _LANGUAGES:
            return _LANGUAGES[code]
    return _LANGUAGES["en"]


def table(columns: Iterable[str], rows: list[list[str]], words: Words) -> dict[str, Any]:
    """The value of a `gr.Dataframe`; `columns` are keys among the words."""
    return {"headers": [words[column] for column in columns], "data": rows}


def since(context: RequestContext, period: str) -> datetime:
    """The beginning of a period of `PERIODS`; an unknown one is the last day."""
    length = PERIODS.get(period, timedelta(days=1))
    return BEGINNING if length is None else context.clock() - length


def percent(share: float | None) -> str:
    """A share for people; never rounded up to certainty."""
    if share is None:
        return NOTHING
    return f"{share * 100:.1f} %" if 0.99 < share < 1 else f"{share * 100:.0f} %"


def seconds(value: float | None) -> str:
    """A length of time for people."""
    return NOTHING if value is None else f"{value:.1f} s"
