"""Does a text from a foreign program find its way, through the model, people and the log?"""

import json
import os
import re
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from services.feedback.training.rated_texts import split_movies
from shared.messaging.connection import declare_all
from shared.topology import topology
from tests.conftest import RabbitMQ
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.pipeline import PASSWORD, SERVICES, Pipeline, running
from tests.support.rated_texts import data_dir
from tests.support.service_users import own_addresses

__all__ = ["data_dir"]

COUNT = 1_000
SEND_PAGE = Path(__file__).parents[2] / "docs" / "produce" / "send.md"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def publish_snippets(program: Outsider, data_dir: Path) -> dict[str, str]:
    """1 000 held-out movie snippets as any producer would send them; text by id."""
    texts = {snippet.id: snippet.text for snippet in split_movies(data_dir).held_out[:COUNT]}
    assert len(texts) == COUNT
    for number, (item_id, text) in enumerate(texts.items()):
        program.publish(
            json.dumps({"id": item_id, "text": text, "metadata": {"n": number}}),
            content_type="application/json",
            headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"} if number == 0 else {},
        )
    return texts


@contextmanager
def logged_in(pipeline: Pipeline, name: str) -> Iterator[httpx.Client]:
    """A reviewer's browser, logged in."""
    pipeline.add_reviewer(name)
    url = pipeline.url("review_ui")
    with httpx.Client(base_url=url, headers={"Origin": url}, timeout=20) as browser:
        who = {"name": name, "password": PASSWORD}
        browser.post("/api/v1/login", json=who).raise_for_status()
        yield browser


