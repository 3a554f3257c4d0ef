"""Does every key do what its reviewer meant: after an undo, on other keyboards, in a long text?"""

import re

from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import Engine

from tests.browser.test_review_page import decisions, some
from tests.support.amqp_client import until
from tests.support.browser import reviewing, shown
from tests.support.review_service import PASSWORD, Served, requested, take_in

DRAFT = "seen twice"


def press(page: Page, key: str, code: str) -> None:
    """A key of a keyboard that Playwright does not have."""
    page.evaluate(
        "([key, code]) => document.body.dispatchEvent("
        "new KeyboardEvent('keydown', { key, code, bubbles: true }))",
        [key, code],
    )


def becomes(page: Page, true: str) -> None:
    for _ in range(50):
        if page.evaluate(true):
            return
        page.wait_for_timeout(100)
    raise AssertionError(true)


def test_what_is_pressed_after_an_undo_is_for_the_item_that_comes_back(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 3)
    with reviewing(chromium, served, "ada") as (page, _):
        # Given a decision with a note, saved, and a server that takes its time
        page.keyboard.press("n")
        page.keyboard.type(DRAFT)
        page.keyboard.press("Enter")
        page.keyboard.press("a")
        until(lambda: len(decisions(engine)) == 1, what="the first being saved")

        def slowly(route: Route) -> None:
            page.wait_for_timeout(300)
            route.continue_()

        page.route("**/undo", slowly)
        # If I take it back and give the right label at once, I expect the label on that item
        page.keyboard.press("u")
        page.keyboard.press("1")
        expect(page.locator('[data-id="last"] li')).to_have_text(["#i0negative"])
        until(lambda: decisions(engine) == [("i0", "correct", "negative")], what="the right label")
        assert shown(page) == "i1"
        # and the note to be there still when it comes back once more
        page.keyboard.press("u")
        expect(page.locator('[data-id="item"]')).to_have_text("#i0")
        expect(page.locator('[data-id="note"]')).to_have_value(DRAFT)
        # The key that clears a filter does nothing where there is none
        page.keyboard.press("x")
        assert shown(page) == "i0"
        expect(page.locator('[data-id="note"]')).to_have_value(DRAFT)


def test_the_keys_are_the_same_on_other_keyboards(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 4)
    with reviewing(chromium, served, "ada") as (page, _):
        # If I press A where a Cyrillic keyboard has it, 1 and 2 where a French one has them
        press(page, "ф", "KeyA")
        assert shown(page) == "i1"
        press(page, "&", "Digit1")
        assert shown(page) == "i2"
        press(page, "é", "Digit2")
        assert shown(page) == "i3"
        # and a Q, which a French keyboard has in the place of A, I expect three decisions
        press(page, "q", "KeyA")
        assert shown(page) == "i3"
        expected = [(f"i{at}", "accept", "positive") for at in (0, 2)]
        expected.insert(1, ("i1", "correct", "negative"))
        until(lambda: decisions(engine) == expected, what="every decision arriving")


def test_a_long_text_is_read_by_keys_and_the_next_begins_at_its_start(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 2, text="Neither good nor bad, and so on. " * 300)
    with reviewing(chromium, served, "ada") as (page, _):
        # If I press a key that moves a page, I expect it to move the text
        page.keyboard.press("PageDown")
        becomes(page, "document.querySelector('[data-id=text]').scrollTop > 100")
        # In a window at a zoom of 200 % the text is not hidden behind the buttons
        page.set_viewport_size({"width": 640, "height": 400})
        expect(page.locator('[data-id="labels"] kbd').first).to_be_visible()
        top = page.evaluate("document.querySelector('[data-id=text]').getBoundingClientRect().top")
        dock = page.evaluate("document.querySelector('.rv-dock').getBoundingClientRect().top")
        assert dock - top > 150
        # and the next item is shown from its start
        page.evaluate("scrollTo({ top: 2_000, behavior: 'instant' })")
        assert page.evaluate("scrollY") > 1_000
        page.keyboard.press("a")
        assert shown(page) == "i1"
        becomes(page, "document.querySelector('[data-id=card]').getBoundingClientRect().top > -2")


