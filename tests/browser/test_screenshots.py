"""What do the pages look like?

`bin/test tests/browser --screenshots docs/images` takes the pictures of the documents; without the
option they go to a temporary folder.
"""

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared.clock import utc_now
from shared.storage.tables import ReviewDecision, ReviewTask
from tests.support.answer_requests import asks
from tests.support.browser import reviewing
from tests.support.review_service import TRACEPARENT, Served, requested, take_in, weigh

# Sentences of our own: no text of the data set is kept in this repository.
TEXTS = (
    ("Slow for an hour, and then so moving that I forgave it everything.", 0.58),
    ("The songs are fine. The story is not, and it goes on for ever.", 0.64),
    ("Nobody in this film behaves like a person, which may be the joke.", 0.71),
    ("A quiet, generous film about people who mean well.", 0.79),
)


PEOPLE = ["ada", "grace", "linus"]
KNOWN: dict[str, Any] = {
    "workflow": "sentiment",
    "status": "decided",
    "queue": "default",
    "priority": 0,
    "uncertainty": 0.4,
    "due_at": utc_now() + timedelta(days=1),
    "blind": False,
    "item": {"text": TEXTS[3][0]},
    "prediction": {"label": "positive"},
    "routing": {},
    "traceparent": TRACEPARENT,
    "created_at": utc_now(),
}


def answer(
    task: ReviewTask, reviewer: str, label: str, at: datetime, turn: str = "first"
) -> ReviewDecision:
    """A decision that stands."""
    return ReviewDecision(
        idempotency_key=uuid4(),
        task_id=task.id,
        reviewer=reviewer,
        action="accept" if label == "positive" else "correct",
        label=label,
        lease_token=1,
        effective=True,
        revision=1,
        round=turn,
        ai_label_shown=not task.blind,
        assigned_at=at - timedelta(seconds=2 + task.uncertainty * 15),
        decided_at=at,
    )


def waiting_answer(
    reviewer: str,
    turn: str,
    label: str | None,
    *,
    reason: str | None = None,
    note: str | None = None,
) -> dict[str, str | None]:
    """One of the answers that a lead is to settle."""
    return {
        "key": str(uuid4()),
        "reviewer": reviewer,
        "round": turn,
        "label": label,
        "reason": reason,
        "note": note,
    }


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    given = request.config.getoption("--screenshots")
    return Path(given) if given else tmp_path


def take(page: Page, path: Path) -> None:
    page.wait_for_timeout(300)  # fades and fonts
    page.screenshot(path=path)
    assert path.stat().st_size > 10_000, "not an empty page"


def test_pictures_of_the_review_page(
    chromium: Browser, served: Served, engine: Engine, folder: Path
) -> None:
    # Given some items and two decisions
    requests = [
        requested(
            f"film-{number}",
            text=text,
            confidence=confidence,
            reason=f"confidence {confidence:.2f} is below 0.85",
            metadata={"source": "newsletter", "page": number + 3},
        )
        for number, (text, confidence) in enumerate(TEXTS * 2)
    ]
    take_in(engine, *requests[:4])
    with reviewing(chromium, served, "ada") as (page, _):
        page.keyboard.press("a")
        page.keyboard.press("1")
        # I expect a picture of the card, of its help, by night and on a phone
        take(page, folder / "review.png")
        page.keyboard.press("?")
        take(page, folder / "review-help.png")
    # (what the one before had in hand is given back as the page goes)
    with reviewing(chromium, served, "grace", dark=True) as (page, _):
        expect(page.locator('[data-id="item"]')).to_have_text("#film-2")
        take(page, folder / "review-dark.png")
    with reviewing(chromium, served, "linus", phone=True) as (page, _):
        expect(page.locator('[data-id="item"]')).to_have_text("#film-2")
        expect(page.locator('[data-act="help"]').first).to_be_hidden()
        take(page, folder / "review-phone.png")


