"""Is a reviewer's work safe, and soon sent, when the server is away or somebody else logs in?"""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from shared.service.lifecycle import Lifecycle
from shared.storage.tables import ReviewDecision, ReviewTask
from tests.browser.conftest import RunningClock
from tests.browser.test_review_page import decisions, some
from tests.chaos.proxy import Proxy
from tests.support.amqp_client import until
from tests.support.browser import reviewing, shown
from tests.support.review_service import PASSWORD, Served, make_test_context, serving

SOON_SECONDS = 5.0
SILENT_SECONDS = 10.0
LOCKED_OUT = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


OPEN = ("01", "08")  # established, and hung up by the client alone: see proc(5), net/tcp


def connections_to(served: Served) -> int:
    """How many clients the server has not hung up on yet, as the kernel sees it."""
    here = f":{int(served.url.rpartition(':')[2]):04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for line in lines if line[1].endswith(here) and line[3] in OPEN)


@contextmanager
def at_short_leases(chromium: Browser, engine: Engine) -> Iterator[tuple[Page, RunningClock]]:
    """The page with four items, where a lease lasts for 1.5 s; and the server's clock."""
    clock = RunningClock()
    context = dataclasses.replace(make_test_context(engine, clock, Lifecycle()), lease_seconds=1.5)
    some(engine, 4)
    with serving(context, clock) as served, reviewing(chromium, served, "ada") as (page, _):
        yield page, clock


def test_decisions_leave_soon_after_an_outage_that_the_browser_did_not_notice(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 7)
    with reviewing(chromium, served, "ada") as (page, _):
        # Given a server that cannot be reached, while the browser's own network is there
        page.route("**/api/v1/**", lambda route: route.abort("connectionrefused"))
        # If I decide several, one after the other
        for number in range(1, 7):
            page.keyboard.press("a")
            expect(page.locator('[data-id="sync"]')).to_have_text(f"offline, {number} unsent")
        # I expect to read what is kept and what will happen
        expect(page.get_by_role("alert")).to_contain_text("reached. Your unsent decisions")
        expect(page.get_by_role("alert")).to_contain_text("are kept in this browser")
        page.wait_for_timeout(1_000)
        # If the server is back, I expect all to arrive soon, and the word of trouble to go
        page.unroute("**/api/v1/**")
        back = time.monotonic()
        until(lambda: len(decisions(engine)) == 6, what="the unsent decisions")
        expect(page.get_by_role("alert")).to_be_hidden()
        assert time.monotonic() - back < SOON_SECONDS


def test_a_decision_does_not_wait_for_a_connection_that_fell_silent(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 3)
    proxy = Proxy(int(served.url.rpartition(":")[2]))
    try:
        near = dataclasses.replace(served, url=f"http://127.0.0.1:{proxy.port}")
        with reviewing(chromium, near, "ada") as (page, _):
            # Given a page at work, which the server has hung up on but for one connection
            page.wait_for_timeout(6_000)
            page.keyboard.press("a")
            until(lambda: len(decisions(engine)) == 1, what="the first decision")
            # If that one brings nothing any more, as after a change of networks
            proxy.silence()
            silent = time.monotonic()
            page.keyboard.press("a")
            # I expect the next decision to find another
            until(lambda: len(decisions(engine)) == 2, what="the second decision")
            assert time.monotonic() - silent < SILENT_SECONDS
    finally:
        proxy.close()


