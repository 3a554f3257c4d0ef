"""What do the pages offer around the decision: leases, filters, history and dashboard?"""

import dataclasses

from playwright.sync_api import Browser, expect
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared.lifecycle import Lifecycle
from shared.tables import ReviewTask
from tests.browser.conftest import RunningClock
from tests.browsing import reviewing, shown
from tests.outside import until
from tests.reviewing import Served, make_test_desk, requested, serving, take_in


def test_a_lease_is_shown_and_extended_while_the_card_is_open(
    chromium: Browser, engine: Engine
) -> None:
    # Given leases of three seconds
    clock = RunningClock()
    desk = dataclasses.replace(make_test_desk(engine, clock, Lifecycle()), lease_seconds=3.0)
    take_in(engine, requested("i0"))
    with (
        serving(desk, clock) as served,
        reviewing(chromium, served, "ada") as (page, _),
        Session(engine) as session,
    ):
        expect(page.locator('[data-id="lease"]')).to_contain_text("yours for")
        first = session.query(ReviewTask.lease_expires_at).scalar()
        # If I look at the item for longer than that, I expect it to stay mine
        page.wait_for_timeout(4_500)
        session.rollback()
        task = session.query(ReviewTask).one()
        assert task.leased_by == "ada"
        assert task.lease_expires_at is not None
        assert task.lease_expires_at > max(first, clock())
        expect(page.locator('[data-id="lease"]')).to_contain_text("yours for")


def test_the_chosen_queue_is_kept(chromium: Browser, served: Served, engine: Engine) -> None:
    # Given items in two queues
    take_in(
        engine,
        requested("i0", confidence=0.6),
        requested("i1", confidence=0.7, queue="vip"),
        requested("i2", confidence=0.8, queue="vip"),
    )
    with reviewing(chromium, served, "ada") as (page, _):
        assert shown(page) == "i0"
        # If I choose one, I expect its items only
        page.get_by_label("Queue").select_option("vip")
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")
        expect(page.locator('[data-id="stat-queue"]')).to_have_text("2")
        # and the same when I come back
        page.reload()
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")
        expect(page.get_by_label("Queue")).to_have_value("vip")
        with Session(engine) as session:
            until(
                lambda: (
                    session.query(ReviewTask)
                    .filter(ReviewTask.leased_by == "ada", ReviewTask.queue != "vip")
                    .count()
                    == 0
                ),
                what="the other queue's items being given back",
            )