def test_pictures_of_each_step_of_a_review(
    chromium: Browser, served: Served, engine: Engine, folder: Path
) -> None:
    # Given an item whose words were weighed, and a random check
    text = TEXTS[0][0]
    take_in(engine, requested("film-1", text=text, confidence=0.58, priority=9))
    take_in(engine, requested("film-2", text=TEXTS[1][0], blind=True))
    weigh(engine, "film-1", text, {"moving": 1.6, "forgave": 0.8, "Slow": -1.2, "hour": -0.3})
    context = chromium.new_context(viewport={"width": 900, "height": 560})
    login = context.new_page()
    login.goto(served.url)
    expect(login.locator("#password")).to_be_visible()
    # I expect a picture of the login, of marked words, of the two dialogs, and of a random check
    take(login, folder / "review-login.png")
    context.close()
    with reviewing(chromium, served, "ada") as (page, _):
        page.keyboard.press("h")
        expect(page.locator('[data-id="text"] mark').first).to_be_visible()
        take(page, folder / "review-words.png")
        page.keyboard.press("h")
        page.keyboard.press("f")
        expect(page.get_by_role("dialog")).to_be_visible()
        take(page, folder / "review-flag.png")
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        expect(page.get_by_role("dialog")).to_be_visible()
        take(page, folder / "review-filter.png")
        page.keyboard.press("Escape")
        page.keyboard.press("a")
        expect(page.locator('[data-id="badges"]')).to_contain_text("Random check")
        take(page, folder / "review-blind.png")


def test_pictures_of_what_a_lead_does(
    chromium: Browser, served: Served, engine: Engine, folder: Path
) -> None:
    # Given a dispute, a flagged item, and a list of one label
    take_in(
        engine,
        *(
            requested(f"film-{number}", text=TEXTS[number % 4][0], confidence=0.6 + number / 50)
            for number in range(8)
        ),
    )
    dispute = [
        waiting_answer("grace", "first", "positive", note="It praises the songs only"),
        waiting_answer("linus", "second", "negative"),
    ]
    flag = [waiting_answer("grace", "first", None, reason="None of the labels fits")]
    with Session(engine) as session, session.begin():
        for item_id, answers in (("film-1", dispute), ("film-2", flag)):
            task = session.query(ReviewTask).filter_by(item_id=item_id).one()
            task.round, task.answers = "adjudication", answers
            task.status = "open" if answers is dispute else "flagged"
    with reviewing(chromium, served, "ada", role="lead") as (page, _):
        # I expect a picture of both answers, of what waits for a lead, and of a list to be accepted
        page.goto(f"{served.url}/?only=disputed")
        expect(page.locator('[data-id="answers-list"] li')).to_have_count(2, timeout=15_000)
        take(page, folder / "review-dispute.png")
        page.keyboard.press("l")
        expect(page.get_by_role("dialog")).to_contain_text("None of the labels fits")
        take(page, folder / "review-leads.png")
        page.goto(f"{served.url}/?label=positive")
        expect(page.locator('.rv[data-state="task"]')).to_be_visible(timeout=15_000)
        page.keyboard.press("b")
        expect(page.get_by_role("dialog")).to_contain_text("as the AI labelled them?")
        take(page, folder / "review-batch.png")