def test_nothing_is_decided_in_the_name_of_who_logs_in_beside(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 20)
    with reviewing(chromium, served, "ada") as (page, _):
        # Given bob, who logs in in another tab of ada's browser
        served.register("bob")
        beside = page.context.new_page()
        beside.goto(f"{served.url}/login")
        beside.get_by_label("Name").fill("bob")
        beside.get_by_label("Password").fill(PASSWORD)
        beside.get_by_role("button", name="Log in").click()
        expect(beside.locator('[data-id="who"]')).to_have_text("bob")
        # If ada goes on in hers, I expect her to be told, and nothing to be written down
        for _press in range(6):
            page.keyboard.press("1")
        expect(page.get_by_role("alert")).to_contain_text("Another account has logged in")
        with Session(engine) as session:
            assert session.query(ReviewDecision).count() == 0
            bobs = session.query(ReviewTask).filter(ReviewTask.leased_by == "bob").count()
        assert bobs == 8  # those of his own page
        # and all of it to arrive as hers once she has logged in again
        page.get_by_role("link", name="log in again").click()
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        until(lambda: len(decisions(engine)) == 6, what="the decisions")
        with Session(engine) as session:
            assert {row.reviewer for row in session.query(ReviewDecision)} == {"ada"}


def test_a_hold_that_ends_takes_nothing_from_under_the_hands(
    chromium: Browser, engine: Engine
) -> None:
    # Given short leases, and somebody who writes a note
    with at_short_leases(chromium, engine) as (page, clock):

        def taken_by_another(item_id: str) -> None:
            with Session(engine) as session, session.begin():
                task = session.query(ReviewTask).filter_by(item_id=item_id).one()
                task.leased_by, task.lease_token = "bob", task.lease_token + 1
                task.lease_expires_at = clock() + timedelta(hours=1)
            expect(page.locator('[data-id="lease"]')).to_have_text("your hold has ended")

        page.keyboard.press("n")
        page.keyboard.type("as far")
        # If another gets the item meanwhile, I expect the letters not to become decisions
        taken_by_another("i0")
        page.keyboard.type(" as I can see")
        expect(page.locator('[data-id="note"]')).to_have_value("as far as I can see")
        page.keyboard.press("Enter")
        # and to be told, once I decide
        page.keyboard.press("1")
        expect(page.locator('[data-id="toast"]')).to_contain_text("hold on this item has expired")
        assert shown(page) == "i1"
        # and a reason not to be that of another item
        page.keyboard.press("f")
        taken_by_another("i1")
        page.keyboard.press("2")
        expect(page.locator('[data-id="last"] li')).to_have_text(
            ["#i1flagged · too late", "#i0negative · too late"]
        )
        assert shown(page) == "i2"
        assert decisions(engine) == []


def test_who_works_with_the_mouse_alone_keeps_their_items(
    chromium: Browser, engine: Engine
) -> None:
    # Given short leases, and nobody at the keys for longer than the page waits
    with at_short_leases(chromium, engine) as (page, clock):
        page.clock.set_system_time(clock() + timedelta(minutes=16))
        # If I click, I expect what I see to be mine from then on
        page.get_by_role("region", name="Item").click()
        page.wait_for_timeout(2_000)
        with Session(engine) as session:
            ends = session.query(ReviewTask.lease_expires_at).filter_by(item_id="i0").scalar()
            assert ends > clock()


def test_a_page_that_is_left_while_it_asks_for_items_takes_none_with_it(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    with reviewing(chromium, served, "ada") as (page, _), served.logged_in("bob") as bob:
        # Given a page that waits for work, and a database that does not get to answer it
        with engine.connect() as busy, busy.begin():
            busy.execute(text("LOCK TABLE highlight"))
            some(engine, 4)
            until(lambda: busy.scalar(LOCKED_OUT) == 1, what="the page's claim")
            # If the page is left, and the database answers once the server knows (it hangs up on
            # who says nothing for 5 s, but not on who waits for an answer)
            page.goto("about:blank")
            until(lambda: connections_to(served) == 0, what="the hanging up")
        # I expect all of it to be there for the next
        found: set[str] = set()

        def all_found() -> bool:
            claimed = bob.post("/api/v1/tasks/claim", json={"count": 4}).raise_for_status().json()
            found.update(task["item_id"] for task in claimed["tasks"])
            return len(found) == 4

        until(all_found, what="all four items")
