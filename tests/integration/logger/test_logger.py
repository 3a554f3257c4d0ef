"""Does the logger write every event once, and one right row per item? On real servers."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from pydantic import JsonValue
from sqlalchemy import Engine, text

from hitl.servers.ports import free_ports
from services.logger.handler import Logger
from services.logger.projection import ItemFacts, fold
from services.logger.rows import read_event
from shared.answers.base import Action, Kind
from shared.answers.reading import parsed
from shared.clock import utc_now
from shared.errors import Overloaded, Permanent, Retryable
from shared.events.models import Event, Item, ItemFailed
from shared.messages import Delivery
from shared.storage.database import connect, readiness
from tests.support.amqp_client import outsider, until
from tests.support.answer_events import KINDS, AnswerJourney
from tests.support.item_events import (
    PREDICTION,
    START,
    TRACE,
    TRACEPARENT,
    Journey,
    deliver,
    delivered,
    submitted,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with disposing(connect(database_url)) as engine:
        yield engine


@pytest.fixture
def log(engine: Engine) -> Logger:
    return logger_on(engine)


def logger_on(engine: Engine) -> Logger:
    return Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)


def rows(engine: Engine, query: str, **values: object) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(query), values).mappings()]


def items(engine: Engine) -> dict[str, ItemFacts]:
    """The item table in the projection's words, by id."""
    found = rows(engine, "SELECT * FROM item")
    for row in found:
        for column in ("updated_at", "text_salts", "erased_at"):
            del row[column]
    return {row["id"]: ItemFacts(**row) for row in found}


def waiting(engine: Engine, application: str) -> list[int]:
    """The process ids of the connections of this application that wait for a lock."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = :name"
        " AND datname = current_database() AND wait_event_type = 'Lock'"
    )
    return [row["pid"] for row in rows(engine, query, name=application)]


@contextmanager
def disposing(engine: Engine) -> Iterator[Engine]:
    """Closes the engine's connections at the end."""
    try:
        yield engine
    finally:
        engine.dispose()


def wrote(log: Logger, *deliveries: Delivery) -> None:
    """Hands over one batch and expects nothing to be wrong with it."""
    assert list(log.handle(deliveries)) == [()] * len(deliveries)


def test_an_event_becomes_a_row_without_the_persons_text(engine: Engine, log: Logger) -> None:
    # Given an item that was submitted, scored, sent to a person and reviewed
    a = Journey("a", text="the text of a person")
    wrote(
        log,
        replace(
            submitted("a", text="the text of a person"),
            headers={"traceparent": TRACEPARENT},
        ),
        *map(delivered, (a.scored(), a.review_requested(), a.reviewed("negative"))),
        delivered(a.failed("hitl.router")),
    )
    # I expect every event, with its origin and its trace,
    found = {row["type"]: row for row in rows(engine, "SELECT * FROM event")}
    assert set(found) == {
        "item.submitted",
        "item.scored",
        "item.review_requested",
        "item.reviewed",
        "item.failed",
    }
    assert found["item.scored"]["event_id"] == a.scored().event_id
    assert found["item.scored"]["source"] == "/hitl/test"
    assert found["item.submitted"]["source"] == "hitl.items"
    assert {row["trace_id"] for row in found.values()} == {TRACE}
    assert {row["item_id"] for row in found.values()} == {"a"}
    # what was said in it,
    assert found["item.scored"]["data"]["prediction"]["confidence"] == 0.75
    assert found["item.reviewed"]["data"]["review"]["revision"] == 1
    assert found["item.submitted"]["data"]["item"] == {
        "id": "a",
        "received_at": "2024-05-01T12:00:00Z",
    }
    # and nowhere the text, its excerpt, the metadata or the note, which could not be erased.
    for row in found.values():
        assert "text of a person" not in json.dumps(row["data"])
        assert "a note of the reviewer" not in json.dumps(row["data"])
        assert "a fi" not in json.dumps(row["data"])
        assert '"row"' not in json.dumps(row["data"])
    assert items(engine)["a"].text == "the text of a person"


