"""What do the pages look like?

`bin/test tests/browser --screenshots docs/images` takes the pictures of the documents; without the
option they go to a temporary folder.
"""

import random
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared.clock import utc_now
from shared.tables import ReviewDecision, ReviewTask
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


def test_pictures_of_the_pages(
    chromium: Browser, served: Served, engine: Engine, folder: Path
) -> None:
    # Given a day of decisions of three reviewers
    chance = random.Random(1)
    take_in(
        engine,
        *(
            requested(
                f"film-{number}",
                text=TEXTS[number % len(TEXTS)][0],
                confidence=0.5 + 0.35 * chance.random(),
            )
            for number in range(240)
        ),
    )
    now = utc_now()
    with Session(engine) as session, session.begin():
        for number, task in enumerate(session.query(ReviewTask).order_by(ReviewTask.item_id)):
            at = now - timedelta(minutes=1_400 - 7 * number)
            if at > now - timedelta(minutes=1):
                continue
            kept = chance.random() > task.uncertainty
            task.created_at, task.status, task.revision = at - timedelta(hours=1), "decided", 1
            session.add(
                ReviewDecision(
                    idempotency_key=uuid4(),
                    task_id=task.id,
                    reviewer=chance.choice(["ada", "grace", "linus"]),
                    action="accept" if kept else "correct",
                    label="positive" if kept else "negative",
                    lease_token=1,
                    effective=True,
                    revision=1,
                    ai_label_shown=True,
                    assigned_at=at - timedelta(seconds=chance.uniform(1.5, 9)),
                    decided_at=at,
                )
            )
    with reviewing(chromium, served, "ada", role="lead") as (page, _):
        # I expect a picture of the history and of the dashboard
        page.goto(f"{served.url}/history")
        expect(page.locator("#decisions")).to_contain_text("film-2", timeout=20_000)
        take(page, folder / "history.png")
        page.set_viewport_size({"width": 1280, "height": 1150})
        page.goto(f"{served.url}/dashboard")
        expect(page.locator("#reviewers")).to_contain_text("grace", timeout=20_000)
        expect(page.locator(".vega-embed svg, .vega-embed canvas")).to_have_count(4)
        take(page, folder / "dashboard.png")
