"""Can a reviewer give an answer of every kind: by keys alone, offline, blind, and take it back?"""

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from shared.answers.base import Kind
from shared.answers.text import TextAnswer
from shared.service.lifecycle import Lifecycle
from shared.storage.tables import ReviewDecision, ReviewTask
from shared.workflows.files import Workflow
from tests.browser.conftest import RunningClock
from tests.support.amqp_client import until
from tests.support.answer_requests import asks, workflow_of, workflows_of_all_kinds
from tests.support.browser import reviewing, shown
from tests.support.review_service import Served, make_test_context, serving, take_in


def decided(engine: Engine) -> list[tuple[str, str, Any]]:
    """(item, action, answer) of every decision that counts."""
    with Session(engine) as session:
        rows = (
            session.query(ReviewTask.item_id, ReviewDecision.action, ReviewDecision.answer)
            .join(ReviewTask, ReviewTask.id == ReviewDecision.task_id)
            .filter(ReviewDecision.effective, ReviewDecision.undone_at.is_(None))
            .order_by(ReviewDecision.id)
        )
        return [(row[0], row[1], row[2]) for row in rows]


def decides(engine: Engine, expected: list[tuple[str, str, Any]]) -> None:
    until(lambda: decided(engine) == expected, what=f"{expected}, not {decided(engine)}")


def pressed(page: Page) -> list[str]:
    """The labels that are on."""
    return page.locator('[data-id="labels"] [aria-pressed="true"] .rv-name').all_inner_texts()


def test_labels_are_switched_by_digits_and_sent_by_enter(
    chromium: Browser, kinds: Served, engine: Engine
) -> None:
    # Given items with two labels predicted, with none, and with nothing predicted
    parts = {"toxic": 0.8, "insult": 0.7, "threat": 0.1}
    both = {"labels": ["toxic", "insult"]}
    take_in(
        engine,
        asks("labels", "i0", both, confidence=0.5, parts=parts),
        asks("labels", "i1", both, confidence=0.6, parts=parts),
        asks("labels", "i2", {"labels": []}, confidence=0.7),
        asks("labels", "i3", both, blind=True, confidence=0.8),
        asks("labels", "i4", None),
    )
    order = ["i4", "i0", "i1", "i3", "i2"]  # a blind one comes anywhere
    with reviewing(chromium, kinds, "ada") as (page, watched):
        send = page.locator('[data-id="accept-button"]')
        # I expect nothing chosen where nothing was predicted, and A to accept nothing
        assert shown(page) == order[0]
        assert pressed(page) == []
        page.keyboard.press("a")
        assert shown(page) == order[0]
        expect(page.locator('[data-id="toast"]')).to_contain_text("Nothing was predicted")
        page.keyboard.press("3")
        assert pressed(page) == ["threat"]
        expect(page.locator('[data-id="says"]')).to_have_text("threat: on")
        page.keyboard.press("Enter")
        # and what was predicted to be on already, with its shares, for one key
        assert shown(page) == order[1]
        expect(page.locator('[data-id="says"]')).to_contain_text("AI suggests toxic, insult 50 %")
        assert pressed(page) == ["toxic", "insult"]
        expect(page.locator('[data-id="labels"] .rv-share')).to_have_text(["80 %", "70 %", "10 %"])
        expect(page.locator('[data-id="suggest"]')).to_have_text("AI suggests toxic, insult 50 %")
        expect(send).to_contain_text("Accept toxic, insult")
        page.keyboard.press("a")
        # If I switch one off and another on, I expect the button to say what it sends
        assert shown(page) == order[2]
        page.keyboard.press("1")
        page.keyboard.press("3")
        expect(send).to_contain_text("Send insult, threat")
        page.keyboard.press("Enter")
        # A blind one shows nothing of the prediction; no label is an answer
        assert shown(page) == order[3]
        assert pressed(page) == []
        expect(page.locator('[data-id="suggest"]')).to_contain_text("stays hidden")
        assert page.locator(".rv-bar, .rv-share, .rv-chosen").count() == 0
        page.keyboard.press("a")
        assert shown(page) == order[3]
        page.keyboard.press("Enter")
        # If I use the mouse and then Enter, I expect it to send, not to switch again
        assert shown(page) == order[4]
        page.get_by_role("button", name="insult").click()
        page.keyboard.press("0")
        page.keyboard.press("2")
        page.get_by_role("button", name="toxic").click()
        page.keyboard.press("Enter")
        decides(
            engine,
            [
                ("i4", "correct", {"labels": ["threat"]}),
                ("i0", "accept", both),
                ("i1", "correct", {"labels": ["insult", "threat"]}),
                ("i3", "correct", {"labels": []}),
                ("i2", "correct", {"labels": ["toxic", "insult"]}),
            ],
        )
        assert watched.complaints == []