def test_a_thousand_snippets_from_a_foreign_client(
    rabbitmq: RabbitMQ, amqp_url: str, database_url: str, tmp_path: Path, data_dir: Path
) -> None:
    # Given services that log in as users of their own, with no more rights than they need, on a
    # broker where the owner has declared everything
    own = own_addresses(rabbitmq, amqp_url, database_url)
    declare_all(amqp_url, topology(["sentiment"], (5, 30, 300)))
    with (
        running(amqp_url, database_url, tmp_path, SERVICES, own) as pipeline,
        outsider(amqp_url) as program,
    ):
        texts = publish_snippets(program, data_dir)

        # Each becomes exactly one row, and is either accepted or waits for a person.
        until(
            lambda: pipeline.count("SELECT count(*) FROM item WHERE status <> 'SCORED'") == COUNT,
            seconds=150,
            what="1 000 routed rows",
        )
        rows = pipeline.rows(
            "SELECT id, text, status, ai_label, confidence, distribution, reasons, metadata"
            " FROM item"
        )
        assert {row[0]: row[1] for row in rows} == texts
        by_status = Counter(row[2] for row in rows)
        assert set(by_status) == {"AI_ACCEPTED", "HUMAN_REVIEW"}
        for _, _, status, label, confidence, distribution, reasons, metadata in rows:
            assert abs(sum(distribution.values()) - 1) < 1e-6
            assert max(distribution, key=distribution.get) == label
            assert (status == "AI_ACCEPTED") == (confidence >= 0.85)
            assert reasons
            assert 0 <= metadata["n"] < COUNT
        until(
            lambda: pipeline.count("SELECT count(*) FROM review_task") == by_status["HUMAN_REVIEW"]
        )
        accepted = program.take("hitl.sentiment.accepted", by_status["AI_ACCEPTED"])
        assert len(accepted) + by_status["HUMAN_REVIEW"] == COUNT

        # What leaves says everything that downstream needs, and its id is its own.
        assert len({message.message_id for message in accepted}) == len(accepted)
        for message in accepted:
            body = json.loads(message.body)
            assert message.persistent
            assert message.headers["cloudEvents_type"] == "item.accepted"
            assert message.headers["cloudEvents_id"] == message.message_id
            assert body["item"]["text"] == texts[body["item"]["id"]]
            decision = body["decision"]
            assert decision["decided_by"] == "ai"
            assert decision["label"] in ("positive", "negative")
            assert decision["confidence"] >= 0.85
            assert decision["policy_version"]
            assert decision["model_version"].startswith("embedded@")
            assert decision["reasons"][0]["code"] == "confident"

        # A person reviews one through the page's own API; the decision goes the same way.
        with logged_in(pipeline, "reviewer") as browser:
            # Once nothing is left to score, the words of what waits are weighed.
            weighed = (
                "SELECT review_task.id, item_id FROM highlight"
                " JOIN review_task USING (workflow, item_id) LIMIT 1"
            )
            until(lambda: len(pipeline.rows(weighed)) == 1, what="the first highlights")
            [(known, item_id)] = pipeline.rows(weighed)
            pieces = browser.get(f"/api/v1/tasks/{known}").json()["highlights"]
            assert "".join(piece["text"] for piece in pieces) == texts[item_id]
            assert any(piece["weight"] for piece in pieces)

            [task] = browser.post("/api/v1/tasks/claim", json={"count": 1}).json()["tasks"]
            other = {"positive": "negative", "negative": "positive"}[task["suggestion"]["label"]]
            decided = browser.post(
                f"/api/v1/tasks/{task['id']}/decision",
                json={
                    "key": str(uuid.uuid4()),
                    "lease_token": task["lease_token"],
                    "action": "correct",
                    "label": other,
                },
            )
            assert decided.status_code == 200, decided.text
        [message] = program.take("hitl.sentiment.accepted", 1)
        decision = json.loads(message.body)["decision"]
        assert message.routing_key == "item.reviewed.sentiment"
        assert decision["decided_by"] == "human"
        assert (decision["label"], decision["reviewer"]) == (other, "reviewer")
        corrected = (
            "SELECT final_label FROM item WHERE status = 'HUMAN_CORRECTED' AND reviewer = %s"
        )
        until(lambda: pipeline.rows(corrected, "reviewer") == [(other,)])

        # Every step is in the log once, in order, and the trace of the producer runs through.
        types = Counter(dict(pipeline.rows("SELECT type, count(*) FROM event GROUP BY type")))
        assert 0 < types.pop("item.explained") <= by_status["HUMAN_REVIEW"]
        assert types == {
            "item.submitted": COUNT,
            "item.scored": COUNT,
            "item.accepted": by_status["AI_ACCEPTED"],
            "item.review_requested": by_status["HUMAN_REVIEW"],
            "item.reviewed": 1,
        }
        assert pipeline.count("SELECT count(*) FROM event WHERE trace_id = %s", TRACE) >= 3
        view = pipeline.rows("SELECT id, input_text, ai_label, status FROM workflow_log")
        assert {row[0]: row[1] for row in view} == texts
        for dead_letters in ("inference", "review", "accepted"):
            assert program.ready(f"hitl.sentiment.{dead_letters}.dlq") == 0

        # The producer of the documents is what it says.
        code = re.findall(r"```python\n(.*?)```", SEND_PAGE.read_text(), flags=re.DOTALL)[0]
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "AMQP_URL": amqp_url}, check=True, timeout=60,
        )  # fmt: skip
        shown = "SELECT count(*) FROM item WHERE id = 'review-17' AND metadata = '{\"page\": 3}'"
        until(lambda: pipeline.count(shown) == 1)

        # Sent once more, as a producer that is not sure would: nothing changes.
        first = next(iter(texts))
        program.publish(json.dumps({"id": first, "text": texts[first]}))
        scored = "hitl_predictions_total{"
        until(lambda: _sum(pipeline.page("inference", "/metrics")[1], scored) == COUNT + 2)
        until(lambda: program.ready("hitl.router") == 0 and program.ready("hitl.log") == 0)
        assert pipeline.count("SELECT count(*) FROM item") == COUNT + 1
        steps = "SELECT count(*) FROM event WHERE item_id = %s AND type <> 'item.explained'"
        assert pipeline.count(steps, first) == 3


def _sum(metrics: str, prefix: str) -> float:
    return sum(
        float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(prefix)
    )
