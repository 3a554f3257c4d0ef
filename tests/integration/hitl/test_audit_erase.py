"""Is a person's text gone from everywhere, while the record stays whole? On a real Postgres."""

import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, Row, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from hitl.commands.audit import app
from services.logger.handler import Logger
from services.review_ui.tasks.intake import Intake
from services.review_ui.tasks.reviewed_event import reviewed
from services.review_ui.tasks.views import view
from services.review_ui.webhooks import store as webhook_store
from shared.answers.base import Kind
from shared.answers.reading import QUOTING, parsed
from shared.clock import utc_now
from shared.events.answered import AnswerReviewed
from shared.events.envelope import encode
from shared.events.models import Item, derive_id
from shared.storage import outbox
from shared.storage.tables import ReviewDecision, ReviewTask
from tests.support import answer_events
from tests.support.answer_events import AnswerJourney, decide, take_in
from tests.support.item_events import START, TRACEPARENT, Journey, deliver, delivered, submitted

SECRET = "Emil lives at 7 Harbour Street"
METADATA = {
    "e-mail": "emil@example.org",
    "pages": [1.0, 2.5e3, 1e22, 1e-7],
    "ü": {"b": 1, "a": None},
}
QUOTED = "the author, Emil of Harbour Street, asked me"


def audit(engine: Engine, *words: str) -> Result:
    url = engine.url.render_as_string(hide_password=False)
    return CliRunner().invoke(app, words, env={"DATABASE_URL": url, "COLUMNS": "200"})


def everything_in(engine: Engine) -> str:
    """A dump of the whole database, and the planner's samples, which a dump leaves out."""
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    environment = {**os.environ, "PGOPTIONS": "-c bytea_output=escape"}
    dump = subprocess.run(
        ["pg_dump", "--inserts", url], env=environment, capture_output=True, text=True, check=True
    )
    with engine.connect() as connection:
        samples = connection.execute(text("SELECT * FROM pg_stats WHERE schemaname = 'public'"))
        bodies = connection.execute(text("SELECT convert_from(body, 'UTF8') FROM outbox"))
        return dump.stdout + str(samples.all()) + str(bodies.all())


