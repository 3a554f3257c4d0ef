"""Does every request for review become one task, and only one, however often it arrives?"""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.tasks.intake import Intake
from shared.errors import Overloaded, Permanent
from shared.events.models import derive_id
from shared.storage.database import connect
from shared.storage.tables import ItemRow, ReviewTask
from tests.support.review_service import START, TRACEPARENT, TurnedClock, delivered, requested


def tasks(engine: Engine) -> dict[str, ReviewTask]:
    with Session(engine, expire_on_commit=False) as session:
        return {task.item_id: task for task in session.query(ReviewTask)}


def test_a_request_becomes_a_task_that_knows_everything(engine: Engine) -> None:
    # Given a request with a due time, a queue and a priority
    due_at = START + timedelta(hours=1)
    event = requested("i1", due_at=due_at, queue="support", priority=7, confidence=0.6)
    # If it is taken in
    assert Intake(engine, TurnedClock()).handle([delivered(event)]) == [()]
    # I expect a task with all of it, under an id that follows from the item
    task = tasks(engine)["i1"]
    assert task.id == derive_id("task", "sentiment", "i1")
    assert (task.status, task.queue, task.priority) == ("open", "support", 7)
    assert task.uncertainty == pytest.approx(0.4)
    assert task.due_at == due_at
    assert task.item == event.item.model_dump(mode="json")
    assert task.prediction == event.prediction.model_dump(mode="json")
    assert task.routing == event.routing.model_dump(mode="json")
    # and the producer's trace goes on in it
    assert task.traceparent.split("-")[1] == TRACEPARENT.split("-")[1]


def test_the_same_item_again_is_the_same_task(engine: Engine) -> None:
    # Given a request that comes twice in one batch and once more later, as after a lost ack
    intake = Intake(engine, TurnedClock())
    twice = [delivered(requested("i1")), delivered(requested("i1"))]
    # If all are taken in
    assert intake.handle(twice) == [(), ()]
    assert intake.handle([delivered(requested("i1", text="another text"))]) == [()]
    # I expect one task, as it was the first time
    assert list(tasks(engine)) == ["i1"]
    assert tasks(engine)["i1"].item["text"] == "a film of two halves"


@pytest.mark.parametrize("status", ["AI_ACCEPTED", "HUMAN_ACCEPTED", "HUMAN_CORRECTED"])
def test_an_item_that_is_decided_already_makes_no_task(engine: Engine, status: str) -> None:
    # Given an item that has its decision, and another that has none
    with Session(engine) as session, session.begin():
        for item_id, known in (("decided", status), ("waiting", "HUMAN_REVIEW")):
            session.add(
                ItemRow(
                    workflow="sentiment",
                    id=item_id,
                    status=known,
                    progress=20,
                    status_at=START,
                    updated_at=START,
                )
            )
    # If requests for both are taken in
    intake = Intake(engine, TurnedClock())
    results = intake.handle([delivered(requested("decided")), delivered(requested("waiting"))])
    # I expect both to be done with, and a task for the waiting one only
    assert results == [(), ()]
    assert list(tasks(engine)) == ["waiting"]


def test_what_cannot_be_read_is_refused_alone(engine: Engine) -> None:
    # Given a batch with a good request between two bad messages
    good = delivered(requested("good"))
    no_json = replace(good, body=b"{")
    no_shape = replace(good, body=b'{"workflow": "sentiment"}')
    # If it is taken in
    results = Intake(engine, TurnedClock()).handle([no_json, good, no_shape])
    # I expect the bad ones refused with their reason and the good one as a task
    assert [getattr(result, "reason", "done") for result in results] == [
        "not_json",
        "done",
        "schema",
    ]
    assert list(tasks(engine)) == ["good"]


def test_a_row_that_postgres_refuses_is_set_aside_once_it_stands_alone(engine: Engine) -> None:
    # Given a request from elsewhere with a NUL in its text, which Postgres cannot store
    bad, good = delivered(requested("bad", text="a\0b")), delivered(requested("good"))
    intake = Intake(engine, TurnedClock())
    # If it comes with others, I expect an error, so that the worker splits the batch
    with pytest.raises(Exception, match="unsupported Unicode escape"):
        intake.handle([bad, good])
    # and alone a dead letter that says who refused it
    (result,) = intake.handle([bad])
    assert isinstance(result, Permanent)
    assert result.reason == "rejected_by_database"
    assert intake.handle([good]) == [()]


def test_while_the_database_is_away_the_batch_is_held(engine: Engine) -> None:
    # Given no server at the address
    delivery = delivered(requested("i1"))
    away = connect(engine.url.set(port=1).render_as_string(hide_password=False))
    # If a request is to be taken in, I expect the worker to be asked for patience
    with pytest.raises(Overloaded):
        Intake(away, TurnedClock()).handle([delivery])
    # and nothing to be lost: with the database the same delivery makes its task
    assert Intake(engine, TurnedClock()).handle([delivery]) == [()]
    assert list(tasks(engine)) == ["i1"]
