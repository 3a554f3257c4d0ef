"""Do a lead's figures say how well people agree, whatever is asked? On a real database."""

import random
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from hitl.ledger.erase import Erasure, erase_text
from services.review_ui.reports import quality
from services.review_ui.reports.quality import Agreement
from shared.answers.base import Kind
from shared.clock import utc_now
from tests.support.answer_events import KINDS, AnswerJourney, decide, take_in
from tests.support.filled_database import log

EVER = datetime(2020, 1, 1, tzinfo=UTC)
MEASURED: dict[Kind, set[tuple[str, str | None]]] = {
    "labels": {("alpha", None), ("kappa", "insult"), ("kappa", "toxic")},
    "spans": {("exact_f1", None), ("partial_f1", None), ("alpha", None)},
    "form": {("equal_fields", None), ("exact_match", None)},
    "text": {("edit_similarity", None), ("exact_match", None)},
    "preference": {
        ("kappa", None),
        ("alpha", None),
        ("strength", "candidate 1"),
        ("strength", "candidate 2"),
    },
    "approval": {("kappa", None), ("alpha", None), ("exact_match", None)},
}


def agreement(engine: Engine, kind: Kind) -> Agreement:
    with Session(engine) as session:
        return quality.agreement(session, kind, EVER)


def answered_twice(engine: Engine, kind: Kind) -> None:
    """Four items: twice the same answer, twice another one."""
    said = KINDS[kind]
    firsts = (said.predicted, said.other, said.predicted, said.other)
    seconds = (said.predicted, said.other, said.other, said.predicted)
    for number, (one, other) in enumerate(zip(firsts, seconds, strict=True)):
        take_in(engine, AnswerJourney(f"item {number}", kind))
        for reviewer, answer in (("ada", one), ("bob", other)):
            decide(engine, reviewer, kind, answer, second_review_share=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_two_peoples_answers_are_compared_as_their_kind_asks(engine: Engine, kind: Kind) -> None:
    answered_twice(engine, kind)
    found = agreement(engine, kind)
    assert (found.kind, found.items, found.percent) == (kind, 4, 0.5)
    assert {(figure.name, figure.part) for figure in found.figures} == MEASURED[kind]
    # Kappa of one label is of one label alone: a long text is no category.
    assert (found.kappa, found.alpha) == (None, None)
    # What was erased is compared no more: nobody knows what was said.
    log(engine, AnswerJourney("item 0", kind).scored())
    with Session(engine) as session, session.begin():
        erase_text(session, Erasure(kind, "item 0", "lead", "asked to", utc_now()))
    assert agreement(engine, kind).items == 3


def test_candidates_are_as_strong_as_the_choices_say_by_the_names_that_they_have(
    engine: Engine,
) -> None:
    # Given choices between two models, whose places the producer shuffles and whose names it says
    chance = random.Random(3)
    for number in range(20):
        journey, swapped = AnswerJourney(f"item {number}", "preference"), chance.random() < 0.5
        names = ["new", "old"][:: -1 if swapped else 1]
        item = journey.item.model_copy(update={"metadata": {"candidates": names}})
        journey.item = item
        take_in(engine, journey)
        winner = names.index("new" if number % 4 else "old")
        decide(engine, "ada", "preference", {"preferred": winner})
    # I expect the new one ahead by the odds of 15 to 5
    found = {each.part: each for each in agreement(engine, "preference").figures}
    assert (
        found["new"].value == pytest.approx(-found["old"].value) == pytest.approx(0.549, abs=1e-3)
    )
    assert found["new"].interval.low > 0
    # and, where it says no names, their places.
    with engine.begin() as connection:
        connection.execute(text("UPDATE review_task SET item = item #- '{metadata,candidates}'"))
    places = {each.part for each in agreement(engine, "preference").figures}
    assert places == {"candidate 1", "candidate 2"}


def test_a_workflow_that_asks_for_something_else_now_is_measured_by_that(engine: Engine) -> None:
    # Given answers of one kind, and then of another in the same workflow
    answered_twice(engine, "text")
    with engine.begin() as connection:
        moved = "UPDATE review_task SET workflow = 'labels', item_id = 'old ' || item_id"
        connection.execute(text(moved))
    answered_twice(engine, "labels")
    found = agreement(engine, "labels")
    assert (found.kind, found.items) == ("labels", 4)
