"""Does an outage of ours cost a message its place, when the process that holds it is killed again
and again meanwhile? On processes of their own, with a real broker."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from shared.events.envelope import encode
from shared.messages import Outgoing
from shared.messaging.connection import declare_all
from shared.service.settings import Settings
from shared.topology import LOG_QUEUE, topology
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.item_events import TRACEPARENT, Journey
from tests.support.pipeline import Pipeline, running

LIMIT = 2  # deliveries without an ack, then a message counts as one that ends its consumer
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def publish(program: Outsider, message: Outgoing) -> None:
    program.publish(
        message.body,
        exchange=message.exchange,
        routing_key=message.routing_key,
        headers=dict(message.headers),
    )


def held_up(pipeline: Pipeline, service: str) -> bool:
    status, body = pipeline.page(service, "/readyz")
    return status == 503 and "Connection refused" in body and "rabbitmq" not in body


def kill(pipeline: Pipeline, service: str) -> None:
    process = pipeline.processes.pop(service)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.timeout(400)
def test_who_is_killed_while_postgres_is_away_takes_no_message_along(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    service, queue = "logger", LOG_QUEUE
    # Given a message that waits, and a logger that finds no database
    declare_all(amqp_url, topology(("sentiment",), Settings().retry_delays_seconds))
    event = Journey("a").review_requested()
    with outsider(amqp_url) as program:
        publish(program, encode(event, source="test", traceparent=TRACEPARENT))
        until(lambda: program.ready(queue) == 1)
    limit = {"HITL_DELIVERY_LIMIT": str(LIMIT)}
    with running(amqp_url, database_url, tmp_path, [], **limit) as pipeline:
        right = pipeline.environment["DATABASE_URL"]
        pipeline.environment["DATABASE_URL"] = NOWHERE
        # If it is killed as often as makes a message one that ends its consumer, and once more,
        for _ in range(LIMIT + 1):
            pipeline.start(service)
            until(partial(held_up, pipeline, service), seconds=90, what="waiting for Postgres")
            kill(pipeline, service)
        # and then all is there again,
        pipeline.environment["DATABASE_URL"] = right
        pipeline.start(service)
        pipeline.wait_ready(service)
        # I expect the message to be written, and no dead letter.
        table = "event" if service == "logger" else "review_task"
        count = f"SELECT count(*) FROM {table} WHERE item_id = 'a'"
        with outsider(amqp_url) as program:
            until(lambda: program.ready(queue) == 0, seconds=60)
            until(
                lambda: pipeline.count(count) == 1 or program.ready(f"{queue}.dlq") > 0, seconds=60
            )
            assert program.ready(f"{queue}.dlq") == 0
        assert pipeline.count(count) == 1