def test_a_login_leads_back_to_where_the_session_ended(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 2)
    with reviewing(chromium, served, "ada") as (page, _):

        def logs_in() -> None:
            page.get_by_label("Name").fill("ada")
            page.get_by_label("Password").fill(PASSWORD)
            expect(page.get_by_role("button", name="Log in")).to_be_enabled()
            page.keyboard.press("Enter")

        # Given a filtered list and a session that ends
        page.goto(f"{served.url}/?max=70")
        expect(page.locator('[data-id="item"]')).to_have_text("#i0")
        page.context.clear_cookies()
        page.keyboard.press("a")
        # If I log in again, I expect the filter to be there still
        page.get_by_role("link", name="log in again").click()
        logs_in()
        expect(page.locator('[data-id="chips"] button')).to_have_text("up to 70 %")
        # and what the page had in hand
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")
        # and never to be led to another site
        page.goto(f"{served.url}/login?next=/%09/elsewhere.invalid/")
        logs_in()
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")


def test_who_logs_in_before_the_page_is_ready_stays_on_it(
    chromium: Browser, served: Served
) -> None:
    # Given a slow connection, over which the form is there before its script
    served.register("ada")
    page = chromium.new_context(locale="en-US").new_page()
    waiting: list[Route] = []
    page.route("**/ui/login/login.js", lambda route: waiting.append(route))
    page.goto(f"{served.url}/login", wait_until="commit")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    # If I press Enter already then, I expect to be where I was
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    expect(page.get_by_label("Name")).to_have_value("ada")
    # and to get in as soon as it is ready
    waiting[0].continue_()
    page.get_by_role("button", name="Log in").click()
    expect(page.locator('[data-id="who"]')).to_have_text("ada")
    page.context.close()


def test_a_page_whose_script_did_not_come_tries_again(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given a network that changes while the page is loading
    some(engine, 1)
    lost: list[Route] = []

    def lose_once(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route)
            route.abort("connectionreset")

    with reviewing(chromium, served, "ada") as (page, _):
        page.route("**/ui/card/kinds/label.js", lose_once)
        page.reload()
        # I expect the item nevertheless
        expect(page.locator('[data-id="item"]')).to_have_text("#i0", timeout=20_000)
        assert lost


def test_a_reviewer_without_a_server_is_not_told_that_all_is_done(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 12)
    with reviewing(chromium, served, "ada") as (page, _):
        # Given more items than the page holds, and a connection that breaks
        page.context.set_offline(True)
        for _ in range(8):
            page.keyboard.press("a")
        # I expect to be told that items are being fetched, not that nothing waits
        expect(page.get_by_role("heading", name="Getting items")).to_be_visible()
        page.wait_for_timeout(700)
        expect(page.get_by_role("heading", name="All done")).to_be_hidden()


def test_who_hears_the_page_is_told_what_was_done_and_what_comes(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given items whose texts differ, one with an id that is too long to be shown
    faces = "\N{GRINNING FACE}" * 9
    take_in(
        engine,
        requested(faces, text="a loud film", confidence=0.6),
        requested("i1", text="a quiet film " * 100, confidence=0.7),
    )
    with reviewing(chromium, served, "ada") as (page, _):
        says = page.locator('[data-id="says"]')
        expect(says).to_have_text("Item: a loud film AI suggests positive 60 %")
        page.keyboard.press("1")
        # I expect the decision, the beginning of the next item, and what A would take of it
        expect(says).to_have_text(
            re.compile(
                "^Recorded: negative. Item: a quiet film a quiet.*… AI suggests positive 70 %$"
            )
        )
        # and no half of a character where the id is cut
        expect(page.locator('[data-id="last"] li')).to_have_text(f"#{faces[:7]}…negative")
        page.keyboard.press("u")
        expect(says).to_have_text("Item: a loud film AI suggests positive 60 %")
        page.keyboard.press("s")
        page.keyboard.press("s")
        expect(says).to_contain_text("Item: a loud film")  # what was skipped comes last
