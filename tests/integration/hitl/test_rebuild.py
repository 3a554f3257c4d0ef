"""Can the rows that are summed up from the record be lost and made again? On a real database."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from hitl.__main__ import app
from hitl.ledger.erase import Erasure, erase_text
from hitl.recovery.rebuild_items import rebuild_items
from shared.answers.base import Kind
from shared.answers.reading import QUOTING
from shared.clock import utc_now
from shared.storage.tables import ReviewDecision
from tests.support import answer_events
from tests.support.answer_events import AnswerJourney
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


TASKS = (
    "SELECT to_jsonb(t) - 'traceparent' - 'created_at' FROM review_task t"
    " WHERE kind IS NOT NULL ORDER BY id"
)
DECISIONS = """
    SELECT jsonb_build_array(d.action, d.label, d.answer, d.revision)
    FROM review_decision d JOIN review_task t ON t.id = d.task_id WHERE item_id = 'corrected'
"""


@pytest.fixture(params=answer_events.KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def answered(engine: Engine, kind: Kind) -> Engine:
    """Items of one kind: accepted, corrected by a person (through the table of tasks), accepted by
    a person, failed, waiting, without a prediction, and erased."""
    names = ("machine", "corrected", "agreed", "failed", "waiting", "erased")
    of = {name: AnswerJourney(name, kind) for name in names}
    of["open"] = AnswerJourney("open", kind, predicted=False)
    log(engine, *(each.scored() for each in of.values()))
    log(engine, of["machine"].accepted(), of["failed"].failed("hitl.router"))
    for name, answer in (("corrected", of["corrected"].said.other), ("agreed", None)):
        log(engine, of[name].review_requested())
        answer_events.take_in(engine, of[name])
        answer_events.decide(engine, "ada", kind, answer)
        log(engine, of[name].answered(answer or of[name].said.predicted))
    waiting = (of["waiting"], of["open"], of["erased"])
    log(engine, *(each.review_requested() for each in waiting))
    answer_events.take_in(engine, *waiting)
    log(engine, of["erased"].answered(of["erased"].said.other))
    with Session(engine) as session, session.begin():
        erase_text(session, Erasure(kind, "erased", "admin", "asked to", utc_now()))
    return engine


def test_rows_of_any_kind_keep_the_words_that_no_event_has(answered: Engine, kind: Kind) -> None:
    # Given rows of typed answers that a logger wrote / If they are made again, I expect no change;
    live = rows(answered, ITEMS)
    assert "0 were missing, 0 were different" in rebuilt(answered)
    assert rows(answered, ITEMS) == live
    # and if what is summed up was altered, or a word of the log stands in the place of an answer,
    done(
        answered,
        "UPDATE item SET status = 'SCORED', ai_label = 'x', final_label = NULL, kind = NULL"
        " WHERE answer IS NULL",
        "UPDATE item SET reviewer = 'eve', confidence = 0.1, reasons = NULL",
    )
    rebuilt(answered)
    # every row is what it was.
    for now, before in zip(rows(answered, ITEMS), live, strict=True):
        altered = before["answer"] is None and before["ai_answer"] is not None
        if kind not in QUOTING or not altered:
            assert now == before
        else:  # its short line was altered beside the whole answer, and only that can be known
            assert {**now, "ai_label": 0} == {**before, "ai_label": 0}


def test_rows_of_any_kind_that_are_gone_take_their_answers_from_the_people(
    answered: Engine, kind: Kind
) -> None:
    live = {row["id"]: row for row in rows(answered, ITEMS)}
    done(answered, "DELETE FROM item")
    rebuilt(answered)
    found = {row["id"]: row for row in rows(answered, ITEMS)}
    # I expect all that tasks and decisions know,
    for name in ("corrected", "agreed", "waiting", "open", "erased"):
        for column in live[name].keys() - {"text_salts"}:
            assert found[name][column] == live[name][column], (name, column)
    # and of what no person was asked about the log's word for it, where the kind quotes.
    machine = found["machine"]
    if kind in QUOTING:
        assert (machine["ai_label"], machine["final_label"]) == ("(as predicted)",) * 2
        assert (machine["ai_answer"], machine["answer"]) == (None, None)
    else:
        assert {**machine, "asked": 0, "text": 0, "metadata": 0, "text_salts": 0} == {
            **live["machine"], "asked": 0, "text": 0, "metadata": 0, "text_salts": 0,
        }  # fmt: skip


def test_tasks_of_any_kind_are_asked_again_and_closed_with_their_answers(
    answered: Engine, kind: Kind
) -> None:
    # Given tasks that are gone, and one that is open again although it was decided
    before = {row["item_id"]: row for row in rows(answered, TASKS)}
    decision = rows(answered, DECISIONS)
    done(
        answered,
        "DELETE FROM review_decision",
        "DELETE FROM review_task WHERE item_id IN ('waiting', 'open')",
        "UPDATE review_task SET status = 'open', revision = 0, answers = '[]', decided_at = NULL"
        " WHERE item_id = 'corrected'",
    )
    # If they are put right
    assert "2 opened" in rebuilt(answered)
    # I expect the same questions, with the prediction and what it hangs on, and the same answer.
    found = {row["item_id"]: row for row in rows(answered, TASKS)}
    for name in ("waiting", "open"):
        assert found[name] == before[name]
    assert (found["corrected"]["status"], found["corrected"]["revision"]) == ("decided", 1)
    assert rows(answered, DECISIONS) == decision


def test_what_waited_is_asked_again_after_the_way_back_unless_it_is_lost_what_about(
    answered: Engine, kind: Kind
) -> None:
    # Given items of a typed kind, and a schema that went below it and up again
    for revision in ("0014", "head"):
        assert hitl(answered, "migrate", "--to", revision, "--yes").exit_code == 0
    # If the rows are made again
    said = hitl(answered, "rebuild")
    assert said.exit_code == 0, said.output
    found = {row["item_id"]: row for row in rows(answered, TASKS)}
    items = {row["id"]: row for row in rows(answered, ITEMS)}
    # I expect the log's answers to be back, of kinds that quote nobody,
    other = answer_events.KINDS[kind].other
    assert items["corrected"]["answer"] == (None if kind in QUOTING else other)
    assert {row["kind"] for row in items.values()} == {kind}
    # and what waited, where a person can answer it; else who sent it hears how to go on.
    if kind in ("preference", "approval"):
        assert found == {}
        assert "2 items wait for a person without the candidates or the action" in said.stderr
    else:
        assert {*found} == {"waiting", "open"}
        assert (found["waiting"]["prediction"] is None) is (kind in QUOTING)


def test_what_a_rule_approved_is_on_record_as_that_and_stays_so(engine: Engine) -> None:
    # Given an action that a rule approved, of which nobody had predicted anything
    journey = AnswerJourney("ruled", "approval", predicted=False)
    log(engine, journey.scored(), journey.accepted())
    logged = "SELECT data #>> '{decision,label}' FROM event WHERE type = 'item.accepted'"
    assert rows(engine, logged) == ["(by a rule)"]
    # If it is erased and its row made again, or lost, I expect the row to say the same as the log.
    with Session(engine) as session, session.begin():
        erase_text(session, Erasure("approval", "ruled", "admin", "asked to", utc_now()))
    log(engine, journey.accepted())
    for _ in ("kept", "lost"):
        assert rows(engine, "SELECT final_label FROM item") == ["(by a rule)"]
        assert "0 were missing, 0 were different" in rebuilt(engine)
        done(engine, "DELETE FROM item")
        rebuilt(engine)
