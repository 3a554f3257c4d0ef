"""Does the page say what waits for whom, and can a lead give back what somebody holds?"""

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import Engine

from shared.service.lifecycle import Lifecycle
from shared.workflows.files import ReviewRules, Workflow
from tests.browser.conftest import RunningClock
from tests.support.browser import reviewing, shown
from tests.support.review_service import Served, make_test_context, requested, serving, take_in

TWICE = Workflow(
    name="sentiment",
    labels=("negative", "positive"),
    review=ReviewRules(second_review_share=1.0),
)


@pytest.mark.parametrize("address", ["", "?workflow=sentiment"])
def test_a_lone_reviewer_reads_what_waits_for_a_second_person(
    chromium: Browser, engine: Engine, address: str
) -> None:
    # Given one reviewer, and items that two are to answer
    clock = RunningClock()
    context = make_test_context(engine, clock, Lifecycle(), {"sentiment": TWICE})
    take_in(engine, requested("i0"), requested("i1"))
    with (
        serving(context, clock) as served,
        reviewing(chromium, served, "ada") as (page, watched),
    ):
        page.goto(f"{served.url}/{address}")
        page.wait_for_selector('.rv[data-state="task"]')
        # If she answers both, I expect the page to say what they wait for
        page.keyboard.press("a")
        page.keyboard.press("a")
        said = page.locator('[data-id="empty-text"]')
        expect(said).to_contain_text("2 items wait for a second person", timeout=20_000)
        if not address:
            expect(said).not_to_contain_text("Nothing is waiting")
        assert watched.complaints == []


def test_a_lead_gives_back_by_a_click(chromium: Browser, served: Served, engine: Engine) -> None:
    # Given a program's reviewer who holds all there is
    take_in(engine, *(requested(f"i{n}") for n in range(5)))
    with served.logged_in("ada") as ada:
        assert len(ada.post("/api/v1/tasks/claim", json={"count": 50}).json()["tasks"]) == 5
        with reviewing(chromium, served, "lea", role="lead") as (page, watched):
            expect(page.locator('[data-id="empty-title"]')).to_be_visible()
            # If the lead looks who has what, and gives it back
            page.keyboard.press("l")
            row = page.locator('[data-id="holders"] li')
            expect(row).to_contain_text("ada: 5")
            row.get_by_role("button").click()
            expect(row).to_have_count(0)
            page.keyboard.press("Escape")
            # I expect the items to come to who is there
            page.wait_for_selector('.rv[data-state="task"]', timeout=20_000)
            assert shown(page) == "i0"
            assert watched.complaints == []
