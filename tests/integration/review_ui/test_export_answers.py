"""Do the API's exports hold answers of every kind, and nothing of an erased one?"""

import json
from typing import Any, get_args

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hitl.ledger.erase import Erasure, erase_text
from services.review_ui.reports import export
from services.review_ui.reports.export import What
from shared.answers.base import Kind
from tests.support.answer_events import KINDS, SECRET, AnswerJourney, decide, take_in
from tests.support.filled_database import log
from tests.support.item_events import at


def rows(engine: Engine, what: What, kind: Kind) -> list[dict[str, Any]]:
    content = b"".join(export.rows(engine, export.Export(what, [kind]), "jsonl"))
    return [json.loads(line) for line in content.splitlines()]


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda model: model.model_dump()))


@pytest.mark.parametrize("kind", KINDS)
def test_decisions_corrections_and_items_hold_the_answers(engine: Engine, kind: Kind) -> None:
    said = KINDS[kind]
    accepted, corrected = AnswerJourney("accepted", kind), AnswerJourney("corrected", kind)
    # Given an item that a person agrees with, one that is corrected, one with nothing predicted
    for journey, answer in (
        (accepted, None),
        (corrected, said.other),
        (AnswerJourney("open", kind, predicted=False), said.other),
    ):
        take_in(engine, journey)
        decide(engine, "ann", kind, answer)
    log(engine, accepted.answered(said.predicted), corrected.answered(said.other))
    # I expect what each person answered, beside what was predicted,
    found = [
        (row["item_id"], row["kind"], row["answer"], row["ai_answer"])
        for row in rows(engine, "decisions", kind)
    ]
    assert found == [
        ("accepted", kind, said.predicted, said.predicted),
        ("corrected", kind, said.other, said.predicted),
        ("open", kind, said.other, None),
    ]
    # of the corrections all that the item brought,
    (row,) = rows(engine, "corrections", kind)
    assert (row["item_id"], row["answer"], row["ai_answer"]) == (
        "corrected", said.other, said.predicted,
    )  # fmt: skip
    brought = {"asked_action" if n == "action" else n: v for n, v in said.asked.items()}
    assert {name: row[name] for name in brought} == as_json(brought)
    # and the same of the items.
    items = {row["id"]: row for row in rows(engine, "items", kind)}
    assert items["corrected"]["answer"] == said.other
    assert items["accepted"]["ai_answer"] == said.predicted
    assert {name: items["corrected"][name] for name in brought} == as_json(brought)


@pytest.mark.parametrize("kind", KINDS)
def test_an_erased_item_leaves_without_a_word_of_it(engine: Engine, kind: Kind) -> None:
    # Given a corrected item whose text, answers and note are erased
    journey = AnswerJourney("gone", kind)
    take_in(engine, journey)
    decide(engine, "ann", kind, KINDS[kind].other, note=SECRET)
    log(engine, journey.review_requested(), journey.answered(KINDS[kind].other))
    with Session(engine) as session, session.begin():
        erase_text(session, Erasure(kind, "gone", "lea", "asked for", at(500)))
    # I expect its rows to stay, with no text, and nowhere a word of it.
    for what in get_args(What):
        (row,) = rows(engine, what, kind)
        assert SECRET not in json.dumps(row)
        assert row.get("text") is None
        if kind in ("form", "text", "approval"):
            assert (row["answer"], row["ai_answer"]) == (None, None)


def test_a_blind_item_that_waits_keeps_its_prediction_to_itself(engine: Engine) -> None:
    # Given a blind item with one of two answers, and no event but that it was scored
    journey = AnswerJourney("blind", "labels")
    request = journey.review_requested()
    blind = request.model_copy(
        update={"routing": request.routing.model_copy(update={"blind": True})}
    )
    journey.review_requested = lambda: blind  # type: ignore[method-assign]  # a blind one
    take_in(engine, journey)
    decide(engine, "ann", "labels", KINDS["labels"].other, second_review_share=1.0)
    log(engine, journey.scored())
    (decision,) = rows(engine, "decisions", "labels")
    assert (decision["answer"], decision["ai_answer"]) == (KINDS["labels"].other, None)
    assert rows(engine, "corrections", "labels") == []
    (item,) = rows(engine, "items", "labels")
    assert (item["ai_answer"], item["answer"]) == (None, None)
