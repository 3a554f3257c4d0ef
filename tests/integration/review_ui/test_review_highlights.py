"""Does a reviewer get the words that speak for the AI's label, and of a blind item none at all?"""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.tasks.intake import Intake
from shared.events.models import ItemExplained, WordWeight
from shared.service.lifecycle import Lifecycle
from shared.storage.tables import Highlight
from tests.support.review_service import (
    START,
    Served,
    TurnedClock,
    delivered,
    make_test_context,
    requested,
    serving,
    take_in,
    task_id,
)

TEXT = "😀 wonderful <b>film</b>"
PIECES = [
    ("😀", 0.01),
    (" ", None),
    ("wonderful", 1.5),
    (" <", None),
    ("b", 0.0),
    (">", None),
    ("film", -0.5),
    ("</b>", None),
]


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    with serving(make_test_context(engine, clock, Lifecycle()), clock) as served:
        yield served


def explained(item_id: str, label: str = "positive", model: str = "test@1") -> ItemExplained:
    """What inference says of TEXT."""
    places = ((0, 1, 0.01), (2, 11, 1.5), (13, 14, 0.0), (15, 19, -0.5))
    return ItemExplained(
        workflow="sentiment",
        occurred_at=START,
        explained_item_id=item_id,
        label=label,
        model_version=model,
        words=tuple(WordWeight(start=a, end=b, weight=w) for a, b, w in places),
    )


def weigh(engine: Engine, *events: ItemExplained) -> None:
    results = Intake(engine, TurnedClock()).handle([delivered(event) for event in events])
    assert results == [()] * len(events)


def shape(pieces: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(piece["text"], piece["weight"]) for piece in pieces]


def test_highlights_come_with_the_task_or_after_it(engine: Engine, served: Served) -> None:
    # Given an item whose words were weighed before its task was made, and one that still waits
    weigh(engine, explained("early"))
    take_in(engine, requested("early", text=TEXT), requested("late", text=TEXT))
    with served.logged_in("grace") as grace, served.logged_in("ada") as ada:
        claimed = grace.post("/api/v1/tasks/claim", json={"count": 2}).json()["tasks"]
        early, late = sorted(claimed, key=lambda task: str(task["item_id"]))
        # I expect the first with its pieces, which are the whole text, tags and all
        assert shape(early["highlights"]) == PIECES
        assert "".join(piece["text"] for piece in early["highlights"]) == TEXT
        # and the second without
        assert late["highlights"] is None
        path = f"/api/v1/tasks/{late['id']}/highlights"
        assert grace.get(path).status_code == 404
        # If its words are weighed while the card is open, and come twice, and otherwise
        weigh(engine, explained("late"), explained("late"))
        weigh(engine, explained("late", label="negative"))
        # I expect who holds the task to get them, and the first to stay
        answer = grace.get(path).json()
        assert (answer["label"], shape(answer["pieces"])) == ("positive", PIECES)
        # and nobody else: their answer is that of a task that does not exist
        other = ada.get(path)
        nowhere = ada.get(f"/api/v1/tasks/{task_id('nowhere')}/highlights")
        assert (other.status_code, other.json()) == (404, nowhere.json())
    with served.visitor() as visitor:
        assert visitor.get(path).status_code == 401


def test_a_blind_item_has_no_highlights_whatever_the_table_says(
    engine: Engine, served: Served
) -> None:
    # Given a blind task and a row for it, which inference would never send
    take_in(engine, requested("panel", text=TEXT, blind=True))
    weigh(engine, explained("panel"))
    with served.logged_in("grace") as grace:
        # If it is claimed, looked up and asked for in every way
        (task,) = grace.post("/api/v1/tasks/claim", json={"count": 1}).json()["tasks"]
        again = grace.get(f"/api/v1/tasks/{task['id']}")
        asked = grace.get(f"/api/v1/tasks/{task['id']}/highlights")
    # I expect none, and no weight anywhere
    assert task["highlights"] is None
    assert again.json()["highlights"] is None
    assert asked.status_code == 404
    assert not any("1.5" in answer.text for answer in (again, asked))


def test_the_words_of_another_opinion_or_text_are_not_shown(engine: Engine, served: Served) -> None:
    # Given highlights of another label, of another model, and of a longer text than the task's
    weigh(engine, explained("label", label="negative"), explained("model", model="other@2"))
    weigh(engine, explained("short"))
    for item_id, text in (("label", TEXT), ("model", TEXT), ("short", "so short")):
        take_in(engine, requested(item_id, text=text))
    with served.logged_in("grace") as grace:
        claimed = grace.post("/api/v1/tasks/claim", json={"count": 3}).json()["tasks"]
    # I expect the tasks without them
    assert [task["highlights"] for task in claimed] == [None, None, None]


def test_a_batch_of_requests_and_explanations_is_taken_in_one_go(engine: Engine) -> None:
    # Given both kinds mixed, and something that is neither
    clock = TurnedClock(datetime(2024, 5, 1, 13, 0, tzinfo=UTC))
    good = [delivered(requested("a", text=TEXT)), delivered(explained("a"))]
    results = Intake(engine, clock).handle([*good, delivered(explained("no task"))])
    # I expect all to be done with, and no text in what is kept of the weights
    assert results == [(), (), ()]
    with Session(engine) as session:
        rows = {row.item_id: row for row in session.query(Highlight)}
    assert rows.keys() == {"a", "no task"}
    assert rows["a"].words[1] == {"start": 2, "end": 11, "weight": 1.5}