def test_the_view_says_what_became_of_an_item(engine: Engine, log: Logger) -> None:
    a = Journey("a")
    wrote(log, *map(delivered, (a.scored(), a.review_requested(), a.reviewed("negative"))))
    assert rows(engine, "SELECT * FROM workflow_log") == [
        {
            "id": "a",
            "input_text": "a fine film",
            "ai_label": "positive",
            "confidence": 0.75,
            "status": "HUMAN_CORRECTED",
            "reviewer": "reviewer 1",
            "timestamp": a.reviewed("negative").occurred_at,
        }
    ]


def test_in_any_order_the_row_is_what_the_events_say_together(engine: Engine, log: Logger) -> None:
    # Given eight events, and an item for each of 500 of their orders
    orders = {str(seed): random.Random(seed).sample(range(8), 8) for seed in range(500)}
    told: dict[str, list[Event]] = {item_id: [] for item_id in orders}
    for step in range(8):
        # If the next event of every item arrives
        for item_id, order in orders.items():
            told[item_id].append(Journey(item_id).everything()[order[step]])
        wrote(log, *(delivered(events[-1]) for events in told.values()))
        # I expect each row to say what the pure projection says of the events so far,
        found = items(engine)
        for item_id, events in told.items():
            assert [found[item_id]] == fold((event, TRACE) for event in events), orders[item_id]
    # and in the end the same for all.
    ends = [replace(row, id="") for row in found.values()]
    assert ends == [ends[0]] * 500
    assert (ends[0].status, ends[0].reviewer) == ("HUMAN_ACCEPTED", "reviewer 2")


def test_of_any_kind_the_row_is_what_the_events_say_together(engine: Engine, log: Logger) -> None:
    # Given items of every kind, a dozen orders of each one's events, in portions that differ
    told: dict[str, list[Event]] = {}
    for kind in KINDS:
        for seed in range(12):
            chance, item_id = random.Random(seed), f"{kind} {seed}"
            events = AnswerJourney(item_id, kind, predicted=seed % 3 > 0).everything()
            told[item_id] = chance.sample(events, chance.randint(1, len(events)))
    for start in range(0, 6, 2):
        wrote(log, *(delivered(each) for events in told.values() for each in events[start:][:2]))
    # I expect each row to say what the pure projection says of its events.
    found = items(engine)
    for item_id, events in told.items():
        assert [found[item_id]] == fold((event, TRACE) for event in events), item_id


def test_two_predictions_of_one_item_stay_apart(engine: Engine, log: Logger) -> None:
    # Given an event that tells of another prediction than the one before it, in either order
    first = AnswerJourney("a", "text")
    second = first.review_requested()
    other = first.prediction
    assert other is not None
    other = other.model_copy(update={"answer": {"text": "another"}})
    second = second.model_copy(update={"prediction": other})
    for events in ([first.scored(), second], [second, first.scored()]):
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM item"))
            connection.execute(text("ALTER TABLE event DISABLE TRIGGER ALL; DELETE FROM event"))
        for event in events:
            wrote(log, delivered(event))
        # I expect the short line and the whole answer to be of the same one.
        row = items(engine)["a"]
        assert (row.ai_label, row.ai_answer) == ("another", {"text": "another"})


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_and_the_view_say_what_was_answered_but_no_persons_words(
    engine: Engine, log: Logger, kind: Kind
) -> None:
    # Given an item of this kind, with a person's words wherever there can be any
    a = AnswerJourney("a", kind)
    events = (a.scored(), a.accepted(), a.review_requested(), a.answered(a.said.other))
    wrote(log, *map(delivered, events), delivered(a.failed("hitl.router")))
    # I expect the words to be in no event,
    for row in rows(engine, "SELECT * FROM event"):
        assert "Harbour" not in json.dumps(row["data"])
    # and the view of the seed to say the answer in one short line.
    (view,) = rows(engine, "SELECT * FROM workflow_log")
    assert view["ai_label"] == parsed(kind, a.said.predicted).brief
    assert (view["status"], view["reviewer"]) == ("HUMAN_CORRECTED", "reviewer 1")
    assert len(view["ai_label"]) <= 80