def test_labels_offline_and_taken_back_as_they_were(
    chromium: Browser, kinds: Served, engine: Engine
) -> None:
    take_in(
        engine,
        *(
            asks("labels", f"i{n}", {"labels": ["toxic"]}, confidence=0.5 + n / 10)
            for n in range(3)
        ),
    )
    with reviewing(chromium, kinds, "ada") as (page, _):
        # Given an answer made offline
        page.context.set_offline(True)
        page.keyboard.press("a")
        page.keyboard.press("3")
        page.keyboard.press("Enter")
        expect(page.locator('[data-id="sync"]')).to_have_text("offline, 2 unsent")
        # If I take it back, I expect it as I had given it
        page.keyboard.press("u")
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")
        assert pressed(page) == ["toxic", "threat"]
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        page.context.set_offline(False)
        everything = {"labels": ["toxic", "insult", "threat"]}
        first = ("i0", "accept", {"labels": ["toxic"]})
        decides(engine, [first, ("i1", "correct", everything)])
        # and so when the server has it already
        page.keyboard.press("u")
        expect(page.locator('[data-id="item"]')).to_have_text("#i1")
        assert pressed(page) == everything["labels"]
        assert decided(engine) == [first]


def marked(page: Page) -> list[tuple[str, str]]:
    """Each marked place with its label."""
    marks = page.locator('[data-id="text"] mark')
    return [(each.inner_text(), each.get_attribute("data-tag") or "") for each in marks.all()]


def test_spans_are_given_by_keys_alone_and_counted_in_code_points(
    chromium: Browser, kinds: Served, engine: Engine
) -> None:
    # Given a text with an emoji before all places, and a prediction that is half right
    text = "\N{WAVING HAND SIGN} Peter of ACME Corp met Ann."
    predicted = {
        "spans": [
            {"start": 2, "end": 7, "label": "PER"},
            {"start": 11, "end": 15, "label": "LOC"},
            {"start": 21, "end": 24, "label": "PER"},
        ]
    }
    ask: dict[str, Any] = {"text": text, "parts": [0.97, 0.4, 0.5]}
    take_in(
        engine,
        asks("spans", "i0", predicted, confidence=0.4, **ask),
        asks("spans", "i1", predicted, confidence=0.5, **ask),
        asks("spans", "i2", {"spans": []}, confidence=0.6, text=text),
    )
    with reviewing(chromium, kinds, "ada") as (page, watched):
        says = page.locator('[data-id="says"]')
        send = page.locator('[data-id="accept-button"]')
        assert marked(page) == [("Peter", "PER"), ("ACME", "LOC"), ("met", "PER")]
        # I expect one key to accept all of it
        page.keyboard.press("a")
        assert shown(page) == "i1"
        # If I walk through the spans, I expect to hear each
        page.keyboard.press("Tab")
        expect(says).to_have_text("Peter, PER, 1/3, 97 %")
        page.keyboard.press("Tab")
        expect(says).to_have_text("ACME, LOC, 2/3, 40 %")
        expect(page.locator('[data-id="text"] [aria-current="true"]')).to_have_text("ACME")
        # and to relabel, to move the end, to take one away, and to add another
        page.keyboard.press("2")
        page.keyboard.press("Shift+ArrowRight")
        assert marked(page) == [("Peter", "PER"), ("ACME Corp", "ORG"), ("met", "PER")]
        expect(says).to_have_text("ACME Corp, ORG, 2/3")
        page.keyboard.press("Tab")
        page.keyboard.press("Backspace")
        expect(says).to_have_text("Taken away: met, PER")
        page.keyboard.press("ArrowRight")
        expect(says).to_have_text("Ann")
        page.keyboard.press("1")
        right = [("Peter", "PER"), ("ACME Corp", "ORG"), ("Ann", "PER")]
        assert marked(page) == right
        expect(send).to_contain_text("Send 3 places")
        # By mouse as well: what it selects gets the label
        page.keyboard.press("Escape")
        page.get_by_text("Peter", exact=True).first.dblclick()
        page.get_by_role("button", name="MISC").click()
        page.keyboard.press("1")
        assert marked(page) == right
        page.keyboard.press("Enter")
        # With nothing predicted, the arrows begin with the first word
        assert shown(page) == "i2"
        page.keyboard.press("1")
        expect(says).to_contain_text("Select a place in the text first")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("2")
        assert marked(page) == [("Peter of", "ORG")]
        page.keyboard.press("Enter")
        given = [
            {"start": 2, "end": 7, "label": "PER"},
            {"start": 11, "end": 20, "label": "ORG"},
            {"start": 25, "end": 28, "label": "PER"},
        ]
        decides(
            engine,
            [
                ("i0", "accept", predicted),
                ("i1", "correct", {"spans": given}),
                ("i2", "correct", {"spans": [{"start": 2, "end": 10, "label": "ORG"}]}),
            ],
        )
        # and an undo to bring all of it back
        page.keyboard.press("u")
        expect(page.locator('[data-id="item"]')).to_have_text("#i2")
        assert marked(page) == [("Peter of", "ORG")]
        assert watched.complaints == []


