"""Does an answer of any kind go the whole way: from a producer's prediction to the accepted queue?

One pipeline without a model of ours; producers and reviewers are clients that nobody here wrote:
py-amqp and httpx.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.conftest import Postgres, RabbitMQ, fresh_database, fresh_vhost
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.pipeline import PASSWORD, Pipeline, running

pytestmark = pytest.mark.timeout(240)

TEXT = "Peter of ACME owes 120 euros."
INVOICE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"total": {"type": "number"}, "currency": {"enum": ["EUR", "USD"]}},
    "required": ["total"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Kind:
    """What a workflow of one kind asks, what is predicted, and what people answer."""

    name: str
    table: str
    predicted: dict[str, Any]
    other: dict[str, Any]
    bad: dict[str, Any]
    item: dict[str, Any]


KINDS = (
    Kind(
        "labels",
        'labels = ["toxic", "insult", "threat"]',
        {"labels": ["insult", "toxic"]},
        {"labels": []},
        {"labels": ["rude"]},
        {},
    ),
    Kind(
        "spans",
        'labels = ["PER", "ORG"]',
        {"spans": [{"start": 9, "end": 13, "label": "ORG"}]},
        {"spans": [{"start": 0, "end": 5, "label": "PER"}]},
        {"spans": [{"start": 9, "end": 1300, "label": "ORG"}]},
        {},
    ),
    Kind(
        "form",
        'schema = "invoice.schema.json"',
        {"form": {"total": 12, "currency": "EUR"}},
        {"form": {"total": 120.0, "currency": "EUR"}},
        {"form": {"currency": "EUR"}},
        {},
    ),
    Kind(
        "text",
        "",
        {"text": "Dear Peter, please pay."},
        {"text": "Dear Peter,\nplease pay 120 euros."},
        {"text": "  "},
        {"draft": "Peter pay now"},
    ),
    Kind("preference", "", {"preferred": 0}, {"preferred": None}, {"preferred": 2},
         {"candidates": ["Pay!", "Please pay."]}),
)  # fmt: skip


@pytest.fixture(scope="module")
def pipeline(
    rabbitmq: RabbitMQ, postgres: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """Five workflows, one of each kind; nobody but producers predicts."""
    folder = tmp_path_factory.mktemp("answers")
    workflows = folder / "workflows"
    workflows.mkdir()
    (workflows / "invoice.schema.json").write_text(json.dumps(INVOICE))
    for kind in KINDS:
        (workflows / f"{kind.name}.toml").write_text(
            f'[workflow]\nname = "{kind.name}"\nanswer = "{kind.name}"\nmodel = "none"\n'
            f"{kind.table}\n[policy]\nthreshold = 0.9\n"
        )
    with (
        fresh_vhost(rabbitmq) as amqp_url,
        fresh_database(postgres, migrated) as database_url,
        running(
            amqp_url,
            database_url,
            folder,
            HITL_WORKFLOWS_DIR=str(workflows),
            HITL_UNDO_SECONDS="0.2",
        ) as started,
    ):
        started.add_reviewer("ada")
        yield started


@pytest.fixture
def producer(pipeline: Pipeline) -> Iterator[Outsider]:
    with outsider(pipeline.amqp_url) as program:
        yield program


@pytest.fixture
def reviewer(pipeline: Pipeline) -> Iterator[httpx.Client]:
    url = pipeline.url("review_ui")
    with httpx.Client(base_url=f"{url}/api/v1", headers={"Origin": url}, timeout=20) as browser:
        browser.post("/login", json={"name": "ada", "password": PASSWORD}).raise_for_status()
        yield browser


def submitted(kind: Kind, item_id: str, confidence: float | None) -> str:
    prediction = {"answer": kind.predicted, "confidence": confidence, "model_version": "theirs@1"}
    brought = {} if confidence is None else {"prediction": prediction}
    return json.dumps({"id": item_id, "text": TEXT, **kind.item, **brought})


def the_only(found: list[Any]) -> Any:
    assert len(found) == 1, found
    return found[0]


def claimed(reviewer: httpx.Client, kind: Kind, item_id: str) -> dict[str, Any]:
    """The reviewer's task of this item, once it is there."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        wanted = {"workflow": kind.name, "count": 1}
        found.extend(reviewer.post("/tasks/claim", json=wanted).raise_for_status().json()["tasks"])
        return bool(found)

    until(there, seconds=20, what=f"a task of {kind.name}")
    task: dict[str, Any] = the_only(found)
    assert task["item_id"] == item_id
    return task