def test_what_comes_twice_is_written_once(engine: Engine, log: Logger) -> None:
    # Given a batch that was committed, but not acked before the logger died
    a = Journey("a")
    batch = [submitted("a"), *map(delivered, (a.scored(), a.accepted()))]
    wrote(log, *batch, *batch)
    before = rows(engine, "SELECT * FROM event ORDER BY seq"), rows(engine, "SELECT * FROM item")
    # If it comes again, to this logger or another, and was scored once more with another result
    again = a.scored(PREDICTION.model_copy(update={"label": "negative", "confidence": 0.9}))
    wrote(log, *batch, delivered(again))
    wrote(logger_on(engine), *batch)
    # I expect the same three events and the one row, untouched.
    assert len(before[0]) == 3
    assert rows(engine, "SELECT * FROM event ORDER BY seq") == before[0]
    assert rows(engine, "SELECT * FROM item") == before[1]


def test_two_loggers_at_once_give_one_row_each(engine: Engine, database_url: str) -> None:
    # Given 400 items with all their events, and two shuffles of them
    events = [event for number in range(400) for event in Journey(str(number)).everything()]
    streams = [
        [delivered(event) for event in random.Random(n).sample(events, 3_200)] for n in (1, 2)
    ]
    both = threading.Barrier(2)

    # If two loggers write one each at the same time
    def run(stream: Sequence[Delivery]) -> None:
        with disposing(connect(database_url)) as own:
            log = logger_on(own)
            both.wait()
            for start in range(0, len(stream), 400):
                wrote(log, *stream[start : start + 400])

    with ThreadPoolExecutor(2) as pool:
        for outcome in [pool.submit(run, stream) for stream in streams]:
            outcome.result()
    # I expect every event once, and one row per item, the same for all.
    assert rows(engine, "SELECT count(*) FROM event") == [{"count": 3_200}]
    ends = [replace(row, id="") for row in items(engine).values()]
    assert len(ends) == 400
    assert ends == [ends[0]] * 400


@pytest.mark.parametrize("table", ["event", "item"])
def test_two_loggers_with_the_same_rows_in_opposite_order_do_not_deadlock(
    engine: Engine, database_url: str, table: str
) -> None:
    # Given a hundred items that both loggers have something to say about, in opposite order: the
    # same events, or different events of the same items
    journeys = [Journey(f"{number:03}") for number in range(100)]
    wrote(logger_on(engine), *(delivered(j.failed("hitl.sentiment.inference")) for j in journeys))
    forward = [delivered(journey.scored()) for journey in journeys]
    backward = [delivered(j.scored() if table == "event" else j.accepted()) for j in journeys[::-1]]
    held = journeys[50].scored().event_id

    def run(batch: Sequence[Delivery]) -> None:
        with disposing(connect(database_url, application="one of two")) as own:
            wrote(logger_on(own), *batch)

    with ThreadPoolExecutor(2) as pool:
        # If somebody holds the row in the middle until both wait for a row
        with engine.connect() as holder:
            if table == "event":
                holder.execute(
                    text(
                        "INSERT INTO event (event_id, type, version, workflow, item_id,"
                        " occurred_at, source, data) VALUES (:id, '', 1, '', '', now(), '', '{}')"
                    ),
                    {"id": held},
                )
            else:
                holder.execute(text("SELECT 1 FROM item WHERE id = '050' FOR UPDATE"))
            outcomes = [pool.submit(run, batch) for batch in (forward, backward)]
            until(lambda: len(waiting(engine, "one of two")) == 2, what="both waiting")
            holder.rollback()
        # and lets go, I expect both to finish.
        for outcome in outcomes:
            outcome.result(20)
    assert len(items(engine)) == 100