def test_of_a_long_text_with_many_spans_only_the_touched_places_are_drawn_anew(
    chromium: Browser, kinds: Served, engine: Engine
) -> None:
    # Given a text of 5 000 words with 300 spans
    word = "Prague "
    spans = [{"start": at, "end": at + 6, "label": "LOC"} for at in range(0, 4_800 * 7, 16 * 7)]
    take_in(engine, asks("spans", "i0", {"spans": spans}, text=word * 5_000))
    with reviewing(chromium, kinds, "ada") as (page, watched):
        text = page.locator('[data-id="text"]')
        expect(text.locator("mark")).to_have_count(300)
        text.evaluate(
            """text => {
                window.drawn = 0;
                new MutationObserver(all => all.forEach(each => {
                    window.drawn += each.addedNodes.length + each.removedNodes.length;
                })).observe(text, { childList: true, subtree: true });
            }"""
        )
        # If somebody relabels one, moves its end, takes another away and gives a third
        for _ in range(150):
            page.keyboard.press("Tab")
        for key in ("1", "Shift+ArrowRight", "Tab", "Backspace", "ArrowRight", "2"):
            page.keyboard.press(key)
        tags = text.locator("mark").evaluate_all("all => all.map(each => each.dataset.tag)")
        assert sorted(tags, key="LOC".__eq__)[:2] == ["PER", "ORG"]
        assert tags.count("LOC") == 298
        # I expect a few nodes to be made for each, not those of the whole text, of which there are
        # more than 600.
        assert 0 < page.evaluate("window.drawn") < 60
        assert watched.complaints == []


def test_a_preference_is_one_key_and_counts_in_the_items_order(
    chromium: Browser, kinds: Served, engine: Engine
) -> None:
    # Given texts to choose from, whose sides are drawn for each reviewer and item
    texts = ["Pay!", "Please pay."]
    take_in(
        engine,
        *(
            asks(
                "preference", f"i{n}", {"preferred": 0}, confidence=0.5 + n / 100, candidates=texts
            )
            for n in range(8)
        ),
    )
    expected: list[tuple[str, str, Any]] = []
    firsts: list[str] = []
    with reviewing(chromium, kinds, "ada") as (page, watched):
        shown_first = page.locator(".rv-candidate-text").first
        # If I take the left one each time, I expect the answer to name it by its place in the item
        for number in range(6):
            assert shown(page) == f"i{number}"
            firsts.append(shown_first.inner_text())
            place = texts.index(firsts[-1])
            action = "correct" if place else "accept"
            expected.append((f"i{number}", action, {"preferred": place}))
            page.keyboard.press("1")
        # and both sides to have been first
        assert set(firsts) == set(texts)
        page.keyboard.press("t")
        expected.append(("i6", "correct", {"preferred": None}))
        page.keyboard.press("a")
        expected.append(("i7", "accept", {"preferred": 0}))
        decides(engine, expected)
        # and the same sides after an undo
        for _ in range(8):
            page.keyboard.press("u")
            page.wait_for_timeout(150)
        expect(page.locator('[data-id="item"]')).to_have_text("#i0")
        expect(shown_first).to_have_text(firsts[0])
        assert watched.complaints == []


