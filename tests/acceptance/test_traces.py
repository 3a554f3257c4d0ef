"""Is an item's way through all services one trace, in a real exporter's own words?"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.amqp_client import until
from tests.support.pipeline import Pipeline, running
from tests.support.prometheus import review_some
from tests.support.webhook_receiver import Receiver, receiving

pytestmark = pytest.mark.timeout(300)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PRODUCER = "00f067aa0ba902b7"
OPEN = "SELECT count(*) FROM review_task WHERE status = 'open'"
OF_ALL = {
    ("inference", "process hitl.sentiment.inference"),
    ("inference", "send hitl.events"),
    ("router", "process hitl.router"),
    ("router", "send hitl.events"),
    ("review-ui", "process hitl.sentiment.review"),
    ("review-ui", "send hitl.events"),
    ("logger", "process hitl.log"),
}
REVIEW = "review sentiment"


def spans_of(receiver: Receiver) -> Iterator[tuple[str, Any]]:
    """Service and span of all that came to the collector."""
    for hook in list(receiver.received):
        request = ExportTraceServiceRequest.FromString(hook.body)
        for resource in request.resource_spans:
            (service,) = [
                each.value.string_value
                for each in resource.resource.attributes
                if each.key == "service.name"
            ]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    yield service, span


def publish_one(pipeline: Pipeline) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(pipeline.amqp_url))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        headers = {"traceparent": f"00-{TRACE}-{PRODUCER}-01"}
        channel.basic_publish(
            "hitl.items", "sentiment", json.dumps({"text": "it is"}).encode(),
            pika.BasicProperties(headers=headers, message_id="i1"),
        )  # fmt: skip
    finally:
        connection.close()


def test_an_item_is_one_trace_from_its_producer_to_the_log(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    # Given a stack that is told of a collector of traces
    with receiving() as collector:
        collector.answers.extend([200] * 10_000)
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "HITL_UNDO_SECONDS": "0",
        }
        with running(amqp_url, database_url, tmp_path, **settings) as pipeline:
            # If an item goes through all of it and a person decides
            pipeline.add_reviewer("ada")
            publish_one(pipeline)
            until(lambda: pipeline.count(OPEN) == 1, seconds=60, what="a task")
            review_some(pipeline, 1)
            decided = "SELECT count(*) FROM item WHERE status LIKE 'HUMAN%%' AND reviewer = 'ada'"
            until(lambda: pipeline.count(decided) == 1, seconds=60, what="a decision in the log")

            def all_there() -> bool:
                found = list(spans_of(collector))
                names = {(who, span.name) for who, span in found if span.trace_id.hex() == TRACE}
                return names >= OF_ALL and any(span.name == REVIEW for _, span in found)

            # I expect the spans of all services in the producer's trace,
            until(all_there, what="a span of each service")
        found = list(spans_of(collector))
    # each below one that is there
    of_item = {
        span.span_id.hex(): (service, span)
        for service, span in found
        if span.trace_id.hex() == TRACE
    }
    for service, span in of_item.values():
        said = {each.key: each.value for each in span.attributes}
        routing_key = said["messaging.rabbitmq.destination.routing_key"].string_value
        if routing_key.startswith("item.explained"):
            continue  # sent by the thread that weighs words, which is not traced
        parent = span.parent_span_id.hex()
        after_a_person = (service, span.name) == ("review-ui", "send hitl.events")
        assert parent == "" if after_a_person else parent in {PRODUCER, *of_item}, span
        assert span.end_time_unix_nano - span.start_time_unix_nano < 60e9
        assert said["messaging.system"].string_value == "rabbitmq"
        assert said["messaging.operation.type"].string_value in ("process", "send")
    # and the review in a trace of its own, with a link to the request that led to it
    (review,) = [span for _, span in found if span.name == REVIEW]
    assert review.trace_id.hex() != TRACE
    (link,) = review.links
    assert link.trace_id.hex() == TRACE
    assert of_item[link.span_id.hex()][1].name == "send hitl.events"