def test_a_row_that_postgres_refuses_stands_alone(engine: Engine, log: Logger) -> None:
    # Given a batch with two rows that Postgres refuses: their ids fit into no index
    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=10_000))
    too_long = [
        ItemFailed(
            workflow="sentiment",
            occurred_at=START,
            failed_item_id=f"{number}{noise}",
            queue="hitl.router",
            reason="schema",
            detail="",
        )
        for number in range(2)
    ]
    good = [delivered(Journey(str(number)).scored()) for number in range(50)]
    batch = [*good[:20], delivered(too_long[0]), *good[20:], delivered(too_long[1])]
    # If I hand it over
    results = log.handle(batch)
    # I expect exactly those two to be refused, with a reason that quotes nothing of them,
    refused = {n: result for n, result in enumerate(results) if result != ()}
    assert set(refused) == {20, 51}
    for result in refused.values():
        assert isinstance(result, Permanent)
        assert result.reason == "rejected_by_database"
        assert "SQLSTATE" in result.detail
        assert noise[:20] not in result.detail
    # and all the others to be written.
    assert rows(engine, "SELECT count(*) FROM event") == [{"count": 50}]
    assert set(items(engine)) == {str(number) for number in range(50)}


@pytest.mark.parametrize(
    ("text_in_json", "kept"),
    [
        (r"one \u0000 and \u0000\u0000", "one \ufffd and \ufffd\ufffd"),
        (r"a backslash \\u0000", r"a backslash \u0000"),
        (r"both \\\u0000", "both \\\ufffd"),
    ],
)
def test_a_nul_of_a_foreign_program_is_marked_and_kept(
    engine: Engine, log: Logger, text_in_json: str, kept: str
) -> None:
    # Given an event of a program that is not ours, with NUL characters in text, id and headers
    event = delivered(Journey("an id", text="TEXT").scored())
    body = event.body.replace(b"TEXT", text_in_json.encode()).replace(b"an id", rb"an\u0000id")
    foreign = replace(event, body=body, headers={**event.headers, "cloudEvents_source": "x\0y"})
    wrote(log, foreign)
    # I expect it in the log, each NUL with a visible mark in its place.
    assert items(engine)["an\ufffdid"].text == kept
    assert rows(engine, "SELECT source FROM event") == [{"source": "x\ufffdy"}]


def test_awkward_texts_come_back_as_they_were(engine: Engine, log: Logger) -> None:
    # Given texts and metadata with all that COPY, JSON and Unicode treat in a special way
    awkward = [
        "tab\tnewline\nreturn\r\nquote\"'comma,semicolon;",
        r"\N",
        r"\.",
        "\\",
        "\\n \\t \\x41 \\101",
        "שלום עולם \u202emirrored",
        "🎬🍿 👩‍👩‍👧 \u2028 \x1f \x7f \ufeff",
        "NULL",
        "x" * 1_000_000,
    ]
    events = []
    for number, value in enumerate(awkward):
        few = value[:99]
        prediction = PREDICTION.model_copy(
            update={"label": few, "distribution": {few: 1.0}, "model_version": few}
        )
        item = Item(id=f"{number}{few}", text=value, metadata={few: [value]}, received_at=START)
        scored = Journey(str(number)).scored(prediction)
        events.append(scored.model_copy(update={"item": item}))
    wrote(log, *map(delivered, events))
    # I expect to read the very same.
    found = items(engine)
    for number, value in enumerate(awkward):
        few = value[:99]
        row = found[f"{number}{few}"]
        assert (row.text, row.metadata) == (value, {few: [value]})
        assert (row.ai_label, row.distribution, row.model_version) == (few, {few: 1.0}, few)
    # The same of what is a text only, as most metadata are.
    texts = {value[:99]: value for value in awkward}
    item = Item(id="all", text="a fine film", metadata=texts, received_at=START)
    wrote(log, delivered(Journey("all").scored().model_copy(update={"item": item})))
    assert items(engine)["all"].metadata == texts


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"body": b"no json"}, "not_json"),
        ({"body": b"\xff\xfe"}, "not_utf8"),
        ({"body": b"{}"}, "schema"),
        ({"headers": {"cloudEvents_type": "item.admired"}}, "unknown_type"),
        ({"headers": {"cloudEvents_schemaversion": "99"}}, "unknown_type"),
    ],
)
def test_an_event_that_cannot_be_read_is_refused_alone(
    engine: Engine, log: Logger, change: dict[str, Any], reason: str
) -> None:
    good = delivered(Journey("a").scored())
    results = log.handle([replace(good, **change), good])
    assert isinstance(results[0], Permanent)
    assert results[0].reason == reason
    assert results[1] == ()
    assert set(items(engine)) == {"a"}


