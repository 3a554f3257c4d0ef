"""Does the review service as a process do its whole job, and end in order?"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.orm import Session

from hitl.servers.ports import free_ports
from services.review_ui.auth.accounts import Accounts
from services.review_ui.webhooks import store as webhook_store
from shared.clock import utc_now
from shared.events.envelope import encode
from shared.messaging.connection import Broker
from shared.storage.database import connect
from shared.topology import accepted_queue, review_queue, topology
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.review_service import PASSWORD, QUICK_HASHER, TRACEPARENT, requested
from tests.support.webhook_receiver import receiving

ROOT = Path(__file__).resolve().parents[3]
ACCEPTED = accepted_queue("sentiment")


@pytest.fixture
def environment(amqp_url: str, database_url: str, tmp_path: Path) -> dict[str, str]:
    """A workflow, an account, a free port."""
    workflow = '[workflow]\nname = "sentiment"\nlabels = ["negative", "positive"]\n'
    (tmp_path / "sentiment.toml").write_text(workflow)
    engine = connect(database_url, pool_size=1)
    with Session(engine) as session, session.begin():
        Accounts(utc_now, QUICK_HASHER).create(session, "ada", "reviewer", PASSWORD)
    engine.dispose()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HITL_")}
    return {
        **clean,
        "AMQP_URL": amqp_url,
        "DATABASE_URL": database_url,
        "HITL_WORKFLOWS_DIR": str(tmp_path),
        "HITL_REVIEW_PORT": str(free_ports(1)[0]),
        "HITL_SESSION_SECRET": secrets.token_urlsafe(24),
        "HITL_UNDO_SECONDS": "0.5",
    }


def start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "services.review_ui"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)


@contextmanager
def running(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """The process, ready, and a client of it; killed if it is still there at the end."""
    process = start(environment)
    address = f"http://127.0.0.1:{environment['HITL_REVIEW_PORT']}"

    def ready() -> bool:
        try:
            return client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        with httpx.Client(base_url=address, timeout=10) as client:
            until(ready, seconds=60, what="the service being ready")
            yield process, client
    finally:
        process.kill()
        process.communicate()


def log_in(client: httpx.Client) -> None:
    login = {"name": "ada", "password": PASSWORD}
    client.post("/api/v1/login", json=login).raise_for_status()


def claim(client: httpx.Client, count: int) -> list[dict[str, object]]:
    """So many tasks, as soon as they are there."""
    found: list[dict[str, object]] = []

    def all_there() -> bool:
        answer = client.post("/api/v1/tasks/claim", json={"count": count}).raise_for_status()
        found.extend(answer.json()["tasks"])
        return len(found) == count

    until(all_there, what=f"{count} tasks")
    return found


def decide(client: httpx.Client, task: dict[str, object]) -> None:
    verdict = {
        "key": str(uuid4()),
        "lease_token": task["lease_token"],
        "action": "correct",
        "label": "negative",
    }
    client.post(f"/api/v1/tasks/{task['id']}/decision", json=verdict).raise_for_status()


def publish(amqp_url: str, *item_ids: str) -> None:
    """Requests for review, as the router sends them."""
    broker = Broker(amqp_url, name="test", topology=topology(["sentiment"], [5, 30, 300]))
    broker.start()
    try:
        broker.publish(
            [encode(requested(i), source="router", traceparent=TRACEPARENT) for i in item_ids]
        )
    finally:
        broker.close()


def add_webhook(database_url: str, url: str) -> None:
    engine = connect(database_url, pool_size=1)
    with Session(engine) as session, session.begin():
        webhook_store.create(session, url, None, webhook_store.TYPES, utc_now())
    engine.dispose()


def test_a_request_on_the_queue_comes_out_as_a_decision(
    environment: dict[str, str], amqp_url: str
) -> None:
    environment["HITL_WEBHOOK_PRIVATE"] = "true"
    with (
        receiving() as receiver,
        running(environment) as (process, client),
        outsider(amqp_url) as program,
    ):
        add_webhook(environment["DATABASE_URL"], receiver.url)
        # Given two requests for review on the broker, and one message that is none
        publish(amqp_url, "i1", "i2")
        program.publish("{", exchange="hitl.events", routing_key="item.review_requested.sentiment")
        log_in(client)
        tasks = claim(client, 2)
        # If a person decides one
        (task,) = [task for task in tasks if task["item_id"] == "i1"]
        decide(client, task)
        # I expect the decision on the accepted queue, where downstream waits for it
        (message,) = program.take(ACCEPTED, 1)
        event = json.loads(message.body)
        assert message.routing_key == "item.reviewed.sentiment"
        assert (event["item"]["id"], event["decision"]["label"]) == ("i1", "negative")
        assert event["decision"]["reviewer"] == "ada"
        # and at the webhook under the same id,
        until(lambda: len(receiver.received) == 1, what="the webhook being called")
        assert receiver.received[0].id == message.message_id
        assert receiver.received[0].content["data"] == event
        # and what was no request among the dead letters, with nothing left behind
        program.take(f"{review_queue('sentiment')}.dlq", 1)
        assert program.ready(review_queue("sentiment")) == 0
        # and all of it in the metrics
        metrics = client.get("/metrics").text
        assert 'hitl_reviews_total{action="correct",workflow="sentiment"} 1.0' in metrics
        assert "hitl_review_duration_seconds_count 1.0" in metrics
        assert 'hitl_messages_consumed_total{outcome="ok",queue="hitl.sentiment.review"} 2.0' in (
            metrics
        )
        assert process.poll() is None


def test_a_stop_publishes_what_is_due_and_ends_well(
    environment: dict[str, str], amqp_url: str
) -> None:
    # Given a decision of just now
    with running(environment) as (process, client), outsider(amqp_url) as program:
        publish(amqp_url, "i1")
        log_in(client)
        (task,) = claim(client, 1)
        decide(client, task)
        # If the process is told to stop
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        # I expect it to end well within its time
        assert process.wait(25) == 0
        assert time.monotonic() - asked < 25
    # and, whether the decision left before the end or not, the next process to see to it
    with running(environment) as (_, client), outsider(amqp_url) as program:
        assert_left_once(program, client, amqp_url)


def assert_left_once(program: Outsider, client: httpx.Client, amqp_url: str) -> None:
    """The decision about i1 leaves, and then nothing before one about a second item."""
    left = program.take(ACCEPTED, 1)
    publish(amqp_url, "i2")
    log_in(client)
    (task,) = claim(client, 1)
    decide(client, task)
    left += program.take(ACCEPTED, 1)
    assert [json.loads(message.body)["item"]["id"] for message in left] == ["i1", "i2"]


def test_a_killed_process_loses_no_decision(environment: dict[str, str], amqp_url: str) -> None:
    # Given a decision whose process is killed before it may be published
    environment["HITL_UNDO_SECONDS"] = "3"
    with running(environment) as (process, client):
        publish(amqp_url, "i1")
        log_in(client)
        (task,) = claim(client, 1)
        decide(client, task)
        process.kill()
        process.wait(10)
    # If the next one starts, I expect the decision to leave, once
    environment["HITL_UNDO_SECONDS"] = "0"
    with running(environment) as (_, client), outsider(amqp_url) as program:
        assert_left_once(program, client, amqp_url)


def test_a_start_that_cannot_work_says_why_in_one_line(environment: dict[str, str]) -> None:
    # Given no secret for the sessions
    without = {**environment, "HITL_SESSION_SECRET": ""}
    _, said = (process := start(without)).communicate(timeout=60)
    assert process.returncode == 1
    assert b"HITL_SESSION_SECRET" in said
    assert b"Traceback" not in said
    # and given a port that is taken
    with running(environment):
        _, said = (process := start(environment)).communicate(timeout=60)
        assert process.returncode == 1
        assert b"HITL_REVIEW_PORT" in said
        assert b"Traceback" not in said
