"""Is a correction the same thing to everybody who exports, counts or learns from corrections?"""

import json
from collections.abc import Iterable
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from services.feedback.reports import export as log_export
from services.feedback.reports import reviewed
from services.feedback.training import labelled_texts
from services.review_ui.reports import export as page_export
from shared.workflows.files import ReviewRules
from tests.support.filled_database import log
from tests.support.review_data import ReviewRoom, lease_of
from tests.support.review_service import requested, take_in

TWO = ReviewRules(second_review_share=1.0)
# Item → what people said of it, one after another, and the label that stands; the AI said positive.
ANSWERS = {
    "corrected": ["ann negative"],
    "accepted": ["ann positive"],
    "checked": ["ann negative", "ben negative"],
    "settled": ["ann negative", "ben positive", "lea negative"],
    "overruled": ["ann negative", "ben positive", "lea positive"],
    "corrected again": ["ann positive", "lea reopens", "lea negative"],
    "no longer": ["ann negative", "lea reopens", "lea positive"],
    "looked at again": ["ann negative", "lea reopens"],
    "half": ["ann negative"],
    "disputed": ["ann negative", "ben positive"],
    "flagged": ["ann flags"],
    "taken back": ["ann takes back"],
    "too late": ["ann is late", "ben positive"],
    "nobody's": [],
}
STAND = {
    "corrected": "negative",
    "accepted": "positive",
    "checked": "negative",
    "settled": "negative",
    "overruled": "positive",
    "corrected again": "negative",
    "no longer": "positive",
    "looked at again": "negative",  # until the lead has answered
    "too late": "positive",
}
CHECKED = {"checked", "settled", "overruled", "half", "disputed"}


@pytest.fixture
def worked(engine: Engine) -> Engine:
    """A database in which all of that has happened, and the log has heard of what left."""
    room = ReviewRoom(engine, ReviewRules(), ["lea"])
    for item, answers in ANSWERS.items():
        asked = requested(item)
        take_in(engine, asked)
        log(engine, asked)
        room.review = TWO if item in CHECKED else ReviewRules()
        for answer in answers:
            say(room, item, answer)
            room.clock.turn(1)
        log(engine, *room.published_at_last())
    return engine


def say(room: ReviewRoom, item: str, answer: str) -> None:
    name, _, said = answer.partition(" ")
    task = room.task(item)
    if said == "reopens":
        room.reopen(name, task.id)
        return
    if task.leased_by != name:
        claimed = room.claim(name, count=50)
        room.release(name, [lease_of(each) for each in claimed if each.item_id != item])
        (task,) = [each for each in claimed if each.item_id == item]
    key = uuid4()
    match said:
        case "flags":
            room.decide(name, task, None, "flag", key)
        case "takes back":
            room.decide(name, task, "negative", key=key)
            room.undo(name, key)
            room.release(name, [lease_of(room.task(item))])
        case "is late":
            room.release(name, [lease_of(task)])
            room.decide(name, task, "negative", key=key)
        case label:
            room.decide(name, task, label, key=key)


def lines(pieces: Iterable[bytes]) -> list[dict[str, str]]:
    return [json.loads(line) for line in b"".join(pieces).splitlines()]


def test_the_label_that_stands_is_the_same_everywhere(worked: Engine) -> None:
    # Given answers that stand and answers that do not
    # I expect the log's export of labels, what a model learns from and what the report of
    # disagreements counts to be those that stand
    counted = log_export.Counted()
    exported = lines(log_export.rows(worked, log_export.Wanted("labels"), "jsonl", counted))
    assert {row["item_id"]: row["correct_label"] for row in exported} == STAND
    learnt = list(labelled_texts.reviewed(worked, "sentiment"))
    assert {each.item_id: each.label for each in learnt} == STAND
    assert sorted(each.label for each in reviewed.reviewed(worked, "sentiment")) == sorted(
        STAND.values()
    )
    # and the items to say so.
    with worked.connect() as connection:
        said = connection.execute(
            text("SELECT id, final_label FROM item WHERE status LIKE 'HUMAN\\_%ED'")
        )
        assert {item: label for item, label in said} == STAND


def test_corrections_are_the_same_to_both_exports(worked: Engine) -> None:
    # If I export the corrections from the review page and from the log
    wanted = page_export.Export("corrections", ["sentiment"])
    page = lines(page_export.rows(worked, wanted, "jsonl"))
    counted = log_export.Counted()
    logged = lines(log_export.rows(worked, log_export.Wanted("corrections"), "jsonl", counted))
    # I expect the same items with the same labels, by the same people, of the same moment
    corrections = {item: label for item, label in STAND.items() if label != "positive"}
    assert {row["item_id"]: row["label"] for row in page} == corrections
    assert {row["item_id"]: row["correct_label"] for row in logged} == corrections
    found = [
        {(row["item_id"], row["reviewer"], row["decided_at"]) for row in rows}
        for rows in (page, logged)
    ]
    assert found[0] == found[1]
    # and the page to have every answer among the decisions all the same.
    decisions = lines(
        page_export.rows(worked, page_export.Export("decisions", ["sentiment"]), "jsonl")
    )
    assert len(decisions) == sum(
        not answer.endswith("reopens") for answers in ANSWERS.values() for answer in answers
    )