def decide(
    reviewer: httpx.Client, task: dict[str, Any], action: str, **more: Any
) -> httpx.Response:
    said = {"key": str(uuid.uuid4()), "lease_token": task["lease_token"], "action": action}
    return reviewer.post(f"/tasks/{task['id']}/decision", json={**said, **more})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_sure_prediction_is_accepted_and_an_unsure_one_is_decided_by_a_person(
    kind: Kind, pipeline: Pipeline, producer: Outsider, reviewer: httpx.Client
) -> None:
    queue = f"hitl.{kind.name}.accepted"
    # Given a producer's prediction of which it is sure / I expect it on the accepted queue
    producer.publish(submitted(kind, "sure", 0.97), routing_key=kind.name)
    event = json.loads(the_only(producer.take(queue, 1)).body)
    decision = event["decision"]
    assert (decision["kind"], decision["decided_by"], decision["confidence"]) == (
        kind.name, "ai", 0.97,
    )  # fmt: skip
    assert decision["answer"].keys() == kind.predicted.keys()
    assert decision["model_version"] == "theirs@1"
    # Given one of which it is not / I expect a task that shows it
    producer.publish(submitted(kind, "unsure", 0.6), routing_key=kind.name)
    task = claimed(reviewer, kind, "unsure")
    assert (task["kind"], task["prediction"]["answer"]) == (kind.name, decision["answer"])
    # What is no answer is refused, by name; another answer is a correction.
    refused = decide(reviewer, task, "correct", answer=kind.bad)
    assert refused.status_code == 422, refused.text
    given = decide(reviewer, task, "correct", answer=kind.other).raise_for_status().json()
    assert given["action"] == "correct"
    received = the_only(producer.take(queue, 1))
    event = json.loads(received.body)
    assert received.headers["cloudEvents_schemaversion"] == "2"
    assert event["decision"]["answer"] == kind.other
    assert (event["decision"]["action"], event["decision"]["reviewer"]) == ("corrected", "ada")
    assert "label" not in event["decision"]
    # Given one without a prediction / I expect it with a person, for that reason; and the predicted
    # answer, given by a person, is no correction of what was predicted elsewhere.
    producer.publish(submitted(kind, "open", None), routing_key=kind.name)
    task = claimed(reviewer, kind, "open")
    assert task["prediction"] is None
    assert [reason["code"] for reason in task["reasons"]] == ["no_prediction"]
    assert decide(reviewer, task, "accept").status_code == 422
    decide(reviewer, task, "correct", answer=kind.other).raise_for_status()
    event = json.loads(the_only(producer.take(queue, 1)).body)
    assert event["prediction"] is None
    assert event["decision"]["answer"] == kind.other
    # And all of it is on record.
    recorded = "SELECT id, status, answer, final_label FROM item WHERE workflow = %s ORDER BY id"
    until(
        lambda: (
            [row[1] for row in pipeline.rows(recorded, kind.name)]
            == ["HUMAN_CORRECTED", "AI_ACCEPTED", "HUMAN_CORRECTED"]
        ),
        seconds=20,
        what=f"three rows of {kind.name}",
    )
    rows = pipeline.rows(recorded, kind.name)
    assert [row[2] for row in rows] == [kind.other, decision["answer"], kind.other]
    assert all(row[3] for row in rows)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_prediction_that_is_no_answer_is_a_dead_letter_with_its_reason(
    kind: Kind, producer: Outsider
) -> None:
    queue = f"hitl.{kind.name}.inference.dlq"
    for prediction, why in (
        ({"answer": kind.bad, "confidence": 0.9, "model_version": "x"}, "prediction."),
        (
            {"answer": {"verdict": "approve"}, "confidence": 0.9, "model_version": "x"},
            "prediction.answer",
        ),
        ({"answer": kind.predicted, "model_version": "x"}, "prediction.confidence"),
        (
            {"answer": kind.predicted, "confidence": float("nan"), "model_version": "x"},
            "prediction.confidence",
        ),
    ):
        body = json.dumps(
            {"id": str(uuid.uuid4()), "text": TEXT, **kind.item, "prediction": prediction}
        )
        producer.publish(body, routing_key=kind.name)
        dead = the_only(producer.take(queue, 1))
        assert dead.headers["x-hitl-reason"] == "schema", dead
        assert why in dead.headers["x-hitl-error"], dead.headers