def test_a_text_is_edited_with_its_changes_in_sight(
    chromium: Browser, kinds: Served, engine: Engine
) -> None:
    # Given a draft, and what was predicted of it
    predicted = {"text": "Dear Peter, please pay."}
    take_in(
        engine,
        asks("text", "i0", predicted, confidence=0.5, draft="Peter pay now"),
        asks("text", "i1", predicted, confidence=0.6, draft="Peter pay now"),
    )
    with reviewing(chromium, kinds, "ada") as (page, watched):
        assert page.locator(".rv-difference ins").all_inner_texts()[0] == "Dear "
        page.keyboard.press("a")
        assert shown(page) == "i1"
        # If I empty it, I expect to be told, and nothing to be sent
        page.keyboard.press("e")
        page.keyboard.press("Control+a")
        page.keyboard.press("Backspace")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_text("A corrected text cannot be empty.").first).to_be_visible()
        assert shown(page) == "i1"
        # If I write another, I expect its changes, letters to be letters, and Ctrl+Enter to send it
        page.keyboard.press("e")
        page.keyboard.type("Peter, pay now")
        expect(page.locator(".rv-difference ins")).to_have_text([","])
        expect(page.locator('[data-id="accept-button"]')).to_contain_text("Send the text")
        page.keyboard.press("Control+Enter")
        decides(
            engine, [("i0", "accept", predicted), ("i1", "correct", {"text": "Peter, pay now"})]
        )
        page.keyboard.press("u")
        expect(page.locator("textarea.rv-edit")).to_have_value("Peter, pay now")
        assert watched.complaints == []


def test_a_form_names_what_is_wrong_and_sends_only_what_fits(
    chromium: Browser, kinds: Served, engine: Engine
) -> None:
    # Given a form with a wrong total
    predicted = {
        "form": {"supplier": "ACME", "total": 12, "currency": "EUR", "lines": [
            {"what": "Pens", "amount": 120}
        ]}
    }  # fmt: skip
    parts = {"supplier": 0.98, "total": 0.4}
    take_in(
        engine,
        asks("form", "i0", predicted, confidence=0.4, parts=parts),
        asks("form", "i1", predicted, confidence=0.5, parts=parts),
        asks("form", "i2", None),
    )
    with reviewing(chromium, kinds, "ada") as (page, watched):
        # I expect an empty form to be named field by field, and not to be sent
        assert shown(page) == "i2"
        page.keyboard.press("Enter")
        expect(page.locator(".rv-problem:visible")).to_have_text(["is missing"] * 3)
        expect(page.get_by_label("supplier")).to_be_focused()
        # If I fill in one field after the other by keys, I expect each mistake to be named at once
        page.keyboard.type("ACME")
        expect(page.locator('[data-id="text"] mark')).to_have_count(0)
        page.keyboard.press("Enter")
        page.keyboard.type("-1")
        expect(page.locator(".rv-problem:visible")).to_have_text(["is too small: 0 or more"])
        page.keyboard.press("Control+a")
        page.keyboard.type("much")
        expect(page.locator(".rv-problem:visible")).to_have_text(["must be of type number"])
        # and whoever hears the page to be told of it, at once and at the field
        expect(page.locator('[data-id="says"]')).to_have_text("must be of type number")
        page.keyboard.press("Control+Enter")
        assert shown(page) == "i2"
        total = page.get_by_label("Total with tax")
        expect(total).to_be_focused()
        expect(total).to_have_attribute("aria-invalid", "true")
        expect(total).to_have_accessible_description("must be of type number")
        page.keyboard.press("Control+a")
        page.keyboard.type("120.5")
        page.keyboard.press("Enter")
        page.keyboard.type("USD")
        page.keyboard.press("Control+Enter")
        # A predicted one is accepted by one key, and marks where the text says a value
        assert shown(page) == "i0"
        page.keyboard.press("a")
        assert shown(page) == "i1"
        page.keyboard.press("e")
        expect(page.locator('[data-id="text"] mark')).to_have_text("ACME")
        page.keyboard.press("Enter")
        page.keyboard.press("Control+a")
        page.keyboard.type("120")
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        decides(
            engine,
            [
                (
                    "i2",
                    "correct",
                    {"form": {"supplier": "ACME", "total": 120.5, "currency": "USD"}},
                ),
                ("i0", "accept", predicted),
                ("i1", "correct", {"form": predicted["form"] | {"total": 120}}),
            ],
        )
        assert watched.complaints == []


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        (tuple(workflows_of_all_kinds()), {"0", "M", "E", "T"}),
        (("spans",), {"M"}),
        (("preference", "text"), {"E", "T"}),
    ],
)
def test_the_help_names_the_keys_of_the_kinds_that_are_asked_for(
    chromium: Browser, engine: Engine, asked: tuple[Kind, ...], keys: set[str]
) -> None:
    # Given workflows of these kinds; if somebody asks for help
    clock = RunningClock()
    flows: dict[str, Workflow] = {kind: workflow_of(kind) for kind in asked}
    with (
        serving(make_test_context(engine, clock, Lifecycle(), flows), clock) as served,
        reviewing(chromium, served, "ada") as (page, watched),
    ):
        page.keyboard.press("?")
        expect(page.locator('[data-id="help-dialog"]')).to_be_visible()
        # I expect the keys of these kinds, and of no other.
        own = set(page.locator("[data-kinds]:visible kbd").all_inner_texts())
        assert own & {"0", "M", "E", "T"} == keys
        assert watched.complaints == []


