"""Can the rows that are summed up from the record be lost and made again? On a real database."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from hitl.__main__ import app
from hitl.recovery.rebuild_items import rebuild_items
from shared.storage.tables import ReviewDecision
from tests.support.filled_database import fill, log
from tests.support.item_events import Journey
from tests.support.review_data import ReviewRoom

ITEMS = "SELECT to_jsonb(item) - 'updated_at' FROM item ORDER BY workflow, id"


def hitl(engine: Engine, *words: str) -> Result:
    url = engine.url.render_as_string(hide_password=False)
    return CliRunner().invoke(app, [*words], env={"DATABASE_URL": url, "COLUMNS": "200"})


def rebuilt(engine: Engine) -> str:
    done = hitl(engine, "rebuild")
    assert done.exit_code == 0, done.output
    return done.stdout


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(query)).scalars())


def done(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            assert connection.execute(text(statement)).rowcount, statement


@pytest.fixture
def room(engine: Engine) -> Iterator[ReviewRoom]:
    room = fill(engine)
    # Every kind of journey, in any order and over several batches.
    chance = random.Random(7)
    events = [
        event
        for number in range(40)
        for event in chance.sample(Journey(f"item {number}").everything(), chance.randint(1, 8))
    ]
    chance.shuffle(events)
    for start in range(0, len(events), 25):
        log(engine, *events[start : start + 25])
    yield room


def test_the_rows_made_of_the_events_are_those_that_the_loggers_wrote(
    engine: Engine, room: ReviewRoom
) -> None:
    # Given rows that loggers wrote, batch by batch
    live = rows(engine, ITEMS)
    # If I make them again, I expect nothing to change;
    assert "0 were missing, 0 were different" in rebuilt(engine)
    assert rows(engine, ITEMS) == live
    # and if somebody has altered all that is summed up, and taken the erased mark away,
    done(
        engine,
        "UPDATE item SET status = 'SCORED', progress = 10, final_label = NULL, reviewer = 'eve',"
        " confidence = 0.1, distribution = '{}', reasons = NULL, failure = 'x', trace_id = NULL,"
        " received_at = NULL, reviewed_at = now(), status_at = now()",
        "UPDATE item SET erased_at = NULL, text = 'back again' WHERE id = 'erased'",
    )
    assert f"{len(live)} were different" in rebuilt(engine)
    # every row is again what it was, to the letter; and the second time nothing is left to do.
    assert rows(engine, ITEMS) == live
    assert "0 were missing, 0 were different" in rebuilt(engine)


def test_rows_that_are_gone_come_back_with_the_texts_that_their_tasks_have(
    engine: Engine, room: ReviewRoom
) -> None:
    # Given a table of items that somebody has emptied
    live = {row["id"]: row for row in rows(engine, ITEMS)}
    done(engine, "DELETE FROM item")
    # If I make it again
    assert f"{len(live)} were missing" in rebuilt(engine)
    # I expect every row, and all of each but the texts and salts that no event has;
    found = {row["id"]: row for row in rows(engine, ITEMS)}
    assert found.keys() == live.keys()
    beside = ("text", "metadata", "text_salts")
    for name, row in found.items():
        for column in row.keys() - set(beside):
            assert row[column] == live[name][column], (name, column)
    # of what was sent to people, the texts as well, and of nothing that was erased.
    assert found["open"]["text"] == live["open"]["text"] == "a film of two halves"
    assert found["erased"]["text"] == live["erased"]["text"] == "[erased]"
    assert found["item 1"]["text"] is None


def test_rebuilding_beside_a_logger_at_work_overwrites_nothing(
    engine: Engine, room: ReviewRoom
) -> None:
    # Given somebody who makes the rows again and again
    over = threading.Event()
    times: list[int] = []

    def again() -> None:
        while not over.is_set():
            rebuild_items(engine, lambda _done: None)
            times.append(1)

    # If a logger takes in the events of the same items, one after the other
    with ThreadPoolExecutor(1) as pool:
        rebuilding = pool.submit(again)
        for number in count():
            if number >= 20 and len(times) > 3:
                break
            journey = Journey(f"busy {number}")
            for event in (
                journey.scored(),
                journey.review_requested(),
                journey.reviewed("positive"),
            ):
                log(engine, event)
        over.set()
        rebuilding.result()
    # I expect every row to be the sum of all its events, whoever wrote last.
    status = rows(engine, "SELECT DISTINCT status FROM item WHERE id LIKE 'busy%'")
    assert status == ["HUMAN_ACCEPTED"]
    assert "0 were missing, 0 were different" in rebuilt(engine)


def test_tasks_that_contradict_the_record_are_put_right(engine: Engine, room: ReviewRoom) -> None:
    # Given a task that is open though the record says that it was decided,
    rebuilt(engine)
    decided = Journey("open").reviewed("negative")
    log(engine, decided)
    # one whose decision is known as well, and an item whose task is gone
    log(engine, Journey("asked, and lost").review_requested())
    before = rows(engine, "SELECT count(*) FROM review_decision")[0]
    # If I put it right
    said = rebuilt(engine)
    # I expect the first to be closed, with the answer that the event tells,
    assert "tasks: 1 closed" in said
    task = room.task("open")
    assert (task.status, task.revision, task.leased_by) == ("decided", 1, None)
    assert rows(engine, "SELECT count(*) FROM review_decision")[0] == before + 1
    (answer,) = [row for row in room.rows(ReviewDecision) if row.task_id == task.id]
    assert (answer.reviewer, answer.label, answer.action) == ("reviewer 1", "negative", "correct")
    # the second to be asked, with its text, and nothing the next time.
    assert room.task("asked, and lost").item["text"] == "a fine film"
    assert room.task("asked, and lost").status == "open"
    assert "tasks: 0 closed as already decided, 0 opened" in rebuilt(engine)