def test_a_score_that_is_no_number_is_refused(log: Logger) -> None:
    scored = delivered(Journey("a").scored())
    body = scored.body.replace(b'"confidence":0.75', b'"confidence":NaN')
    (result,) = log.handle([replace(scored, body=body)])
    assert isinstance(result, Permanent)
    assert result.reason == "schema"


def test_a_batch_of_large_messages_is_written_in_portions(engine: Engine) -> None:
    # Given eight messages, all of one size but for a large one, and something unreadable
    texts = ["short"] * 6 + ["x" * 5_000] + ["short"]
    journeys = [Journey(str(number), text=text) for number, text in enumerate(texts)]
    batch = [delivered(journey.scored()) for journey in journeys]
    batch.insert(4, replace(batch[0], body=b"no json"))
    # If a logger that takes three messages' worth of bytes at a time gets them in one batch
    log = Logger(
        engine,
        workflows=["sentiment"],
        max_body_bytes=1 << 20,
        clock=utc_now,
        portion_bytes=3 * len(batch[0].body),
    )
    results = log.handle(batch)
    # I expect each result in its place, every row written,
    assert [result == () for result in results] == [True] * 4 + [False] + [True] * 4
    assert len(items(engine)) == 8
    # and transactions of no more than that, the large one alone.
    query = "SELECT count(*) FROM event GROUP BY xmin ORDER BY min(seq)"
    assert [row["count"] for row in rows(engine, query)] == [3, 2, 1, 1, 1]


def test_what_is_new_within_a_batch_alone_changes_its_item(engine: Engine, log: Logger) -> None:
    # Given an item that two loggers have brought to its end, and whose row then changed
    a, b = Journey("a"), Journey("b")
    wrote(log, *map(delivered, (a.scored(), a.accepted())))
    with engine.begin() as connection:
        connection.execute(text("UPDATE item SET text = 'changed', text_salts = NULL"))
    # If one of its events comes again, together with what is new
    batch = (a.scored(), b.scored(), a.accepted(), b.accepted())
    first, *others = log.handle([delivered(event) for event in batch])
    # I expect the old item to stay as it is (and the logger to say that it differs), the new one to
    # be there, and a leaf for the new alone.
    assert isinstance(first, tuple)
    assert [b'"reason":"edited"' in message.body for message in first] == [True]
    assert others == [(), (), ()]
    assert items(engine)["a"].text == "changed"
    assert rows(engine, "SELECT text_salts FROM item WHERE id = 'a'") == [{"text_salts": None}]
    assert items(engine)["b"].status == "AI_ACCEPTED"
    blocks = "SELECT count, length(leaves) / 48 AS leaves FROM ledger_block ORDER BY height"
    assert rows(engine, blocks)[1:] == [{"count": 2, "leaves": 2}] * 2


def test_a_large_batch_is_committed_in_portions_and_answered_in_order(engine: Engine) -> None:
    # Given ten events, of which Postgres refuses the fifth, and the eighth cannot be read
    batch = [delivered(Journey(str(number)).scored()) for number in range(10)]
    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=10_000))
    failed = Journey("x").failed("hitl.router")
    batch[4] = delivered(failed.model_copy(update={"failed_item_id": noise}))
    batch[7] = replace(batch[7], body=b"no json")
    # If a logger that commits three at a time gets them in one batch
    log = Logger(
        engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now, portion_rows=3
    )
    results = log.handle(batch)
    # I expect each result in its place, and a transaction for each portion or what is left of it.
    reasons = {n: r.reason for n, r in enumerate(results) if isinstance(r, Permanent)}
    assert (len(results), reasons) == (10, {4: "rejected_by_database", 7: "not_json"})
    assert set(items(engine)) == set("0123456789") - {"4", "7"}
    query = "SELECT count(*) FROM event GROUP BY xmin ORDER BY min(seq)"
    assert [row["count"] for row in rows(engine, query)] == [3, 1, 1, 2, 1]


