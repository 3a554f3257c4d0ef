"""Does KEDA count every workflow's queue, however many there are? And do our own commands?

RabbitMQ's management API gives a page of 100 queues to whoever names none, and of 500 at most. KEDA
reads one page: newer versions stop scaling where there is a second, older ones count too few.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from hitl.support.queue_depths import queue_depths
from shared.topology import inference_queue
from tests.conftest import RabbitMQ
from tests.support.amqp_client import until
from tests.support.helm_chart import CHART, Object, of_kind, rendered, run

A_PAGE_AT_MOST = 500
MANY, EACH = 130, 10


def workflows(count: int, folder: Path) -> tuple[str, str]:
    """Values with so many workflows, as arguments for helm."""
    file = folder / "values.json"
    text = (CHART.parents[1] / "workflows" / "sentiment.toml").read_text()
    named = {
        f"w{number}.toml": text.replace('name = "sentiment"', f'name = "w{number}"')
        for number in range(count)
    }
    file.write_text(json.dumps({"workflows": named, "keda": {"enabled": True}}))
    return "-f", str(file)


def patterns(objects: list[Object]) -> Iterator[dict[str, str]]:
    """What each trigger that looks for queues by a pattern asks for."""
    for scaled in of_kind(objects, "ScaledObject").values():
        for trigger in scaled["spec"]["triggers"]:
            if "useRegex" in trigger["metadata"]:
                yield trigger["metadata"]


def test_every_pattern_asks_for_the_largest_page(helm: str, tmp_path: Path) -> None:
    # Given more workflows than a usual page holds / I expect one page to be enough.
    found = list(patterns(rendered(helm, *workflows(MANY, tmp_path))))
    assert len(found) == 2
    assert {metadata.get("pageSize") for metadata in found} == {str(A_PAGE_AT_MOST)}


def test_more_workflows_than_a_page_holds_are_refused(helm: str, tmp_path: Path) -> None:
    # Given one too many for RabbitMQ's largest page / I expect to be told so.
    assert rendered(helm, *workflows(A_PAGE_AT_MOST, tmp_path))
    refused = run(helm, "template", "hitl", CHART, *workflows(A_PAGE_AT_MOST + 1, tmp_path))
    assert refused.returncode != 0
    assert "at most 500 workflows" in refused.stderr


def declare(amqp_url: str, names: list[str], messages: int = 0) -> None:
    """Queues with so many messages each."""
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    try:
        channel = connection.channel()
        for name in names:
            channel.queue_declare(name, durable=True)
            for _ in range(messages):
                channel.basic_publish("", name, b"{}")
    finally:
        connection.close()


@pytest.mark.timeout(300)
def test_kedas_query_counts_the_messages_of_all_workflows(
    helm: str, tmp_path: Path, rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    # Given 130 workflows with ten messages each, and other queues
    names = [inference_queue(f"w{number}") for number in range(MANY)]
    declare(amqp_url, names, EACH)
    declare(amqp_url, [f"{name}.dlq" for name in names], 1)
    [metadata] = [
        found
        for found in patterns(rendered(helm, *workflows(MANY, tmp_path)))
        if re.match(found["queueName"], names[0])
    ]
    # If I ask as KEDA does
    asked = {
        "page": "1", "use_regex": "true", "pagination": "false",
        "name": metadata["queueName"], "page_size": metadata["pageSize"],
    }  # fmt: skip
    vhost = amqp_url.rpartition("/")[2]

    def counted() -> tuple[int, int]:
        page = rabbitmq.api.get(f"/queues/{vhost}", params=asked).raise_for_status().json()
        return page["page_count"], sum(queue.get("messages", 0) for queue in page["items"])

    # I expect one page, and all messages on it
    until(lambda: counted() == (1, MANY * EACH), seconds=60, what="all of them")


@pytest.mark.timeout(300)
def test_status_shows_more_queues_than_any_page_holds(rabbitmq: RabbitMQ, amqp_url: str) -> None:
    # Given more queues than the largest page / I expect `hitl status` to know all of them.
    names = {inference_queue(f"w{number}") for number in range(A_PAGE_AT_MOST + 20)}
    declare(amqp_url, sorted(names))
    assert queue_depths(amqp_url, rabbitmq.server.api_url, ()).keys() == names
