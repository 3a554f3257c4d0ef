"""Can a reviewer choose what to see, a lead accept a whole list, and settle what is disputed?"""

import re

from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from shared.storage.tables import ReviewDecision, ReviewTask
from tests.support.amqp_client import until
from tests.support.browser import reviewing, shown
from tests.support.review_service import Served, requested, take_in, task_id

HOSTILE = "<img src=x onerror=\"window.hacked = 'batch'\">"


def standing(engine: Engine) -> list[tuple[str, str, str | None]]:
    """(item, reviewer, label) of every decision that counts, by item."""
    with Session(engine) as session:
        rows = (
            session.query(ReviewTask.item_id, ReviewDecision.reviewer, ReviewDecision.label)
            .join(ReviewTask, ReviewTask.id == ReviewDecision.task_id)
            .filter(ReviewDecision.effective, ReviewDecision.undone_at.is_(None))
            .order_by(ReviewTask.item_id)
        )
        return [(row[0], row[1], row[2]) for row in rows]


def item(page: Page, name: str) -> None:
    expect(page.locator('[data-id="item"]')).to_have_text(f"#{name}")


def test_a_filter_stands_on_the_page_and_in_its_address(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given items of two labels
    take_in(
        engine,
        requested("i0", confidence=0.51),
        requested("i1", confidence=0.6, label="negative", text="a dull evening"),
        requested("i2", confidence=0.8, label="negative"),
    )
    with reviewing(chromium, served, "ada") as (page, watched):
        item(page, "i0")
        # If I filter by keys alone
        page.keyboard.press("/")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.get_by_label("AI label").select_option("negative")
        page.get_by_label("Confidence up to, %").fill("70")
        page.keyboard.press("Enter")
        # I expect what matches, a chip for each part, and to be told about blind items
        item(page, "i1")
        chips = page.locator('[data-id="chips"] button')
        expect(chips).to_have_text(["AI label: negative", "up to 70 %"])
        expect(page.locator('[data-id="filter-hint"]')).to_contain_text("Blind items are not")
        # and all of it in the address, which survives a reload
        assert page.url.endswith("/?label=negative&max=70")
        page.reload()
        item(page, "i1")
        expect(chips).to_have_count(2)
        # If I take one part away, I expect the rest to stay
        page.get_by_role("button", name="Remove the filter up to 70 %").click()
        expect(page.locator('[data-id="stat-buffered"]')).to_have_text("2")
        assert page.url.endswith("/?label=negative")
        # If nothing matches, I expect to read that, and a way back
        page.goto(f"{served.url}/?q={HOSTILE}")
        expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible(timeout=15_000)
        expect(chips).to_have_text([f"Text or item id: “{HOSTILE}”"])
        assert page.evaluate("window.hacked") is None
        page.locator("body").press("x")
        item(page, "i0")
        assert page.url.endswith("/")
        assert watched.complaints == []


def test_a_key_after_a_dialog_is_for_the_card(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    take_in(engine, requested("i0"))
    with reviewing(chromium, served, "ada") as (page, _):
        # Given the filter's dialog, with the focus in its list of labels
        page.keyboard.press("/")
        expect(page.get_by_role("dialog")).to_be_visible()
        # If it closes and a key follows before the browser has moved the focus
        opened = page.evaluate(
            """() => {
              document.querySelector("dialog[open]").close();
              const key = new KeyboardEvent("keydown", { key: "f", bubbles: true });
              document.activeElement.dispatchEvent(key);
              return document.querySelector("dialog[open]")?.dataset.id;
            }"""
        )
        # I expect the key to mean what it always means
        assert opened == "flag-dialog"
        # and Escape to close that one too, and the next key to be heard
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.get_by_role("heading", name="Keys")).to_be_visible()


def test_a_lead_accepts_a_filtered_list_and_takes_it_back(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given 60 items of one label, one of them hostile, and some that a batch leaves out
    take_in(
        engine,
        *(requested(f"i{number:02}", confidence=0.6) for number in range(59)),
        requested("hostile", confidence=0.55, text=HOSTILE),
        requested("other", label="negative"),
        requested("blind", blind=True),
    )
    with reviewing(chromium, served, "lea", role="lead") as (page, watched):
        # If I press the key without a filter, I expect to be asked for one
        page.keyboard.press("b")
        expect(page.locator('[data-id="toast"]')).to_contain_text("Filter by label")
        page.goto(f"{served.url}/?label=positive")
        expect(page.locator('.rv[data-state="task"]')).to_be_visible(timeout=15_000)
        page.keyboard.press("b")
        # I expect the number, a sample, and no way on before I have typed the number
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Accept 60 items as the AI labelled them?")
        rows = dialog.locator("tbody tr")
        expect(rows).to_have_count(20)
        expect(rows.first).to_contain_text(HOSTILE)
        send = page.get_by_role("button", name="Accept all")
        expect(send).to_be_disabled()
        page.keyboard.type("6")
        page.keyboard.press("Enter")
        expect(send).to_be_disabled()
        page.keyboard.type("0")
        page.keyboard.press("Enter")
        # and then all of them accepted by me, and the rest untouched
        expect(page.locator('[data-id="batch-says"]')).to_have_text("Accepted 60.", timeout=20_000)
        assert {row[1:] for row in standing(engine)} == {("lea", "positive")}
        assert len(standing(engine)) == 60
        # If I take the batch back, I expect them to wait again
        page.get_by_role("button", name="Take the last batch of 60 back").click()
        expect(page.locator('[data-id="batch-says"]')).to_have_text(
            re.compile("Taken back 60"), timeout=20_000
        )
        assert standing(engine) == []
        page.get_by_role("button", name="Close").click()
        expect(page.locator('.rv[data-state="task"]')).to_be_visible(timeout=15_000)
        assert page.evaluate("window.hacked") is None
        assert watched.complaints == []


def test_a_lead_settles_what_is_disputed_and_takes_up_what_is_flagged(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    # Given a dispute, a flagged item, one that somebody decided, and one that waits
    take_in(engine, *(requested(name) for name in ("dispute", "flag", "decided", "waits")))

    def answer(who: str, label: str | None, **more: str) -> dict[str, str | None]:
        round_ = "first" if who == "ada" else "second"
        extra = {"reason": None, "note": None, **more}
        return {"key": who, "reviewer": who, "round": round_, "label": label, **extra}

    states: dict[str, dict[str, object]] = {
        "dispute": {
            "round": "adjudication",
            "answers": [answer("ada", "negative", note=HOSTILE), answer("bob", "positive")],
        },
        "flag": {
            "round": "adjudication",
            "status": "flagged",
            "answers": [answer("ada", None, reason="Unreadable")],
        },
        "decided": {"status": "decided", "answers": [answer("ada", "negative")]},
    }
    with Session(engine) as session, session.begin():
        for name, values in states.items():
            session.execute(update(ReviewTask).where(ReviewTask.item_id == name).values(**values))
    with reviewing(chromium, served, "lea", role="lead") as (page, watched):
        expect(page.locator('[data-id="leads-count"]')).to_be_visible()
        page.goto(f"{served.url}/?only=disputed")
        # If a lead looks at disputes only, I expect both answers side by side, without names
        item(page, "dispute")
        answers = page.locator('[data-id="answers-list"] li')
        expect(answers).to_have_count(2)
        expect(answers.nth(0)).to_contain_text("Reviewer A")
        expect(answers.nth(0)).to_contain_text("negative")
        expect(answers.nth(0)).to_contain_text(HOSTILE)
        expect(answers.nth(1)).to_contain_text("Reviewer B")
        assert "bob" not in page.locator(".rv-card").inner_text()
        # and one key to settle it
        page.keyboard.press("1")
        until(lambda: ("dispute", "lea", "negative") in standing(engine), what="the settlement")
        expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
        # If they look at what is flagged, I expect the reason and to take it up
        page.keyboard.press("l")
        expect(page.get_by_role("dialog")).to_contain_text("Unreadable")
        page.get_by_role("button", name="Take up: #flag").click()
        item(page, "flag")
        expect(answers).to_contain_text(["flagged: Unreadable"])
        page.keyboard.press("2")
        until(lambda: ("flag", "lea", "positive") in standing(engine), what="the flagged one")
        # and what another page sends here, to be on the card first
        page.goto(f"{served.url}/?task={task_id('decided')}")
        item(page, "decided")
        assert "task=" not in page.url
        assert page.evaluate("window.hacked") is None
        # and a clear word where it cannot be taken up
        page.goto(f"{served.url}/?only=disputed&task={task_id('waits')}")
        expect(page.locator('[data-id="toast"]')).to_contain_text("still waits for a reviewer")
        complaints = [each for each in watched.complaints if "409" not in each]
        assert complaints == []
    with reviewing(chromium, served, "cy") as (page, _):
        assert shown(page) == "waits"
        page.goto(f"{served.url}/?task={task_id('flag')}")
        expect(page.locator('[data-id="toast"]')).to_contain_text("Only leads take up")