def test_no_write_goes_on_when_a_batch_was_given_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a logger that fails at reading the second portion while it writes the first
    log = Logger(
        engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now, portion_rows=1
    )

    def broken(delivery: Delivery) -> object:
        if delivery.tag == 2:
            raise RuntimeError("a bug")
        return read_event(delivery)

    monkeypatch.setattr("services.logger.handler.read_event", broken)
    batch = [replace(delivered(Journey(str(n)).scored()), tag=n) for n in (1, 2)]
    # If I hand both over while somebody holds up the commit
    with ThreadPoolExecutor(1) as pool, engine.connect() as holder:
        holder.execute(text("LOCK event IN EXCLUSIVE MODE"))
        outcome = pool.submit(log.handle, batch)
        # I expect no answer before the first is committed: the worker would try it again meanwhile.
        with pytest.raises(TimeoutError):
            outcome.result(1)
        holder.rollback()
        with pytest.raises(RuntimeError, match="a bug"):
            outcome.result(20)
    assert set(items(engine)) == {"1"}


def test_what_was_written_is_counted_and_the_items_age_measured(log: Logger) -> None:
    # Given what the metrics say before
    names = [
        ("hitl_logger_rows_total", {"table": "event"}),
        ("hitl_logger_rows_total", {"table": "item"}),
        ("hitl_item_age_seconds_count", {"stage": "accepted"}),
        ("hitl_item_age_seconds_count", {"stage": "reviewed"}),
    ]

    def measured() -> list[float]:
        return [REGISTRY.get_sample_value(name, labels) or 0.0 for name, labels in names]

    before = measured()
    # If two items are decided, one by the machine and one by a person, and all of it comes twice
    a, b = Journey("a"), Journey("b")
    batch = [a.scored(), a.accepted(), b.scored(), b.review_requested(), b.reviewed("positive")]
    for _ in range(2):
        wrote(log, *map(delivered, batch))
    # I expect five events, two items and one age of each kind, once.
    assert [now - then for now, then in zip(measured(), before, strict=True)] == [5, 2, 1, 1]


def test_what_a_foreign_program_measured_as_nan_is_kept_as_text(
    engine: Engine, log: Logger
) -> None:
    scored = delivered(Journey("a").scored())
    wrote(log, replace(scored, body=scored.body.replace(b'"row":7', b'"row":[NaN,-Infinity]')))
    assert items(engine)["a"].metadata == {"row": ["NaN", "-Infinity"]}


@pytest.mark.parametrize(
    "unreadable",
    [
        replace(submitted("a"), body=b"no json"),
        submitted("a", text="   "),
        submitted(None),
        replace(submitted("a"), body=b'{"text": "' + b"x" * 2_000_000 + b'", "id": "a"}'),
    ],
    ids=["not json", "empty", "without an id", "too large"],
)
def test_a_submission_that_inference_answers_for_is_taken_without_a_row(
    engine: Engine, log: Logger, unreadable: Delivery
) -> None:
    wrote(log, unreadable)
    assert rows(engine, "SELECT * FROM event") == []


@pytest.mark.parametrize(
    ("routing_key", "workflow"),
    [("nobody", "nobody"), ("No Body!", "unknown"), ("a.sentiment", "unknown"), ("", "unknown")],
)
def test_an_item_for_an_unknown_workflow_becomes_a_failed_one(
    engine: Engine, log: Logger, routing_key: str, workflow: str
) -> None:
    # Given a producer's message whose routing key no workflow has
    astray = submitted("a", workflow=routing_key)
    # If the logger takes it, twice
    (first,), (second,) = log.handle([astray]), log.handle([astray])
    # I expect one event to be published that says so,
    assert isinstance(first, Sequence)
    assert isinstance(second, Sequence)
    assert (first[0].exchange, first[0].routing_key) == ("hitl.events", f"item.failed.{workflow}")
    assert first[0].message_id == second[0].message_id
    # and when it comes back with the other events, a failed item with its text.
    wrote(log, deliver(first[0]))
    (row,) = rows(engine, "SELECT workflow, id, status, failure, text FROM item")
    assert (row["workflow"], row["id"], row["status"]) == (workflow, "a", "FAILED")
    assert row["failure"].startswith("unknown_workflow at hitl.unroutable")
    assert "a fine film" in row["text"]


