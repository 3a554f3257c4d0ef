"""Can a reviewer work with the page: by keys, through outages, and safe from what items contain?"""

from playwright.sync_api import Browser, Route, expect
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared.storage.tables import ReviewDecision, ReviewTask
from tests.support.amqp_client import until
from tests.support.browser import reviewing, shown
from tests.support.review_service import PASSWORD, Served, requested, take_in


def decisions(engine: Engine) -> list[tuple[str, str, str | None]]:
    """(item, action, label) of every decision that counts."""
    with Session(engine) as session:
        rows = (
            session.query(ReviewTask.item_id, ReviewDecision.action, ReviewDecision.label)
            .join(ReviewTask, ReviewTask.id == ReviewDecision.task_id)
            .filter(ReviewDecision.effective, ReviewDecision.undone_at.is_(None))
            .order_by(ReviewDecision.id)
        )
        return [(row[0], row[1], row[2]) for row in rows]


def some(engine: Engine, count: int, **more: object) -> None:
    """Items whose order is known: i0 is the most urgent."""
    take_in(
        engine,
        *(
            requested(f"i{number}", confidence=0.6 + number / 100, **more)  # type: ignore[arg-type]
            for number in range(count)
        ),
    )


def test_a_whole_day_by_keys_alone(chromium: Browser, served: Served, engine: Engine) -> None:
    # Given ten items
    some(engine, 10)
    with reviewing(chromium, served, "ada") as (page, watched):
        # If I press one key for each
        assert shown(page) == "i0"
        expect(page.locator('[data-id="suggest"]')).to_have_text("AI suggests positive 60 %")
        for key, next_item in (("a", "i1"), ("Enter", "i2"), ("1", "i3"), ("2", "i4"), ("s", "i5")):
            page.keyboard.press(key)
            assert shown(page) == next_item  # at once, without waiting for the server
        # and flag one with a reason, where the digits choose the reason
        page.keyboard.press("f")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("2")
        assert shown(page) == "i6"
        # and write a note, in which letters are letters
        page.keyboard.press("n")
        page.keyboard.type("as far as I see")
        page.keyboard.press("Enter")
        assert shown(page) == "i6"
        page.keyboard.press("1")
        assert shown(page) == "i7"
        # and look up the keys
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("a")  # means nothing while the help is open
        page.keyboard.press("Escape")
        assert shown(page) == "i7"
        # I expect exactly this to be decided
        expected = [
            ("i0", "accept", "positive"),
            ("i1", "accept", "positive"),
            ("i2", "correct", "negative"),
            ("i3", "accept", "positive"),
            ("i4", "skip", None),
            ("i5", "flag", None),
            ("i6", "correct", "negative"),
        ]
        until(lambda: decisions(engine) == expected, what="every decision arriving")
        with Session(engine) as session:
            last = session.query(ReviewDecision).order_by(ReviewDecision.id.desc()).first()
            assert last is not None
            assert last.note == "as far as I see"
        expect(page.locator('[data-id="sync"]')).to_have_text("saved")
        # and nothing to have left this host, or to have gone wrong
        assert all(address.startswith(served.url) for address in watched.requests)
        assert watched.complaints == []


def test_undo_brings_the_item_back(chromium: Browser, served: Served, engine: Engine) -> None:
    some(engine, 4)
    with reviewing(chromium, served, "ada") as (page, _):
        # Given two decisions that have been saved
        page.keyboard.press("a")
        page.keyboard.press("1")
        until(lambda: len(decisions(engine)) == 2, what="both being saved")
        # If I take them back, I expect the items again, the last one first
        page.keyboard.press("u")
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")
        page.keyboard.press("u")
        expect(page.locator('[data-id="item"]')).to_have_text("#i0")
        assert decisions(engine) == []
        # and a new decision to count
        page.keyboard.press("1")
        until(lambda: decisions(engine) == [("i0", "correct", "negative")], what="the new decision")
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")