@pytest.mark.parametrize("kind", answer_events.KINDS)
def test_the_words_of_an_answer_of_any_kind_are_nowhere_and_what_was_decided_is_known(
    engine: Engine, kind: Kind
) -> None:
    def rows(query: str) -> Sequence[Row[Any]]:
        with engine.connect() as connection:
            return connection.execute(text(query)).all()

    # Given an item whose draft, choice, action, prediction and answers hold a person's words: two
    # people answered it and one settled it; another one that waits, and a third that was accepted
    log = Logger(engine, workflows=[kind], max_body_bytes=1 << 20, clock=utc_now)
    journey, waiting, accepted = (
        AnswerJourney(name, kind) for name in ("emil", "waiting", "accepted")
    )
    quotes, said = kind in QUOTING, journey.said
    log.handle([delivered(each.scored()) for each in (journey, waiting, accepted)])
    log.handle([delivered(accepted.accepted()), delivered(journey.review_requested())])
    take_in(engine, journey)
    decide(engine, "ada", kind, None, second_review_share=1.0, note=SECRET)
    decide(engine, "bob", kind, said.other, second_review_share=1.0)
    with Session(engine) as session, session.begin():
        task = session.query(ReviewTask).one()
        assert (task.round, len(task.answers)) == ("adjudication", 2)
        task.round = "first"
        task.known_label, task.known_answer = parsed(kind, said.other).brief, said.other
        session.execute(
            text("INSERT INTO known_item VALUES (:kind, 'emil', :t, '{}', :t, null, now(), :a)"),
            {"kind": kind, "t": SECRET, "a": json.dumps(said.other)},
        )
        webhook_store.create(
            session,
            url="https://receiver.example/hook",
            workflow=None,
            types=["item.reviewed"],
            now=utc_now(),
        )
    decided = decide(engine, "cid", kind, said.other)
    assert decided.status == "decided"
    take_in(engine, waiting)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    assert everything_in(engine).count("Harbour Street") > 3
    # If all three are erased, while the decision is on its way to the log
    for name in ("emil", "waiting", "accepted"):
        result = audit(engine, "erase", name, "--workflow", kind, "--reason", "asked to")
        assert result.exit_code == 0, result.output
    # I expect the words to be nowhere, also when the rest has come
    final = journey.answered(said.other)
    log.handle([delivered(final), delivered(waiting.review_requested())])
    assert "Harbour Street" not in everything_in(engine)
    # and everything that was decided to be known: the machine's answer was not a person's.
    emil, last, still = rows(
        "SELECT status, ai_label, final_label, asked, answer, ai_answer FROM item ORDER BY"
        " array_position('{emil,accepted,waiting}'::text[], id)"
    )
    brief, other = parsed(kind, said.predicted).brief, parsed(kind, said.other).brief
    marks = ("(as predicted)", "(another answer)") if quotes else (brief, other)
    assert (emil.status, emil.ai_label, emil.final_label) == ("HUMAN_CORRECTED", *marks)
    assert (last.status, last.ai_label, last.final_label) == ("AI_ACCEPTED", marks[0], marks[0])
    assert (still.status, still.ai_label, still.final_label) == ("HUMAN_REVIEW", marks[0], None)
    assert emil.asked is None
    assert (emil.answer, emil.ai_answer) == (
        (None, None) if quotes else (said.other, said.predicted)
    )
    found = rows("SELECT reviewer, action, label, answer FROM review_decision ORDER BY id")
    known = "(as known)" if quotes else other
    assert [(row.reviewer, row.action, row.label) for row in found] == [
        ("ada", "accept", marks[0]),
        ("bob", "correct", known),
        ("cid", "correct", known),
    ]
    # What is left can be read: the task that waits, the one that is decided, and its events.
    with Session(engine) as session:
        for task in session.query(ReviewTask):
            shown = view(task, {})
            assert shown.text == "[erased]"
            assert shown.prediction is not None
            row = session.query(ReviewDecision).filter_by(task_id=task.id, revision=1).one_or_none()
            if row is not None:
                assert reviewed(task, row).decision.action == "corrected"
        (body,) = session.scalars(text("SELECT body FROM outbox"))
        (hook,) = session.scalars(text("SELECT body FROM webhook_delivery"))
    for event in (json.loads(bytes(body)), json.loads(bytes(hook))["data"]):
        assert AnswerReviewed.model_validate(event).kind == kind
    # The ledger is whole, and a second erasure finds all as it is.
    assert audit(engine, "verify").exit_code == 0, audit(engine, "verify").output
    before = rows("SELECT to_jsonb(item) - 'updated_at' FROM item ORDER BY id")
    assert audit(engine, "erase", "emil", "--workflow", kind, "--reason", "again").exit_code == 0
    assert rows("SELECT to_jsonb(item) - 'updated_at' FROM item ORDER BY id") == before
    assert rows("SELECT reviewer, action, label, answer FROM review_decision ORDER BY id") == found


def test_an_action_that_nobody_can_see_any_more_is_never_approved_by_one_key(
    engine: Engine,
) -> None:
    # Given an erased action that waits for approval, and was predicted to be approved
    log = Logger(engine, workflows=["approval"], max_body_bytes=1 << 20, clock=utc_now)
    journey = AnswerJourney("emil", "approval")
    log.handle([delivered(journey.scored())])
    take_in(engine, journey)
    result = audit(engine, "erase", "emil", "--workflow", "approval", "--reason", "asked to")
    assert result.exit_code == 0, result.output
    # If somebody accepts what they are shown / I expect it to be rejected.
    decide(engine, "ada", "approval", None)
    with engine.connect() as connection:
        body = json.loads(bytes(connection.execute(text("SELECT body FROM outbox")).scalar_one()))
    assert body["decision"]["answer"]["verdict"] == "reject"