def test_while_postgres_is_away_the_batch_is_held(engine: Engine, database_url: str) -> None:
    # Given a logger whose connection Postgres has ended
    with disposing(connect(database_url)) as own:
        log = logger_on(own)
        wrote(log, delivered(Journey("a").scored()))
        kill = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )
        rows(engine, f"{kill} AND datname = current_database()")
        # If the next batch comes, I expect it to be written on a new connection.
        wrote(log, delivered(Journey("b").scored()))
    assert set(items(engine)) == {"a", "b"}
    # And where nothing answers, I expect to be told to wait, not that a message is bad.
    nowhere = connect("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Overloaded, match="Connection refused"):
        logger_on(nowhere).handle([delivered(Journey("c").scored())])
    assert "Connection refused" in (readiness(nowhere)() or "")
    assert readiness(engine)() is None


def test_a_connection_that_breaks_within_a_batch_is_no_fault_of_the_batch(
    engine: Engine, database_url: str
) -> None:
    # Given a logger that waits in the middle of a batch for a row that somebody holds
    own = connect(database_url, application="broken logger")
    log = logger_on(own)
    wrote(log, delivered(Journey("a").scored()))
    with ThreadPoolExecutor(1) as pool, engine.begin() as holder:
        holder.execute(text("SELECT 1 FROM item FOR UPDATE"))
        outcome = pool.submit(log.handle, [delivered(Journey("a").accepted())])
        waiting = (
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'broken logger'"
            " AND wait_event_type = 'Lock'"
        )
        until(lambda: rows(engine, waiting) != [], what="the logger waiting")
        # If its connection is ended there
        rows(engine, "SELECT pg_terminate_backend(:pid)", **rows(engine, waiting)[0])
        # I expect the batch to be held,
        with pytest.raises(Overloaded):
            outcome.result(20)
    # with nothing of it written, and to be written when it is tried again.
    assert items(engine)["a"].status == "SCORED"
    assert rows(engine, "SELECT count(*) FROM event") == [{"count": 1}]
    wrote(log, delivered(Journey("a").accepted()))
    assert items(engine)["a"].status == "AI_ACCEPTED"
    own.dispose()


def test_the_whole_service_logs_what_passes_on_a_real_broker(
    engine: Engine, database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    # Given the logger as a process of its own
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "AMQP_URL": amqp_url,
        "DATABASE_URL": database_url,
        "HITL_LOGGER_PORT": str(port),
        "HITL_WORKFLOWS": "sentiment",
    }
    with (tmp_path / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.logger"], cwd=ROOT, env=environment, stderr=stderr
        )
    try:
        until(lambda: is_ready(port), seconds=20, what="the logger being ready")
        with outsider(amqp_url) as program:
            # If other programs publish an item, one for a workflow that nobody knows, events, and
            # something that is no event
            program.publish('{"id": "a", "text": "fine"}')
            program.publish('{"id": "b", "text": "astray"}', routing_key="nobody")
            program.publish("no event", exchange="hitl.events", routing_key="item.scored.sentiment")
            message = delivered(Journey("a").scored())
            program.publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                headers=dict(message.headers),
            )
            query = "SELECT id, status, input_text FROM workflow_log ORDER BY status, id"
            until(lambda: len(rows(engine, query)) == 3, what="three rows")
            # I expect the item as scored, the other two as failed, with what could be read,
            failed_b, failed_event, scored_a = rows(engine, query)
            assert scored_a == {"id": "a", "status": "SCORED", "input_text": "a fine film"}
            assert (failed_b["id"], failed_b["status"]) == ("b", "FAILED")
            assert "astray" in failed_b["input_text"]
            assert failed_event["input_text"] == "no event"
            # the stray message still where its operator finds it, what is no event set aside,
            assert [m.body for m in program.drain("hitl.unroutable")] == [
                b'{"id": "b", "text": "astray"}'
            ]
            (dead,) = program.take("hitl.log.dlq", 1)
            assert dead.headers["x-hitl-reason"] == "not_json"
            # and nothing left over.
            until(lambda: program.ready("hitl.log") == 0)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (tmp_path / "stderr").read_text()


