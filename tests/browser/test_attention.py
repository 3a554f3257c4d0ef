"""Does the page know work from a lunch?"""

from playwright.sync_api import Browser
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared.storage.tables import ReviewDecision
from tests.support.amqp_client import until
from tests.support.browser import reviewing, shown
from tests.support.review_service import Served, requested, take_in


def measured(engine: Engine) -> list[tuple[float, float]]:
    with Session(engine) as session:
        rows = session.query(ReviewDecision).order_by(ReviewDecision.id)
        return [(row.seconds or 0.0, row.idle_seconds or 0.0) for row in rows]


def test_an_hour_away_is_idle_time_and_reading_is_not(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given a page whose clock goes faster when I say so
    take_in(engine, *(requested(f"i{n}", confidence=0.6 + n / 50) for n in range(3)))
    with reviewing(chromium, served, "ada") as (page, watched):
        page.clock.install()
        page.reload()
        page.wait_for_selector('.rv[data-state="task"]')
        # If I read for half a minute, move the mouse, read on, and decide
        page.clock.fast_forward(30_000)
        page.mouse.move(100, 100)
        page.clock.fast_forward(20_000)
        page.keyboard.press("a")
        assert shown(page) == "i1"
        # and leave the next item for an hour
        page.clock.fast_forward(3_600_000)
        page.keyboard.press("a")
        until(lambda: len(measured(engine)) == 2, seconds=10)
        # I expect all of the first to be work, and of the second what one may read without a sign
        (work, idle), (second, lunch) = measured(engine)
        assert 50 <= work < 60
        assert idle == 0
        assert 120 <= second < 130
        assert 3_470 <= lunch < 3_490
        # and the page to count it so, too.
        assert page.locator('[data-id="stat-median"]').inner_text().startswith("12")
        assert watched.complaints == []
