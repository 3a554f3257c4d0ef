"""What do the pages offer around the decision: leases, filters, history and dashboard?"""

import csv
import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.webhooks import store as webhook_store
from shared.service.lifecycle import Lifecycle
from shared.storage.tables import ReviewDecision, ReviewTask, WebhookDelivery
from shared.workflows.files import Workflow
from tests.browser.conftest import RunningClock
from tests.support.amqp_client import until
from tests.support.browser import reviewing, shown
from tests.support.review_service import (
    PASSWORD,
    Served,
    make_test_context,
    requested,
    serving,
    take_in,
)


def test_a_lease_is_shown_and_extended_while_the_card_is_open(
    chromium: Browser, engine: Engine
) -> None:
    # Given leases of three seconds
    clock = RunningClock()
    context = dataclasses.replace(make_test_context(engine, clock, Lifecycle()), lease_seconds=3.0)
    take_in(engine, requested("i0"))
    with (
        serving(context, clock) as served,
        reviewing(chromium, served, "ada") as (page, _),
        Session(engine) as session,
    ):
        expect(page.locator('[data-id="lease"]')).to_contain_text("yours for")
        first = session.query(ReviewTask.lease_expires_at).scalar()

        def extended() -> bool:
            session.rollback()
            task = session.query(ReviewTask).one()
            assert task.leased_by == "ada"
            assert task.lease_expires_at is not None
            return bool(task.lease_expires_at > first + timedelta(seconds=3))

        # If I look at the item for longer than that, I expect it to stay mine
        until(extended, what="the lease of who looks on")
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
        page.get_by_label("Queue", exact=True).select_option("vip")
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")
        expect(page.locator('[data-id="stat-queue"]')).to_have_text("2")
        # and the same when I come back
        page.reload()
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")
        expect(page.get_by_label("Queue", exact=True)).to_have_value("vip")
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


def decided_some(served: Served, engine: Engine) -> None:
    """Three items: ada has decided two, bob one."""
    take_in(
        engine,
        *(requested(f"i{n}", text=text, confidence=0.6 + n / 100) for n, text in enumerate(TEXTS)),
    )
    for name, count in (("ada", 2), ("bob", 1)):
        with served.logged_in(name) as client:
            claimed = client.post("/api/v1/tasks/claim", json={"count": count}).json()["tasks"]
            for task in claimed:
                client.post(
                    f"/api/v1/tasks/{task['id']}/decision",
                    json={
                        "key": str(uuid4()),
                        "lease_token": task["lease_token"],
                        "action": "accept",
                    },
                ).raise_for_status()


TEXTS = ("=cmd() <img src=x onerror=alert(1)>", "a loud film", "a quiet, generous film")


