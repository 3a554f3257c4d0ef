"""Does RabbitMQ's refusal of one workflow's queue leave all other workflows alone?"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from shared.errors import ConfigurationError, HitlError
from shared.events.envelope import encode
from shared.events.models import Item, ItemScored, Prediction
from shared.messages import Delivery, Outgoing
from shared.messaging.connection import Broker, declare_all
from shared.messaging.consumer import Consumer
from shared.messaging.rights import USERS
from shared.topology import accepted_queue, inference_queue, topology
from tests.conftest import RabbitMQ
from tests.integration.router.test_refused_workflows import refused_by, shows
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.pipeline import Pipeline, running
from tests.support.service_users import broker_users

DELAYS = (5, 30, 300)
ALL = ("a", "b", "c", "d", "e")


def workflow(flows: Path, name: str) -> None:
    (flows / f"{name}.toml").write_text(
        f'[workflow]\nname = "{name}"\n[policy]\nmode = "fixed"\nthreshold = 0.5\n'
    )


def scored(owner: Outsider, name: str) -> None:
    owner.publish(json.dumps({"text": "good film"}), routing_key=name)
    [message] = owner.take("hitl.router", 1)
    assert message.routing_key == f"item.scored.{name}"


class Spoilt:
    """A queue that is another than ours, or none at all; and what mends it."""

    def __init__(self, amqp_url: str, owner: Outsider, *, missing: bool) -> None:
        self._amqp_url = amqp_url
        self._owner = owner
        self._missing = missing
        self.word = "no queue" if missing else "inequivalent arg"

    def spoil(self, queue: str) -> None:
        self._owner.delete(queue)
        if not self._missing:
            self._owner.declare(queue, **{"x-queue-type": "classic"})

    def mend(self, queue: str) -> None:
        if not self._missing:
            self._owner.delete(queue)
        declare_all(self._amqp_url, topology(ALL, DELAYS))


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    folder = tmp_path / "flows"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("user", ["owner", "inference"])
def test_a_workflow_without_its_queue_is_refused_alone_and_served_once_it_is_there(
    user: str, rabbitmq: RabbitMQ, amqp_url: str, database_url: str, tmp_path: Path, flows: Path
) -> None:
    # Given a queue of the workflow in the middle, which somebody declared otherwise (the service's
    # user may declare), or which is missing (it may only look)
    declare_all(amqp_url, topology(ALL, DELAYS))
    own = {}
    if user != "owner":
        own["inference"] = {"AMQP_URL": broker_users(rabbitmq, amqp_url)[user]}
    for name in ("a", "b", "c"):
        workflow(flows, name)
    with outsider(amqp_url) as owner:
        spoilt = Spoilt(amqp_url, owner, missing=user != "owner")
        spoilt.spoil(inference_queue("b"))
        spoilt.spoil(inference_queue("e"))
        with running(
            amqp_url, database_url, tmp_path, ["inference"], own, HITL_WORKFLOWS_DIR=str(flows)
        ) as pipeline:
            # I expect the service to be ready, the others scored, and the one named with its reason
            assert set(refused_by(pipeline)) == {"b"}
            assert spoilt.word in refused_by(pipeline)["b"]
            scored(owner, "a")
            scored(owner, "c")
            until(partial(shows, pipeline, "b", 1.0), seconds=5, what="b being shown")
            # If two more come while it runs, of which one has no such queue either
            workflow(flows, "d")
            workflow(flows, "e")
            until(partial(shows, pipeline, "e", 1.0), seconds=30, what="e being refused")
            until(partial(shows, pipeline, "d", 0.0), seconds=30, what="d being served")
            # I expect the same of them;
            assert set(refused_by(pipeline)) == {"b", "e"}
            scored(owner, "d")
            # and the first to be served once its queue is right, nobody doing anything
            spoilt.mend(inference_queue("b"))
            until(partial(shows, pipeline, "b", 0.0), seconds=60, what="b being served")
            scored(owner, "b")
            # If the queue of one that is served is spoilt while it runs
            spoilt.spoil(inference_queue("c"))
            until(lambda: "c" in refused_by(pipeline), seconds=30, what="c being refused")
            # I expect the others to go on.
            scored(owner, "a")
            scored(owner, "b")
            scored(owner, "d")


def scored_event(name: str) -> Outgoing:
    now = datetime.now(UTC)
    event = ItemScored(
        workflow=name,
        occurred_at=now,
        item=Item(id=f"of {name}", text="fine", received_at=now),
        prediction=Prediction(
            label="positive", confidence=0.9, model_version="m1",
            distribution={"positive": 0.9, "negative": 0.1},
        ),
    )  # fmt: skip
    return encode(event, source="test", traceparent="")


def test_a_router_holds_what_could_not_get_to_its_queue_and_routes_the_rest(
    rabbitmq: RabbitMQ, amqp_url: str, database_url: str, tmp_path: Path, flows: Path
) -> None:
    # Given two workflows, of which one's queue of accepted items is missing
    declare_all(amqp_url, topology(("a", "b"), DELAYS))
    own = {"router": {"AMQP_URL": broker_users(rabbitmq, amqp_url)["router"]}}
    workflow(flows, "a")
    workflow(flows, "b")
    with outsider(amqp_url) as owner:
        owner.delete(accepted_queue("b"))
        with running(
            amqp_url, database_url, tmp_path, ["router"], own, HITL_WORKFLOWS_DIR=str(flows)
        ) as pipeline:
            # If an item of each is scored / I expect that of the one to wait: sent now it would
            # reach the log, and none of its users; and that of the other to be routed.
            for name in ("b", "a"):
                event = scored_event(name)
                owner.publish(
                    event.body, exchange="hitl.events", routing_key=event.routing_key,
                    headers=dict(event.headers), type=event.type, message_id=event.message_id,
                    content_type="application/json",
                )  # fmt: skip
            assert owner.take(accepted_queue("a"), 1)
            until(lambda: owner.ready("hitl.router.retry.5s") == 1, seconds=10)
            assert set(refused(pipeline, "router")) == {"b"}
            # Once the queue is there, it gets to it.
            declare_all(amqp_url, topology(("a", "b"), DELAYS))
            assert owner.take(accepted_queue("b"), 1, seconds=60)


def refused(pipeline: Pipeline, service: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(pipeline.page(service, "/readyz")[1])["refused"]
    return found


@contextmanager
def connecting(amqp_url: str, refused: dict[str, HitlError]) -> Iterator[Broker]:
    broker = Broker(
        amqp_url, name="test", topology=topology(("a", "b"), (5,)), refuse=refused.__setitem__
    )
    broker.start()
    try:
        yield broker
    finally:
        broker.close()


@pytest.mark.parametrize("queue", ["hitl.router", "hitl.log", "hitl.unroutable"])
def test_what_all_share_stops_the_service_and_is_named(queue: str, amqp_url: str) -> None:
    # Given a queue of all workflows that somebody declared otherwise / If a service connects
    found: dict[str, HitlError] = {}
    with outsider(amqp_url) as owner:
        owner.declare(queue)
    with connecting(amqp_url, found) as broker:
        # I expect it not to be ready, to name the queue, and to blame no workflow.
        until(lambda: queue in str(broker.problem()), seconds=20)
        assert not broker.wait_ready(0.5)
        assert found == {}


def test_nothing_is_bound_to_the_log_alone_where_a_queue_is_refused(amqp_url: str) -> None:
    # Given a workflow that is new, and one of its queues that somebody declared otherwise
    found: dict[str, HitlError] = {}
    with outsider(amqp_url) as owner:
        owner.declare(accepted_queue("b"))
        with connecting(amqp_url, found) as broker:
            assert broker.wait_ready(20), broker.problem()
            assert set(found) == broker.lacking == {"b"}
            # If an item of it comes / I expect it to be set aside: the log alone would lose it.
            owner.publish("{}", routing_key="b")
            assert owner.ready("hitl.unroutable") == 1
            assert owner.ready(inference_queue("b")) == 0
            # If the queue is mended and the workflow added, I expect its items to arrive.
            owner.delete(accepted_queue("b"))
            broker.add(topology(["b"], (5,)))
            assert broker.lacking == frozenset()
            owner.publish("{}", routing_key="b")
            assert owner.ready(inference_queue("b")) == 1


def test_a_queue_that_may_not_be_taken_from_leaves_the_others_taken_from(
    rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    # Given the worker's user, which somebody let take from the queues of one workflow only
    url = broker_users(rabbitmq, amqp_url)["inference"]
    shape = topology(("a", "b"), (5,))
    declare_all(amqp_url, shape)
    page = f"/permissions/{url.rpartition('/')[2]}/inference"
    rights = rabbitmq.api.get(page).raise_for_status().json()
    narrow = {**rights, "read": r"^hitl\.a\.inference$"}
    rabbitmq.api.put(page, json=narrow).raise_for_status()
    a, b = inference_queue("a"), inference_queue("b")
    found: dict[str, HitlError] = {}
    taken: list[Delivery] = []
    broker = Broker(
        url, name="test", topology=shape, rights=USERS["inference"], refuse=found.__setitem__,
        consumer=Consumer([a, b], prefetch=10, slow_start=False, take=taken.extend),
    )  # fmt: skip
    broker.start()
    try:
        with outsider(amqp_url) as owner:
            # If it connects / I expect the other workflow to be refused, with the reason, and items
            # of the one to be taken;
            until(lambda: "b" in found and broker.problem() is None, seconds=20)
            assert "ACCESS_REFUSED" in str(found["b"])
            owner.publish("{}", routing_key="a")
            owner.publish("{}", routing_key="b")
            until(lambda: [one.queue for one in taken] == [a], seconds=10)
            # each further try to be refused, on the same connection, and nothing taken by it;
            generation = broker.generation
            for _ in range(2):
                with pytest.raises(ConfigurationError, match="ACCESS_REFUSED"):
                    broker.add(topology(["b"], (5,)), [b])
            assert broker.generation == generation
            # and the items that waited to be taken once it may.
            rabbitmq.api.put(page, json=rights).raise_for_status()
            broker.add(topology(["b"], (5,)), [b])
            until(lambda: [one.queue for one in taken] == [a, b], seconds=10)
            assert not taken[-1].redelivered
            assert broker.generation == generation
    finally:
        broker.close()
