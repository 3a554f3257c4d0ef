"""Does every page speak the browser's language, with no word missing in any?"""

import json
import re
from pathlib import Path
from typing import cast

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import Engine

from services.review_ui.screen.gradio_app import ASSETS
from tests.support.browser import reviewing
from tests.support.review_service import Served, requested, take_in

WORDS = ASSETS / "words"
FILES = sorted(WORDS.glob("*.json"))
PLACE = re.compile(r"\{\w+\}")
Parts = dict[str, dict[str, str]]


def parts_of(path: Path) -> Parts:
    found = cast(dict[str, object], json.loads(path.read_text(encoding="utf-8")))
    return cast(Parts, {name: part for name, part in found.items() if name != "language"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_language_has_every_word_and_place(path: Path) -> None:
    # Given the English words and another language's
    english, other = parts_of(WORDS / "en.json"), parts_of(path)
    # I expect the same keys, none empty, with the same places to fill
    assert english.keys() == other.keys()
    for name, part in english.items():
        assert part.keys() == other[name].keys(), name
        for key, text in part.items():
            said = other[name][key]
            assert said.strip(), (name, key)
            assert sorted(PLACE.findall(said)) == sorted(PLACE.findall(text)), (name, key)


def test_every_language_is_offered_and_every_word_used_exists() -> None:
    # Given what the template asks for (bin/check-javascript sees to the scripts)
    offered = re.search(r"LANGUAGES = \[(.*)\]", (WORDS / "words.js").read_text())
    assert offered is not None
    assert re.findall(r'"(\w+)"', offered[1]) == ["en", *sorted(_codes() - {"en"})]
    card = parts_of(WORDS / "en.json")["card"]
    asked = set(re.findall(r'data-t="(\w+)"', (ASSETS / "card" / "review.html").read_text()))
    # I expect them in the file of words
    assert asked <= card.keys()


def _codes() -> set[str]:
    return {path.stem for path in FILES}


def test_a_german_browser_reads_german(chromium: Browser, served: Served, engine: Engine) -> None:
    # Given a reviewer whose browser prefers German
    take_in(engine, requested("i0", confidence=0.6), requested("i1", confidence=0.7))
    context = chromium.new_context(locale="de-DE")
    page = context.new_page()
    page.goto(f"{served.url}/login")
    expect(page.get_by_role("button", name="Anmelden")).to_be_visible()
    page.locator("#name").fill("nobody")
    page.locator("#password").fill("wrong")
    page.locator("button[type=submit]").click()
    expect(page.get_by_role("alert")).to_contain_text("Passwort ist falsch")
    context.close()
    with reviewing(chromium, served, "ada", language="de-DE") as (page, watched):
        # I expect the card, its help and its answers in German
        assert page.evaluate("document.documentElement.lang") == "de"
        expect(page.get_by_role("button", name="positive annehmen")).to_be_visible()
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("die letzte Entscheidung zurücknehmen")
        page.keyboard.press("Escape")
        page.keyboard.press("a")
        page.keyboard.press("u")
        expect(page.locator('[data-id="toast"]')).to_contain_text("Zurückgenommen")
        assert watched.complaints == []


def test_an_unknown_language_reads_english(
    chromium: Browser, served: Served, engine: Engine
) -> None:
    take_in(engine, requested("i0"))
    with reviewing(chromium, served, "ada", language="fi-FI") as (page, _):
        expect(page.get_by_role("button", name="Accept positive")).to_be_visible()
