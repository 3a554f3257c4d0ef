"""How does the router's queue get real messages, and how fast does a program empty it?"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

import pika

from benchmarks.harness import cpu_seconds
from shared.events.envelope import encode
from shared.events.models import (
    Decision,
    Event,
    Item,
    ItemAccepted,
    ItemScored,
    Prediction,
    RouteReason,
)
from shared.messages import Outgoing
from shared.messaging.connection import Broker, declare_all
from shared.topology import EVENTS, LOG_QUEUE, ROUTER_QUEUE, accepted_queue, topology

FROM, TO = 0.1, 0.95  # of the messages: neither the start nor the last ones count
PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.03
_PORTION = 2_000
_SETTLE_SECONDS = 0.5  # for what the broker still writes
_TEXT = "A quiet film that takes its time, and then does not let go of you for days. " * 3


class Emptied(NamedTuple):
    """What one program did with one filling of the queue."""

    messages_per_second: float
    client_us: float  # CPU per message, all of its processes together
    broker_us: float


def scored(item_id: str) -> ItemScored:
    """An event of about 600 bytes as inference sends it, with a sure prediction."""
    now = datetime.now(UTC)
    return ItemScored(
        workflow="sentiment",
        occurred_at=now,
        item=Item(id=item_id, text=_TEXT, metadata={"source": "benchmark"}, received_at=now),
        prediction=Prediction(
            label="positive",
            confidence=0.97,
            distribution={"positive": 0.97, "negative": 0.03},
            model_version="embedded@0123456789ab",
            tokens=51,
        ),
    )


def accepted(event: ItemScored) -> ItemAccepted:
    """What the router makes of it."""
    now = datetime.now(UTC)
    return ItemAccepted(
        workflow=event.workflow,
        occurred_at=now,
        item=event.item,
        prediction=event.prediction,
        decision=Decision(
            label=event.prediction.label,
            decided_by="ai",
            confidence=event.prediction.confidence,
            model_version=event.prediction.model_version,
            policy_version="0123456789ab",
            reasons=(RouteReason(code="confident", text="confidence 0.97 reaches 0.85"),),
            decided_at=now,
            threshold=0.85,
            ai_label=event.prediction.label,
        ),
    )


def message(event: Event) -> Outgoing:
    """The event as it travels."""
    return encode(event, source="benchmark", traceparent="")


def as_celery_task(message: Outgoing) -> Outgoing:
    """The same body as the argument of a task, in Celery's message protocol 2
    (https://docs.celeryq.dev/en/stable/internals/protocol.html)."""
    identity = str(uuid4())
    embedded: dict[str, None] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return Outgoing(
        exchange="",
        routing_key=ROUTER_QUEUE,
        body=json.dumps([[message.body.decode()], {}, embedded]).encode(),
        message_id=identity,
        headers={"lang": "py", "task": "route", "id": identity, "root_id": identity, "retries": 0},
    )


class Traffic:
    """One broker with the whole topology; fills the router's queue and watches it."""

    def __init__(self, amqp_url: str, broker_pid: int) -> None:
        declare_all(amqp_url, topology(["sentiment"], (5, 30, 300)))
        self._broker_pid = broker_pid
        self._publisher = Broker(amqp_url, name="benchmark")
        self._publisher.start()
        assert self._publisher.wait_ready(30)
        self._watch = pika.BlockingConnection(pika.URLParameters(amqp_url + "?heartbeat=0"))
        self._channel = self._watch.channel()
        self._count = 0

    def close(self) -> None:
        self._publisher.close()
        self._watch.close()

    def copies_for_the_log(self, wanted: bool) -> None:
        """Does each event also go to the logger's queue, as in the product?

        A program that may declare the topology binds that queue again: give it a user who may not.
        """
        change = self._channel.queue_bind if wanted else self._channel.queue_unbind
        change(LOG_QUEUE, EVENTS, "#")

    def depth(self, queue: str) -> int:
        """Messages that are ready in the queue."""
        return int(self._channel.queue_declare(queue, passive=True).method.message_count)

    def fill(self, count: int, shape: Callable[[Outgoing], Outgoing] | None = None) -> None:
        """Empty all queues, then put `count` new messages into the router's."""
        self.empty()
        for start in range(0, count, _PORTION):
            events = self.new(min(_PORTION, count - start))
            self.publish([shape(message(e)) if shape else message(e) for e in events])
        self.wait_for(ROUTER_QUEUE, count)
        self._channel.queue_purge(LOG_QUEUE)  # the inputs' own copies
        time.sleep(_SETTLE_SECONDS)

    def new(self, count: int) -> list[ItemScored]:
        """So many items that nobody has seen yet."""
        self._count += count
        return [scored(f"item-{self._count - n}") for n in range(count)]

    def empty(self) -> None:
        """Every queue that is filled here."""
        for queue in (ROUTER_QUEUE, LOG_QUEUE, accepted_queue("sentiment")):
            self._channel.queue_purge(queue)

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Returns when all are confirmed."""
        self._publisher.publish(messages)

    def wait_for(self, queue: str, count: int) -> None:
        """Returns when so many messages are ready there."""
        while self.depth(queue) < count:
            time.sleep(_LOOK_SECONDS)

    def emptied(self, processes: Sequence[subprocess.Popen[bytes]], count: int) -> Emptied:
        """Watch `count` messages arrive in the accepted queue; between 10 and 95 % counts.

        Raises:
            TimeoutError: a program has ended, or does not get there.
        """
        sink = accepted_queue("sentiment")
        deadline = time.monotonic() + PATIENCE_SECONDS
        first = last = self._look(processes, sink)
        while last.done < count * TO:
            if time.monotonic() > deadline or any(p.poll() is not None for p in processes):
                raise TimeoutError(f"{last.done:,} of {count:,} messages")
            time.sleep(_LOOK_SECONDS)
            last = self._look(processes, sink)
            if first.done < count * FROM:
                first = last
        done = last.done - first.done
        if not done:
            raise TimeoutError(f"{count:,} messages are too few: gone between two looks")
        return Emptied(
            done / (last.at - first.at),
            (last.client - first.client) / done * 1e6,
            (last.broker - first.broker) / done * 1e6,
        )

    def _look(self, processes: Sequence[subprocess.Popen[bytes]], sink: str) -> "_Look":
        done = self.depth(sink)
        return _Look(
            time.perf_counter(),
            done,
            sum(cpu_seconds(process.pid) for process in processes if process.poll() is None),
            cpu_seconds(self._broker_pid),
        )


class _Look(NamedTuple):
    at: float
    done: int
    client: float
    broker: float


@contextmanager
def traffic(amqp_url: str, broker_pid: int) -> Iterator[Traffic]:
    with closing(Traffic(amqp_url, broker_pid)) as opened:
        yield opened