def test_pictures_of_the_pages(
    chromium: Browser, served: Served, engine: Engine, folder: Path
) -> None:
    # Given a day of decisions of three reviewers
    chance = random.Random(1)
    take_in(
        engine,
        *(
            requested(
                f"film-{number}",
                text=TEXTS[number % len(TEXTS)][0],
                confidence=0.5 + 0.35 * chance.random(),
            )
            for number in range(240)
        ),
    )
    now = utc_now()
    with Session(engine) as session, session.begin():
        for number, task in enumerate(session.query(ReviewTask).order_by(ReviewTask.item_id)):
            at = now - timedelta(minutes=1_400 - 7 * number)
            if at > now - timedelta(minutes=1):
                continue
            kept = chance.random() > task.uncertainty
            task.created_at, task.status, task.revision = at - timedelta(hours=1), "decided", 1
            task.drawn, task.blind = number % 4 == 0, number % 9 == 0
            first, second = chance.sample(PEOPLE, 2)
            label = "positive" if kept else "negative"
            session.add(answer(task, first, label, at))
            if task.drawn:
                other = "negative" if chance.random() < 0.1 else label
                session.add(answer(task, second, other, at + timedelta(minutes=5), "second"))
        # of whom two flagged an item, two disagree, and all had gold items
        waits = session.query(ReviewTask).filter_by(status="open").limit(3).all()
        for number, task in enumerate(waits):
            flagged = number > 0
            task.status, task.round = "flagged" if flagged else "open", "adjudication"
            task.answers = [
                waiting_answer(
                    name,
                    "first" if name == "grace" else "second",
                    None if flagged else label,
                    reason="None of the labels fits" if flagged else None,
                    note="It praises the songs only" if flagged else None,
                )
                for name, label in (("grace", "positive"), ("linus", "negative"))[: 2 - flagged]
            ]
        for number, name in enumerate(PEOPLE * 25):
            task = ReviewTask(id=uuid4(), known_label="positive", seeded_for=name, **KNOWN)
            task.item_id = f"film-{300 + number}"
            session.add(task)
            session.flush()
            label = "positive" if chance.random() < 0.9 else "negative"
            known = answer(task, name, label, now - timedelta(hours=3))
            known.seeded = True
            session.add(known)
    with reviewing(chromium, served, "ada", role="lead") as (page, _):
        # I expect a picture of the history, with what waits for a lead, and of the dashboard
        page.set_viewport_size({"width": 1280, "height": 1150})
        page.goto(f"{served.url}/history")
        expect(page.locator("#decisions")).to_contain_text("film-6", timeout=20_000)
        expect(page.locator("#for-leads")).to_contain_text("None of the labels", timeout=20_000)
        take(page, folder / "history.png")
        page.set_viewport_size({"width": 1280, "height": 1950})
        page.goto(f"{served.url}/dashboard")
        expect(page.locator("#known-items")).to_contain_text("grace", timeout=20_000)
        expect(page.locator(".vega-embed svg, .vega-embed canvas")).to_have_count(4)
        take(page, folder / "dashboard.png")


def test_pictures_of_each_kind_of_answer(
    chromium: Browser, kinds: Served, engine: Engine, folder: Path
) -> None:
    # Given an item of each kind
    text = "Peter Novak of ACME Corp met Ann in Prague; he owes 120 euros until May."
    take_in(
        engine,
        asks(
            "labels",
            "comment-17",
            {"labels": ["toxic", "insult"]},
            text="Only a fool would buy this rubbish.",
            parts={"toxic": 0.83, "insult": 0.64, "threat": 0.04},
        ),
        asks(
            "spans",
            "letter-3",
            {
                "spans": [
                    {"start": 0, "end": 11, "label": "PER"},
                    {"start": 15, "end": 24, "label": "ORG"},
                    {"start": 29, "end": 32, "label": "PER"},
                    {"start": 36, "end": 42, "label": "LOC"},
                ]
            },
            text=text,
            parts=[0.98, 0.61, 0.9, 0.95],
        ),
        asks(
            "form",
            "invoice-9",
            {
                "form": {
                    "supplier": "ACME Corp",
                    "total": 120,
                    "currency": "EUR",
                    "paid": False,
                    "lines": [{"what": "Pens", "amount": 20}, {"what": "Paper", "amount": 100}],
                }
            },
            text=text,
            parts={"supplier": 0.97, "total": 0.58, "currency": 0.99},
        ),
        asks(
            "text",
            "reply-5",
            {"text": "Dear Peter,\nplease pay the 120 euros by the end of May."},
            text="The customer owes 120 euros until May.",
            draft="Peter, pay 120 euros by May.",
        ),
        asks(
            "preference",
            "pair-2",
            None,
            text="Remind a customer of an open invoice.",
            candidates=[
                "Pay the 120 euros at once!",
                "Please remember the open invoice of 120 euros.",
            ],
        ),
    )
    with reviewing(chromium, kinds, "ada") as (page, _):
        for kind in ("labels", "spans", "form", "text", "preference"):
            page.goto(f"{kinds.url}/?workflow={kind}")
            expect(page.locator(f'.rv-card[data-kind="{kind}"]')).to_be_visible(timeout=15_000)
            if kind == "spans":
                page.keyboard.press("Tab")
                page.keyboard.press("Tab")
            take(page, folder / f"answer-{kind}.png")
