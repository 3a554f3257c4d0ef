"""Is a person's text gone from everywhere, while the record stays whole? On a real Postgres."""

import json
import os
import subprocess
from uuid import uuid4

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from hitl.commands.audit import app
from services.logger.handler import Logger
from services.review_ui.tasks.intake import Intake
from services.review_ui.webhooks import store as webhook_store
from shared.clock import utc_now
from shared.events.envelope import encode
from shared.events.models import Item, derive_id
from shared.storage import outbox
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


def test_an_erased_text_is_nowhere_and_the_ledger_is_whole(engine: Engine) -> None:
    # Given an item of a person with a task, an answer, a flag, an event in the outbox and another
    # item of the same text by somebody else
    log = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    journey = Journey("emil")
    journey.item = Item(id="emil", text=SECRET, metadata=METADATA, received_at=START)
    review = journey.reviewed("negative").review.model_copy(update={"note": QUOTED})
    reviewed = journey.reviewed("negative").model_copy(update={"review": review})
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
            session, reviewed, source="review", traceparent=TRACEPARENT, not_before=utc_now()
        )
        webhook_store.create(
            session,
            url="https://receiver.example/hook",
            workflow=None,
            types=["item.reviewed"],
            now=utc_now(),
        )
        webhook_store.enqueue(session, reviewed, utc_now())
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
    log.handle([delivered(reviewed), delivered(journey.failed("hitl.sentiment.review"))])
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
