"""A reviewer's browser on the review page: logged in, and watched for errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from playwright.sync_api import Browser, Page

from services.review_ui.auth.accounts import Role
from tests.support.review_service import PASSWORD, Served


@dataclass
class Watched:
    """What went on in a browser: requests by address, and what its console had to say."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def reviewing(
    chromium: Browser,
    served: Served,
    name: str,
    *,
    role: Role = "reviewer",
    phone: bool = False,
    dark: bool = False,
    language: str = "en-US",
) -> Iterator[tuple[Page, Watched]]:
    """A browser of a new reviewer, logged in through the login page."""
    served.register(name, role)
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 800}
    scheme: Literal["dark", "light"] = "dark" if dark else "light"
    context = chromium.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme=scheme,
        locale=language,
    )
    watched = Watched()
    page = context.new_page()
    page.on("request", lambda request: watched.requests.append(request.url))
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on(
        "console",
        lambda said: watched.complaints.append(said.text) if said.type == "error" else None,
    )
    try:
        page.goto(served.url)
        page.locator("#name").fill(name)
        page.locator("#password").fill(PASSWORD)
        page.locator("button[type=submit]").click()
        page.wait_for_selector('.rv[data-state="task"], .rv[data-state="empty"]', timeout=30_000)
        yield page, watched
    finally:
        page.unroute_all(behavior="wait")  # or a delayed answer would fail the next test
        context.close()


def shown(page: Page) -> str:
    """The id of the item on the screen."""
    return page.locator('[data-id="item"]').inner_text().removeprefix("#")
