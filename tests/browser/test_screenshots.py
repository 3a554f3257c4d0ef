"""What do the pages look like?

`bin/test tests/browser --screenshots docs/images` takes the pictures of the documents; without the
option they go to a temporary folder.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import Engine

from tests.browsing import reviewing
from tests.reviewing import Served, requested, take_in

# Sentences of our own: no text of the data set is kept in this repository.
TEXTS = (
    ("Slow for an hour, and then so moving that I forgave it everything.", 0.58),
    ("The songs are fine. The story is not, and it goes on for ever.", 0.64),
    ("Nobody in this film behaves like a person, which may be the joke.", 0.71),
    ("A quiet, generous film about people who mean well.", 0.79),
)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    given = request.config.getoption("--screenshots")
    return Path(given) if given else tmp_path


def take(page: Page, path: Path) -> None:
    page.wait_for_timeout(300)  # fades and fonts
    page.screenshot(path=path)
    assert path.stat().st_size > 10_000, "not an empty page"


def test_pictures_of_the_review_page(
    chromium: Browser, served: Served, engine: Engine, folder: Path
) -> None:
    # Given some items and two decisions
    requests = [
        requested(
            f"film-{number}",
            text=text,
            confidence=confidence,
            reason=f"confidence {confidence:.2f} is below 0.85",
            metadata={"source": "newsletter", "page": number + 3},
        )
        for number, (text, confidence) in enumerate(TEXTS * 2)
    ]
    take_in(engine, *requests[:4])
    with reviewing(chromium, served, "ada") as (page, _):
        page.keyboard.press("a")
        page.keyboard.press("1")
        # I expect a picture of the card, of its help, by night and on a phone
        take(page, folder / "review.png")
        page.keyboard.press("?")
        take(page, folder / "review-help.png")
    with reviewing(chromium, served, "grace", dark=True) as (page, _):
        take(page, folder / "review-dark.png")
    with reviewing(chromium, served, "linus", phone=True) as (page, _):
        take(page, folder / "review-phone.png")