@contextmanager
def again(chromium: Browser, served: Served, name: str) -> Iterator[Page]:
    """A browser of somebody who has an account already."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    page = context.new_page()
    page.goto(served.url)
    page.locator("#name").fill(name)
    page.locator("#password").fill(PASSWORD)
    page.locator("button[type=submit]").click()
    page.wait_for_selector('.rv[data-state="task"], .rv[data-state="empty"]')
    yield page
    context.close()


def test_history_is_searched_reopened_and_saved(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    decided_some(served, engine)
    with again(chromium, served, "ada") as page:
        requests: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.get_by_role("link", name="History").click()
        rows = page.locator("#decisions .virtual-row")
        # I expect my own decisions, their texts as they are
        expect(rows).to_have_count(2, timeout=20_000)
        expect(page.locator("#decisions")).to_contain_text(TEXTS[0])
        expect(page.locator("#decisions")).not_to_contain_text("bob")
        # If I download, I expect what the table shows, harmless to a spreadsheet
        with page.expect_download() as downloading:
            page.get_by_role("button", name="Download").click()
        with open(downloading.value.path(), newline="", encoding="utf-8") as file:
            saved = list(csv.reader(file))
        assert [row[1] for row in saved] == ["Item", "i1", "i0"]
        assert saved[2][2] == f"'{TEXTS[0]}"
        # Sorted otherwise by the table itself, I expect it so.
        page.locator("#decisions .virtual-table-viewport [data-testid=header-1]").last.hover()
        page.locator("#decisions [data-testid=header-1] .cell-menu-button").last.click(force=True)
        page.get_by_text("Sort ascending").click(timeout=8_000)
        expect(rows.nth(0)).to_contain_text("i0")
        with page.expect_download() as downloading:
            page.get_by_role("button", name="Download").click()
        with open(downloading.value.path(), newline="", encoding="utf-8") as file:
            assert [row[1] for row in csv.reader(file)] == ["Item", "i0", "i1"]
        # If I search, I expect what matches
        page.get_by_label("Search text").fill("LOUD")
        page.get_by_role("button", name="Search").click()
        expect(rows).to_have_count(1)
        # If I reopen it, I expect it on the card, mine to decide again
        rows.get_by_text("i1", exact=True).click()
        expect(page.locator("#chosen textarea")).to_have_value(re.compile("^[0-9a-f-]{36}$"))
        page.get_by_role("button", name="Reopen").click()
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")
        page.keyboard.press("1")
        with Session(engine) as session:
            until(
                lambda: (
                    session.query(ReviewDecision)
                    .filter_by(label="negative", undone_at=None, effective=True)
                    .count()
                    == 1
                ),
                what="the new decision",
            )
        assert all(
            address.startswith((served.url, f"blob:{served.url}", "data:")) for address in requests
        )
        assert complaints == []


def test_the_dashboard_shows_what_was_done(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    decided_some(served, engine)
    take_in(engine, requested("waits"))
    # A reviewer sees their own work
    with again(chromium, served, "ada") as page:
        page.goto(f"{served.url}/dashboard")
        expect(page.locator("#reviewers")).to_contain_text("ada", timeout=20_000)
        expect(page.locator("#reviewers")).not_to_contain_text("bob")
        expect(page.locator("#labels")).to_contain_text("positive")
        expect(page.locator("#backlog .virtual-row")).to_have_count(1)
        expect(page.locator(".vega-embed svg, .vega-embed canvas")).to_have_count(4)
    # A lead sees everybody's
    with reviewing(chromium, served, "linus", role="lead") as (page, watched):
        page.goto(f"{served.url}/dashboard")
        expect(page.locator("#reviewers")).to_contain_text("bob", timeout=20_000)
        assert all(
            address.startswith((served.url, f"blob:{served.url}", "data:"))
            for address in watched.requests
        )
        assert watched.complaints == []


def test_leads_find_what_waits_for_them_and_take_it_up(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given decisions of others, and an item that one of them flagged
    decided_some(served, engine)
    take_in(engine, requested("odd", text="<b>odd</b>"))
    with served.logged_in("eve") as client:
        (task,) = client.post("/api/v1/tasks/claim", json={"count": 1}).json()["tasks"]
        flag = {
            "key": str(uuid4()),
            "lease_token": task["lease_token"],
            "action": "flag",
            "reason": "=private",
        }
        client.post(f"/api/v1/tasks/{task['id']}/decision", json=flag).raise_for_status()
    with reviewing(chromium, served, "linus", role="lead") as (page, watched):
        page.goto(f"{served.url}/history")
        waits = page.locator("#for-leads")
        # I expect it with its reason, and the same link on what others decided
        expect(waits).to_contain_text("eve: =private", timeout=20_000)
        expect(waits).to_contain_text("<b>odd</b>")
        expect(waits.locator(f'.virtual-row a[href="/?task={task["id"]}"]')).to_be_visible()
        expect(page.locator("#decisions .virtual-row a")).to_have_count(4)
        with page.expect_download() as downloading:
            page.get_by_role("button", name="Download these").click()
        with open(downloading.value.path(), newline="", encoding="utf-8") as file:
            saved = list(csv.reader(file))
        assert saved[1][:3] == ["Flagged", f"{served.url}/?task={task['id']}", "odd"]
        page.goto(f"{served.url}/dashboard")
        expect(page.locator("#checks")).to_contain_text("sentiment", timeout=20_000)
        expect(page.locator("#people-agree")).to_contain_text("not enough yet")
        assert watched.complaints == []
    with again(chromium, served, "ada") as page:
        # A reviewer has neither
        page.goto(f"{served.url}/history")
        expect(page.locator("#decisions .virtual-row")).to_have_count(2, timeout=20_000)
        expect(page.locator("#for-leads")).to_have_count(0)
        expect(page.locator("#decisions a")).to_have_count(0)
        page.goto(f"{served.url}/dashboard")
        expect(page.locator("#reviewers")).to_contain_text("ada", timeout=20_000)
        expect(page.locator("#people-agree")).to_have_count(0)
        expect(page.locator("#with-ai")).to_have_count(0)


def test_a_lead_goes_from_the_table_to_the_card_and_settles_it(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given an item that somebody flagged, and a more urgent one that waits for anybody
    take_in(engine, requested("odd"))
    with served.logged_in("eve") as client:
        (task,) = client.post("/api/v1/tasks/claim", json={"count": 1}).json()["tasks"]
        flag = {
            "key": str(uuid4()),
            "lease_token": task["lease_token"],
            "action": "flag",
            "reason": "Unreadable",
        }
        client.post(f"/api/v1/tasks/{task['id']}/decision", json=flag).raise_for_status()
    take_in(engine, requested("urgent", priority=9))
    with reviewing(chromium, served, "linus", role="lead") as (page, watched):
        # If a lead clicks "take up" in the table of what waits for them
        page.goto(f"{served.url}/history")
        waits = page.locator("#for-leads .virtual-row")
        expect(waits).to_have_count(1, timeout=20_000)
        waits.get_by_role("link", name="take up").click()
        # I expect that item on the card, with what was said about it
        expect(page.locator('[data-id="item"]')).to_have_text("#odd", timeout=20_000)
        expect(page.locator('[data-id="answers-list"] li')).to_contain_text(["Unreadable"])
        assert "task=" not in page.url
        # and one key to settle it, after which it waits no longer
        page.keyboard.press("2")

        def settled() -> bool:
            with Session(engine) as session:
                row = session.query(ReviewTask).filter_by(item_id="odd").one()
                return (row.status, row.answers[-1]["reviewer"]) == ("decided", "linus")

        until(settled, what="the lead's answer")
        page.goto(f"{served.url}/history")
        expect(page.locator("#decisions")).to_contain_text("linus", timeout=20_000)
        expect(waits).to_have_count(0)
        assert watched.complaints == []


def test_admins_see_whether_webhooks_arrive(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given a webhook with one delivery that waits after an error, and two that have failed
    now = served.clock()
    with Session(engine) as session, session.begin():
        hook = webhook_store.create(
            session, "https://example.org/<b>hook</b>", None, ["item.reviewed"], now
        )
        session.flush()
        for states in (
            {"next_attempt_at": now, "last_error": "status 500", "last_attempt_at": now},
            {"failed_at": now},
            {"failed_at": now},
            {"delivered_at": now},
        ):
            session.add(
                WebhookDelivery(
                    webhook_id=hook.id,
                    event_id=uuid4(),
                    type="item.reviewed",
                    not_before=now,
                    **states,
                )
            )
        secret = hook.secret
    # If an admin looks at the dashboard, I expect where it goes, how it stands, and no secret
    with reviewing(chromium, served, "root", role="admin") as (page, watched):
        page.goto(f"{served.url}/dashboard")
        cells = page.locator("#webhooks .virtual-row").locator("[role=gridcell]")
        expect(cells).to_have_text(
            [
                re.compile(re.escape("https://example.org/<b>hook</b>")),
                re.compile("All"),
                re.compile("switched on"),
                re.compile("^\\s*1\\s*$"),
                re.compile("^\\s*2\\s*$"),
                re.compile("status 500"),
                re.compile(f"{now:%Y-%m-%d}"),
            ],
            timeout=20_000,
        )
        assert secret not in page.content()
        assert watched.complaints == []
    # and nobody else to see any of it
    with reviewing(chromium, served, "linus", role="lead") as (page, _):
        page.goto(f"{served.url}/dashboard")
        expect(page.locator("#checks")).to_contain_text("sentiment", timeout=20_000)
        expect(page.locator("#webhooks")).to_have_count(0)
        assert "example.org" not in page.content()


def test_the_pages_ask_who_calls(served: Served, engine: Engine) -> None:
    # Given nobody, I expect the way to the login, and no function to answer
    with served.visitor() as client:
        for path in ("/history", "/dashboard"):
            location = client.get(f"{path}?a=b").headers["location"]
            assert location == f"/login?next=%2F{path[1:]}%3Fa%3Db"
        call = {"data": [], "fn_index": 0, "session_hash": "x"}
        assert client.post("/gradio_api/run/predict", json=call).status_code == 401
    # Given a session of an account that has been closed, I expect each function to refuse
    with served.logged_in("ada") as client:
        config = client.get("/config").json()
        values = {each["id"]: each["props"].get("value") or "" for each in config["components"]}
        with served.context.transaction() as session:
            served.context.accounts.disable(session, "ada")
        called = 0
        for function in config["dependencies"]:
            if not function["backend_fn"]:
                continue
            call = {
                "data": [values[given] for given in function["inputs"]],
                "fn_index": function["id"],
                "session_hash": "x",
                "event_data": {"index": [0, 0], "value": "", "row_value": ["x"]},
            }
            answer = client.post("/gradio_api/run/predict", json=call)
            assert answer.status_code == 500, function
            assert "log in again" in answer.text
            called += 1
        assert called >= 5
        # and the other ways into Gradio to be shut
        assert client.post("/gradio_api/queue/join", json={}).status_code == 404
        assert client.post("/gradio_api/run/other", json={}).status_code == 404


def test_what_is_due_is_told_by_the_servers_clock(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given an item that is due in ten minutes, and a browser whose clock is an hour ahead
    take_in(engine, requested("i0", due_at=served.clock() + timedelta(minutes=10)))
    with reviewing(chromium, served, "ada") as (page, _):
        page.clock.set_system_time(served.clock() + timedelta(hours=1))
        page.reload()
        # I expect to read how long there really is
        expect(page.locator('[data-id="badges"]')).to_have_text("due in 10 min")


def test_names_of_labels_stay_whole_and_the_buttons_below_them_in_sight(
    chromium: Browser, engine: Engine
) -> None:
    # Given a workflow with a handful of labels, and one with a hundred
    clock = RunningClock()
    flows = {
        "few": Workflow(name="few", labels=("negative", "positive", "mixed", "neutral", "unsure")),
        "many": Workflow(name="many", labels=tuple(f"label {n}" for n in range(100))),
    }
    context = make_test_context(engine, clock, Lifecycle(), flows)
    take_in(engine, *(requested(f"i-{name}", workflow=name) for name in flows))
    with serving(context, clock) as served, reviewing(chromium, served, "ada") as (page, _):
        # I expect a name on one line,
        page.goto(f"{served.url}/?workflow=few")
        name = page.locator(".rv-name", has_text="negative").bounding_box()
        assert name is not None
        assert name["height"] < 30
        # and the buttons to be seen, on a desk and on a phone
        page.goto(f"{served.url}/?workflow=many")
        accept = page.get_by_role("button", name="Accept positive")
        expect(accept).to_be_in_viewport(ratio=1)
        page.set_viewport_size({"width": 390, "height": 844})
        expect(accept).to_be_in_viewport(ratio=1)
        text = page.locator('[data-id="text"]').bounding_box()
        dock = page.locator(".rv-dock").bounding_box()
        assert text is not None
        assert dock is not None
        assert text["y"] + 60 < dock["y"]  # with room for the text above them


def test_a_long_table_is_saved_whole_in_the_order_that_it_shows(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given more decisions than fit on the screen
    take_in(engine, *(requested(f"i{n:02}", confidence=0.5 + n / 200) for n in range(40)))
    with served.logged_in("ada") as ada:
        for task in ada.post("/api/v1/tasks/claim", json={"count": 40}).json()["tasks"]:
            body = {"key": str(uuid4()), "lease_token": task["lease_token"], "action": "accept"}
            ada.post(f"/api/v1/tasks/{task['id']}/decision", json=body)
    with again(chromium, served, "ada") as page:
        page.get_by_role("link", name="History").click()
        expect(page.locator("#decisions .virtual-row").first).to_be_visible(timeout=20_000)
        # If I sort by the item, downwards, and download
        page.locator("#decisions .virtual-table-viewport [data-testid=header-1]").last.hover()
        page.locator("#decisions [data-testid=header-1] .cell-menu-button").last.click(force=True)
        page.get_by_text("Sort descending").click(timeout=8_000)
        with page.expect_download() as downloading:
            page.get_by_role("button", name="Download").click()
        # I expect every row once, in that order
        with open(downloading.value.path(), newline="", encoding="utf-8") as file:
            items = [row["Item"] for row in csv.DictReader(file)]
        assert items == [f"i{n:02}" for n in reversed(range(40))]
        # If I filter by the item as well
        page.locator("#decisions .virtual-table-viewport [data-testid=header-1]").last.hover()
        page.locator("#decisions [data-testid=header-1] .cell-menu-button").last.click(force=True)
        page.get_by_text("Filter", exact=True).click(timeout=8_000)
        page.get_by_placeholder("Type a value").fill("i1")
        page.locator(".filter-menu .check-button").click()
        expect(page.locator("#decisions .virtual-row", has_text="i20")).to_have_count(0)
        with page.expect_download() as downloading:
            page.get_by_role("button", name="Download").click()
        # I expect those alone
        with open(downloading.value.path(), newline="", encoding="utf-8") as file:
            items = [row["Item"] for row in csv.DictReader(file)]
        assert items == [f"i{n:02}" for n in reversed(range(10, 20))]
        # If the table shows a row that cannot be told from its texts
        page.evaluate(
            "document.querySelector('#decisions .virtual-row [data-col=\"1\"]').textContent = '?'"
        )
        saved: list[object] = []
        page.on("download", lambda download: saved.append(download))
        page.get_by_role("button", name="Download").click()
        # I expect to be told, and no file of other rows
        expect(page.locator(".rv-frame [data-id=toast]")).to_contain_text("nothing was saved")
        assert saved == []
