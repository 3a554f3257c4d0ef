"""The pipeline that the tests of this folder share: each finds its queues empty, and in its tables
whatever the others have left.

It runs as everywhere: each program as a user of its own, with no more rights than it needs, on a
broker where the owner has declared everything. Decisions leave at once.
"""

from collections.abc import Iterator

import pytest

from shared.messaging.connection import declare_all
from shared.topology import (
    LOG_QUEUE,
    ROUTER_QUEUE,
    UNROUTABLE,
    inference_queue,
    review_queue,
    topology,
)
from tests.conftest import Postgres, RabbitMQ, fresh_database, fresh_vhost
from tests.support.amqp_client import outsider, until
from tests.support.pipeline import SERVICES, Pipeline, running
from tests.support.service_users import own_addresses

TOPOLOGY = topology(["sentiment"], (5, 30, 300))
WORK = (inference_queue("sentiment"), ROUTER_QUEUE, review_queue("sentiment"), LOG_QUEUE)


@pytest.fixture(scope="package")
def shared_pipeline(
    rabbitmq: RabbitMQ,
    postgres: Postgres,
    migrated: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pipeline]:
    """All five services, and a reviewer named ada."""
    with fresh_vhost(rabbitmq) as amqp_url, fresh_database(postgres, migrated) as database_url:
        own = own_addresses(rabbitmq, amqp_url, database_url)
        declare_all(amqp_url, TOPOLOGY)
        folder = tmp_path_factory.mktemp("pipeline")
        with running(
            amqp_url, database_url, folder, SERVICES, own, HITL_UNDO_SECONDS="0"
        ) as pipeline:
            pipeline.add_reviewer("ada")
            yield pipeline


@pytest.fixture
def pipeline(shared_pipeline: Pipeline) -> Pipeline:
    """The same, at rest: nothing is under way, and what others have set aside is gone."""
    with outsider(shared_pipeline.amqp_url) as program:
        until(lambda: not any(map(program.ready, WORK)), what="empty queues")
        for queue in TOPOLOGY.queues:
            if queue.name.endswith((".dlq", ".accepted")) or queue.name == UNROUTABLE:
                program.drain(queue.name)
    return shared_pipeline
