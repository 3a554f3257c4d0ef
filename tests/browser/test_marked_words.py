"""Does the card mark the words that count, as text, when asked, and never on a blind item?"""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine

from tests.support.browser import reviewing, shown
from tests.support.review_service import Served, requested, take_in, weigh

WEIGHTS = {"wonderful": 2.0, "film": 0.3, "dull": -0.9, "img": 0.1}
HOSTILE = '😀 wonderful <img src=x onerror="document.title=1"> film, dull <mark>'


def marks(page: Page) -> list[tuple[str, str]]:
    """The marked words of the text, each with its classes."""
    found = page.locator('[data-id="text"] mark')
    return [(mark.inner_text(), mark.get_attribute("class") or "") for mark in found.all()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_key_marks_the_words_and_takes_the_marks_away(
    chromium: Browser, served: Served, engine: Engine, dark: bool
) -> None:
    # Given a hostile item whose words were weighed, one that is weighed later, and a blind one
    take_in(
        engine,
        requested("i0", text=HOSTILE, priority=9),
        requested("i1", text="a dull film", priority=5),
        requested("i2", text="a dull film", blind=True),
    )
    weigh(engine, "i0", HOSTILE, WEIGHTS)
    weigh(engine, "i2", "a dull film", WEIGHTS)
    with reviewing(chromium, served, "ada", dark=dark) as (page, watched):
        assert shown(page) == "i0"
        text = page.locator('[data-id="text"]')
        expect(text).to_have_text(HOSTILE)
        assert marks(page) == []
        # If I press H
        page.keyboard.press("h")
        # I expect the words that count to be marked, each by its direction and strength,
        assert marks(page) == [
            ("wonderful", "rv-for rv-strength-3"),
            ("film", "rv-for rv-strength-1"),
            ("dull", "rv-against rv-strength-2"),
        ]
        # the text to be the same to the letter, with nothing of it run or shown as markup,
        expect(text).to_have_text(HOSTILE)
        assert text.locator("img").count() == 0
        # the words to be told apart by more than colour, and named for those who cannot see them
        lines = [
            page.locator(f'[data-id="text"] mark.{kind}').first.evaluate(
                "mark => getComputedStyle(mark).textDecorationStyle"
            )
            for kind in ("rv-for", "rv-against")
        ]
        assert lines == ["solid", "wavy"]
        legend = page.locator('[data-id="legend"]')
        expect(legend).to_have_text("For positive: wonderful filmAgainst it: dull")
        button = page.locator('[data-act="highlights"]')
        expect(button).to_have_attribute("aria-pressed", "true")
        serious = [
            (found["id"], found["nodes"])
            for found in Axe().run(page).response["violations"]
            if found["impact"] in ("serious", "critical")
        ]
        assert serious == []
        # and pressed again, by key or button, the marks to be gone
        page.keyboard.press("h")
        assert marks(page) == []
        expect(legend).to_be_hidden()
        button.click()
        assert len(marks(page)) == 3
        # and the choice to be remembered
        page.reload()
        page.wait_for_selector('.rv[data-state="task"]')
        expect(text.locator("mark")).to_have_count(3)
        assert watched.complaints == []
        # If the next item is weighed while I look at it, I expect its marks to appear
        page.keyboard.press("a")
        assert shown(page) == "i1"
        expect(legend).to_have_text("The words of this item have not been weighed.")
        weigh(engine, "i1", "a dull film", WEIGHTS)
        expect(text.locator("mark")).to_have_count(2)
        # and of the blind one nothing, whatever is pressed and whatever the table says
        page.keyboard.press("a")
        assert shown(page) == "i2"
        page.keyboard.press("h")
        expect(page.locator('[data-id="text"] mark')).to_have_count(0)
        expect(button).to_be_hidden()
        expect(legend).to_be_hidden()
