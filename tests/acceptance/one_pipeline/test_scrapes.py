"""What does a look at /metrics cost after traffic, and can any of its labels grow without bound?"""

import json
import statistics
import time
from uuid import uuid4

import httpx
import pika
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.amqp_client import until
from tests.support.pipeline import SERVICES, Pipeline
from tests.support.prometheus import publish_some, review_some

pytestmark = pytest.mark.timeout(300)

LOOKS, NEW = 15, 20
MAX_SECONDS = 0.05
MAX_LINES = 1_000
OPEN = "SELECT count(*) FROM review_task WHERE status = 'open' AND seeded_for IS NULL"
DONE = "SELECT count(*) FROM item WHERE status = 'HUMAN_CORRECTED' OR status = 'HUMAN_ACCEPTED'"
FAILED = "SELECT count(*) FROM item WHERE status = 'FAILED'"


def publish_hostile(pipeline: Pipeline, marks: list[str]) -> None:
    """Messages with ids, texts, metadata and routing keys of their own, good ones and bad ones."""
    connection = pika.BlockingConnection(pika.URLParameters(pipeline.amqp_url))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        for mark in marks:
            good = {"id": mark, "text": f"a film {mark}", "metadata": {"source": mark}}
            channel.basic_publish("hitl.items", "sentiment", json.dumps(good).encode())
            channel.basic_publish("hitl.items", "sentiment", f"no json {mark}".encode())
            channel.basic_publish("hitl.items", mark, json.dumps({"text": mark}).encode())
    finally:
        connection.close()


def wait_for(pipeline: Pipeline, query: str, count: int) -> None:
    until(lambda: pipeline.count(query) >= count, seconds=60, what=f"{count} of {query}")


def label_values(pipeline: Pipeline) -> dict[str, set[tuple[str, str, str]]]:
    """Metric, label and value of every line that a service shows."""
    found = {}
    for service in SERVICES:
        status, page = pipeline.page(service, "/metrics")
        assert status == 200
        found[service] = {
            (sample.name, label, value)
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            for label, value in sample.labels.items()
        }
        assert page.count("\n") < MAX_LINES, service
    return found


def test_a_scrape_is_cheap_and_no_label_grows_with_the_traffic(pipeline: Pipeline) -> None:
    # Given a stack that has seen every kind of message, and decisions
    shown: list[dict[str, set[tuple[str, str, str]]]] = []
    marks: list[str] = []
    done, failed = pipeline.count(DONE), pipeline.count(FAILED)
    for _turn in range(2):
        # If as much comes again, with ids, texts and routing keys that were never seen
        new = [f"mark-{uuid4().hex[:12]}" for _ in range(NEW)]
        marks += new
        publish_some(pipeline, 40)
        publish_hostile(pipeline, new)
        wait_for(pipeline, OPEN, 6)
        review_some(pipeline, 6)
        done, failed = done + 6, failed + 2 * NEW
        wait_for(pipeline, DONE, done)
        wait_for(pipeline, FAILED, failed)
        shown.append(label_values(pipeline))
    # I expect next to no new value of a label (a rare outcome may come late; a metric that shows
    # the one workflow for the first time is none), and nothing of what was sent among them
    for service in SERVICES:
        new_values = {
            each for each in shown[1][service] - shown[0][service]
            if each[1:] != ("workflow", "sentiment")
        }  # fmt: skip
        assert len(new_values) < NEW / 4, service
        everything = " ".join(value for _, _, value in shown[1][service])
        assert not any(mark in everything for mark in marks), service
    # and that each page comes within 50 ms
    with httpx.Client(timeout=10) as client:
        for service in SERVICES:
            assert median_seconds(client, pipeline.url(service)) < MAX_SECONDS, service


def median_seconds(client: httpx.Client, url: str) -> float:
    """How long one look takes; the median of several, because the machine may be busy."""
    took = []
    for _ in range(LOOKS):
        started = time.perf_counter()
        client.get(f"{url}/metrics").raise_for_status()
        took.append(time.perf_counter() - started)
    return statistics.median(took)