def test_a_lead_sees_disputed_answers_whole_side_by_side(
    chromium: Browser, kinds: Served, engine: Engine
) -> None:
    # Given two long answers that begin alike, so that their short lines say little
    begins = (
        "Dear Peter, thank you for your letter of the third. We have read it with great care, and"
    )
    texts = [f"{begins} agree.\n\nYours, Ann", f"{begins} do not agree.\n\nYours, Ann"]
    take_in(engine, asks("text", "letter", None, draft="Dear Peter"))
    given = [
        {
            "key": who, "reviewer": who, "round": round_, "reason": None, "note": None,
            "label": TextAnswer(text=text).brief, "answer": {"text": text},
        }
        for who, round_, text in zip(("ada", "bob"), ("first", "second"), texts, strict=True)
    ]  # fmt: skip
    with Session(engine) as session, session.begin():
        session.execute(update(ReviewTask).values(round="adjudication", answers=given))
    with reviewing(chromium, kinds, "lea", role="lead") as (page, watched):
        # If a lead settles it / I expect both to be there whole, without names.
        page.goto(f"{kinds.url}/?only=disputed")
        told = page.locator('[data-id="answers-list"] .rv-whole')
        expect(told).to_have_count(2)
        assert told.all_inner_texts() == texts
        assert "bob" not in page.locator(".rv-card").inner_text()
        assert watched.complaints == []


def test_long_names_are_neither_cut_off_nor_in_the_way_on_a_phone(
    chromium: Browser, engine: Engine
) -> None:
    # Given thirty labels with names of fifty characters, and a form with lists in lists
    names = tuple(f"{number} {'long' * 12}"[:50] for number in range(30))
    field = {"type": "string"}
    line = {"type": "object", "properties": {"what": field, "an_amount_" * 5: field}}
    order = {"type": "object", "properties": {"lines": {"type": "array", "items": line}}}
    schema = {"type": "object", "properties": {"orders": {"type": "array", "items": order}}}
    flows = {
        "labels": workflow_of("labels", labels=names),
        "spans": workflow_of("spans", labels=names),
        "form": workflow_of("form", schema=schema),
    }
    spans = [{"start": 0, "end": 5, "label": names[0]}]
    take_in(
        engine,
        asks("labels", "i0", {"labels": list(names[:3])}, parts=dict.fromkeys(names, 0.5)),
        asks("spans", "i1", {"spans": spans}),
        asks("form", "i2", {"form": {"orders": [{"lines": [{"what": "Pens"}]}]}}),
    )
    clock = RunningClock()
    with (
        serving(make_test_context(engine, clock, Lifecycle(), flows), clock) as served,
        reviewing(chromium, served, "ada", phone=True, language="de-DE") as (page, watched),
    ):
        for kind in flows:
            page.goto(f"{served.url}/?workflow={kind}")
            expect(page.locator(f'.rv-card[data-kind="{kind}"]')).to_be_visible(timeout=15_000)
            # I expect nothing to reach beyond the screen, and every button whole and within it.
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            buttons = page.locator(".rv-actions button")
            for button in buttons.all():
                expect(button).to_be_in_viewport(ratio=1)
                assert button.evaluate("each => each.scrollWidth <= each.clientWidth")
        assert watched.complaints == []