def is_ready(port: int) -> bool:
    """Whether the service on this port says so."""
    try:
        return bool(httpx.get(f"http://127.0.0.1:{port}/readyz").is_success)
    except httpx.TransportError:
        return False


def test_an_edit_under_the_same_id_is_said_and_the_row_keeps_what_was_decided_on(
    engine: Engine, log: Logger
) -> None:
    # Given an item that was decided
    first = Journey("a", text="a lovely film")
    wrote(log, delivered(first.scored()), delivered(first.accepted()))
    counted = partial(REGISTRY.get_sample_value, "hitl_items_edited_total", {"what": "text"})
    before = counted() or 0.0
    # If the same id comes with another text, and once more with its own
    edit = Journey("a", text="I will find you")
    again, other, twice = log.handle(
        [delivered(first.scored()), delivered(edit.scored()), delivered(edit.scored())]
    )
    # I expect nothing to be said of the first, and the same of both others
    assert again == ()
    said = []
    for result in (other, twice):
        assert not isinstance(result, Permanent | Retryable)
        said += [ItemFailed.model_validate_json(message.body) for message in result]
    assert {(each.item_id, each.reason, each.queue) for each in said} == {
        ("a", "edited", "hitl.log")
    }
    assert counted() == before + 2
    # and the row to stay as it was, also when that is recorded
    wrote(log, delivered(said[0]))
    row = items(engine)["a"]
    assert (row.text, row.status) == ("a lovely film", "AI_ACCEPTED")


@pytest.mark.parametrize(
    "other",
    [
        {"draft": "another draft"},
        {"candidates": ("one", "two")},
        {"action": Action(name="send", arguments={"to": 2})},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_draft_or_choice_or_action_under_the_same_id_is_an_edit(
    engine: Engine, log: Logger, other: dict[str, Any]
) -> None:
    # Given an item that was asked
    first = AnswerJourney("a", "text")
    first.item = first.item.model_copy(
        update={
            "draft": "a draft",
            "candidates": ("two", "one"),
            "action": Action(name="send", arguments={"to": 1}),
        }
    )
    wrote(log, delivered(first.scored()))
    # If it comes again with another time to answer / I expect nothing to be said;
    again = first.scored()
    later = again.item.model_copy(update={"expires_at": None})
    wrote(log, delivered(again.model_copy(update={"item": later})))
    # and if another thing is to be decided on, that it is an edit.
    edit = again.item.model_copy(update=other)
    (result,) = log.handle([delivered(again.model_copy(update={"item": edit}))])
    assert not isinstance(result, Permanent | Retryable)
    (message,) = result
    assert ItemFailed.model_validate_json(message.body).reason == "edited"


def test_the_first_metadata_stand_and_others_are_counted_compared_as_json(
    engine: Engine, log: Logger
) -> None:
    def one(metadata: dict[str, JsonValue], text: str = "a fine film") -> Delivery:
        event = Journey("b", text=text).scored()
        item = event.item.model_copy(update={"metadata": metadata})
        return delivered(event.model_copy(update={"item": item}))

    counted = partial(REGISTRY.get_sample_value, "hitl_items_edited_total", {"what": "metadata"})
    before = counted() or 0.0
    # Given an item, the same in another order and spelling, one whose amount is another, and one in
    # the same batch whose text is
    amount = 9_007_199_254_740_993
    same = [one({"x": 1e300, "amount": amount}), one({"amount": amount, "x": 1e300})]
    results = log.handle([*same, one({"x": 1e300, "amount": amount - 1}), one({}, text="a threat")])
    # I expect the text's alone to be told to everybody, and the amount's to be counted
    assert [bool(result) for result in results] == [False, False, False, True]
    assert counted() == before + 1
    # the first metadata to stay
    assert (items(engine)["b"].metadata or {})["amount"] == amount
    # and nothing to be known of either once the text is erased
    with engine.begin() as connection:
        connection.execute(text("UPDATE item SET text = '', erased_at = now()"))
    results = log.handle([one({"amount": 2}), one({}, text="another")])
    assert ([bool(result) for result in results], counted()) == ([False, False], before + 1)