def test_an_erased_text_is_nowhere_and_the_ledger_is_whole(engine: Engine) -> None:
    # Given an item of a person with a task, an answer, a flag, an event in the outbox and another
    # item of the same text by somebody else
    log = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    journey = Journey("emil")
    journey.item = Item(id="emil", text=SECRET, metadata=METADATA, received_at=START)
    review = journey.reviewed("negative").review.model_copy(update={"note": QUOTED})
    answered = journey.reviewed("negative").model_copy(update={"review": review})
    failed = journey.failed("hitl.router").model_copy(update={"text": SECRET})
    other = Journey("other")
    log.handle(
        [
            submitted("emil", text=SECRET),
            *map(delivered, (failed, journey.scored(), journey.review_requested())),
            *map(delivered, (other.scored(), other.accepted())),
        ]
    )
    requested = deliver(
        encode(journey.review_requested(), source="router", traceparent=TRACEPARENT)
    )
    assert list(Intake(engine, utc_now).handle([requested])) == [()]
    answers = [
        {"key": "1", "reviewer": "a", "round": "first", "label": "negative", "reason": None}
        | {"note": QUOTED},
        {"key": "2", "reviewer": "b", "round": "first", "label": None, "reason": QUOTED}
        | {"note": None},
    ]
    with Session(engine) as session, session.begin():
        outbox.append(
            session, answered, source="review", traceparent=TRACEPARENT, not_before=utc_now()
        )
        webhook_store.create(
            session,
            url="https://receiver.example/hook",
            workflow=None,
            types=["item.reviewed"],
            now=utc_now(),
        )
        webhook_store.enqueue(session, answered, utc_now())
        session.execute(
            text("UPDATE review_task SET answers = :answers"), {"answers": json.dumps(answers)}
        )
        session.execute(
            text(
                "INSERT INTO review_decision (idempotency_key, task_id, reviewer, action, reason,"
                " note, lease_token, effective, ai_label_shown, decided_at)"
                " VALUES (:key, :task, 'b', 'flag', :words, :words, 1, true, true, now())"
            ),
            {"key": uuid4(), "task": derive_id("task", "sentiment", "emil"), "words": QUOTED},
        )
        session.execute(
            text(
                "INSERT INTO known_item VALUES ('sentiment', 'emil', :text, '{}', 'negative', null,"
                " now())"
            ),
            {"text": SECRET},
        )
        session.execute(text("ANALYZE"))
    before = everything_in(engine)
    assert min(before.count(part) for part in ("Harbour Street", "emil@example.org")) > 2
    assert audit(engine, "verify").exit_code == 0, audit(engine, "verify").output
    # If it is erased
    result = audit(engine, "erase", "emil", "--reason", "asked to", "--by", "the lead")
    assert result.exit_code == 0, result.output
    assert "erase it again" in result.stdout
    # and its last event, which was on its way, is logged after that,
    log.handle([delivered(answered), delivered(journey.failed("hitl.sentiment.review"))])
    # I expect its text, its metadata and what quotes it to be nowhere,
    after = everything_in(engine)
    assert "Harbour Street" not in after
    assert "emil@example.org" not in after
    assert "a fi" not in after.replace("a fine film", "")
    # the decision to be there all the same, and everything that shows the text to say so;
    with engine.connect() as connection:
        view = connection.execute(text("SELECT * FROM workflow_log WHERE id = 'emil'")).one()
        assert (view.input_text, view.status) == ("[erased]", "HUMAN_CORRECTED")
        task = connection.execute(text("SELECT item, answers FROM review_task")).one()
        assert task.item == {
            "id": "emil",
            "text": "[erased]",
            "metadata": {},
            "received_at": "2024-05-01T12:00:00Z",
        }
        assert [answer["label"] for answer in task.answers] == ["negative", None]
        body = json.loads(bytes(connection.execute(text("SELECT body FROM outbox")).scalar_one()))
        assert body["item"]["text"] == body["review"]["note"] == "[erased]"
        assert body["decision"]["label"] == "negative"
        hook = connection.execute(text("SELECT body FROM webhook_delivery")).scalar_one()
        assert json.loads(bytes(hook))["data"]["item"]["text"] == "[erased]"
        # who erased it, when, why and which events, in the log;
        erased = connection.execute(text("SELECT * FROM event WHERE type = 'item.erased'")).one()
        assert erased.data["by"] == "the lead"
        assert erased.data["reason"] == "asked to"
        assert set(erased.data["events"]) == {
            str(event.event_id) for event in (failed, journey.scored(), journey.review_requested())
        }
    # the ledger to be whole, with the texts of others as they were,
    result = audit(engine, "verify")
    assert result.exit_code == 0, result.output
    assert "whole: 9 events in 3 blocks, 2 texts" in result.stdout
    # an erasure of what is not there to be refused, and a second one to be recorded once more.
    refused = audit(engine, "erase", "nobody", "--reason", "asked to")
    assert (refused.exit_code, "has no item 'nobody'" in refused.stderr) == (1, True)
    again = audit(engine, "erase", "emil", "--reason", "asked to")
    assert (again.exit_code, "again" in again.stdout) == (0, False)
    assert "whole: 10 events in 4 blocks, 2 texts" in audit(engine, "verify").stdout