def test_decisions_made_offline_arrive_later(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 8)
    with reviewing(chromium, served, "ada") as (page, _):
        # Given a connection that breaks
        page.context.set_offline(True)
        # If I go on, I expect the next items, and to see that nothing is sent
        for key in "aa1":
            page.keyboard.press(key)
        assert shown(page) == "i3"
        expect(page.locator('[data-id="sync"]')).to_have_text("offline, 3 unsent")
        # One that never left is taken back without the server
        page.keyboard.press("u")
        expect(page.locator('[data-id="item"]')).to_have_text("#i2")
        expect(page.locator('[data-id="sync"]')).to_have_text("offline, 2 unsent")
        assert decisions(engine) == []
        # If the connection is back, I expect the rest to arrive by itself
        page.context.set_offline(False)
        until(
            lambda: (
                decisions(engine) == [("i0", "accept", "positive"), ("i1", "accept", "positive")]
            ),
            what="the unsent decisions",
        )
        expect(page.locator('[data-id="sync"]')).to_have_text("saved")


def test_a_session_that_ends_loses_nothing(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 4)
    with reviewing(chromium, served, "ada") as (page, _):
        # Given a session that ends while I work
        page.context.clear_cookies()
        page.keyboard.press("1")
        # I expect to be told, with a way back in
        expect(page.get_by_role("alert")).to_contain_text("Nothing is lost")
        page.keyboard.press("u")
        expect(page.locator('[data-id="toast"]')).to_contain_text("Your session has ended")
        assert decisions(engine) == []
        page.get_by_role("link", name="log in again").click()
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        # and the decision to be saved after it
        until(
            lambda: decisions(engine) == [("i0", "correct", "negative")],
            what="the decision being saved after the login",
        )


def test_an_account_that_is_closed_loses_the_page(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 4)
    with reviewing(chromium, served, "ada") as (page, _):
        with served.context.transaction() as session:
            served.context.accounts.disable(session, "ada")
        page.keyboard.press("a")
        expect(page.get_by_role("alert")).to_contain_text("log in again")
        page.goto(served.url)
        assert page.url.endswith("/login")
        assert decisions(engine) == []


HOSTILE = (
    "<script>window.hacked = 'script'</script>",
    "<img src=x onerror=\"window.hacked = 'img'\">",
    "<svg onload=\"window.hacked = 'svg'\">",
    "{{value}} ${window.hacked = 'template'} <%= 1 %>",
    '"><iframe srcdoc="<script>parent.hacked = \'frame\'</script>">',
    "[x](javascript:window.hacked='link') ![y](http://evil.invalid/z.png)",
)


def test_hostile_items_are_only_text(chromium: Browser, served: Served, engine: Engine) -> None:
    # Given items that carry an attack in everything that the page shows
    take_in(
        engine,
        *(
            requested(
                f"{number}{attack}",
                text=attack,
                confidence=0.6 + number / 100,
                metadata={attack: attack, "deep": {attack: [attack]}},
                queue=attack[:60],
                reason=attack,
            )
            for number, attack in enumerate(HOSTILE)
        ),
    )
    with reviewing(chromium, served, "ada") as (page, watched):
        for attack in HOSTILE:
            # I expect to read them as they are
            expect(page.locator('[data-id="text"]')).to_have_text(attack)
            page.locator("summary").click()
            expect(page.locator('[data-id="metadata"]')).to_contain_text(attack)
            expect(page.locator('[data-id="why"] li')).to_have_text(attack)
            page.keyboard.press("Escape")
            page.locator("body").press("s")
        page.wait_for_timeout(300)
        # and nothing of them to run or to be fetched
        assert page.evaluate("window.hacked") is None
        assert page.locator(".rv iframe, .rv svg, .rv script").count() == 0
        assert all(address.startswith(served.url) for address in watched.requests)
        assert watched.complaints == []


def test_the_card_shows_large_integers_exactly(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given an item with an account number that no double holds
    take_in(engine, requested("a", metadata={"account": 9007199254740993, "nested": [2**63 + 1]}))
    with reviewing(chromium, served, "ada") as (page, _):
        page.locator("summary").click()
        # I expect to read it as it was sent
        shown = page.locator('[data-id="metadata"]')
        expect(shown).to_contain_text("9007199254740993")
        expect(shown).to_contain_text("[9223372036854775809]")


def test_a_blind_item_shows_nothing_of_the_ai(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given an item of the audit panel that the AI is sure of
    take_in(engine, requested("i0", blind=True, confidence=0.97, reason="sure of positive"))
    answers: list[str] = []
    with reviewing(chromium, served, "ada") as (page, _):
        page.on("response", lambda answer: answers.append(answer.url))
        # I expect both labels as equals, and neither suggestion nor shares
        expect(page.locator('[data-id="badges"]')).to_have_text("Random check")
        expect(page.get_by_role("button", name="Accept")).to_be_hidden()
        page_text = page.locator(".rv-card").inner_text()
        assert "97" not in page_text
        assert "sure of" not in page.content()
        assert page.locator(".rv-bar, .rv-share, .rv-chosen").count() == 0
        # If I press the key for accepting, I expect nothing to be decided
        page.keyboard.press("a")
        assert shown(page) == "i0"
        # and a label to count
        page.keyboard.press("2")
        until(lambda: decisions(engine) == [("i0", "accept", "positive")], what="the decision")
        expect(page.locator('[data-id="stat-agreement"]')).to_have_text("\N{EN DASH}")


def test_two_reviewers_never_see_the_same_item(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 20)
    with (
        reviewing(chromium, served, "ada") as (ada, _),
        reviewing(chromium, served, "bob") as (bob, _),
    ):
        seen: list[str] = []
        for page in (ada, bob) * 6:
            expect(page.locator('.rv[data-state="task"]')).to_be_visible()
            seen.append(shown(page))
            page.keyboard.press("a")
        until(lambda: len(decisions(engine)) == 12, what="every decision arriving")
        assert len(set(seen)) == 12


def test_a_page_that_goes_away_gives_its_items_back(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    some(engine, 4)
    with reviewing(chromium, served, "ada") as (page, _):
        assert shown(page) == "i0"
        page.goto("about:blank")
        with Session(engine) as session:
            until(
                lambda: (
                    session.query(ReviewTask).filter(ReviewTask.leased_by.isnot(None)).count() == 0
                ),
                what="the leases being released",
            )


def test_new_items_appear_by_themselves(chromium: Browser, served: Served, engine: Engine) -> None:
    with reviewing(chromium, served, "ada") as (page, _):
        expect(page.get_by_role("heading", name="All done")).to_be_visible()
        some(engine, 1)
        expect(page.locator('[data-id="item"]')).to_have_text("#i0", timeout=15_000)


def test_what_comes_behind_the_item_on_the_screen_is_counted(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given a page that holds one item
    some(engine, 1)
    with reviewing(chromium, served, "ada") as (page, _):
        held = page.locator('[data-id="stat-buffered"]')
        expect(held).to_have_text("1")
        # If another one comes, I expect the page to hold and to count it, while the first one stays
        take_in(engine, requested("later", confidence=0.8))
        expect(held).to_have_text("2")
        assert shown(page) == "i0"


def test_the_page_fits_a_phone(chromium: Browser, served: Served, engine: Engine) -> None:
    # Given a narrow screen and a very long word
    some(engine, 2, text="unbreakable" * 60)
    with reviewing(chromium, served, "ada", phone=True) as (page, _):
        # I expect nothing to stick out, and the decision within reach of the thumb
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390
        accept = page.get_by_role("button", name="Accept positive")
        box = accept.bounding_box()
        assert box is not None
        assert 0 <= box["y"] <= 844 - box["height"]
        assert box["height"] >= 44
        accept.click()
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")


def test_the_next_item_is_there_within_a_frame_or_two(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given a connection with a round trip of a second
    some(engine, 40)
    with reviewing(chromium, served, "ada") as (page, _):

        def slowly(route: Route) -> None:
            page.wait_for_timeout(1_000)
            route.continue_()

        page.route("**/api/v1/**", slowly)
        times = page.evaluate(
            """async () => {
                const item = document.querySelector('[data-id="item"]');
                const times = [];
                for (let round = 0; round < 5; round += 1) {
                    const before = item.textContent;
                    const start = performance.now();
                    document.body.dispatchEvent(
                        new KeyboardEvent("keydown", { key: "a", bubbles: true }));
                    if (item.textContent === before) throw new Error("no next item");
                    await new Promise((painted) => requestAnimationFrame(() =>
                        requestAnimationFrame(painted)));
                    times.push(performance.now() - start);
                    await new Promise((wait) => setTimeout(wait, 50));
                }
                return times;
            }"""
        )
        # I expect to see the next item long before the server has heard of the decision
        assert sorted(times)[2] < 100
        page.unroute_all(behavior="ignoreErrors")
