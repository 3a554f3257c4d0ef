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
from shared.broker import Broker, declare_all
from shared.envelope import encode
from shared.events import Item, ItemScored, Prediction
from shared.messages import Outgoing
from shared.topology import LOG_QUEUE, ROUTER_QUEUE, accepted_queue, topology

FROM, TO = 0.1, 0.95  # of the messages: neither the start nor the last ones count
PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.03
_PORTION = 2_000
_TEXT = "A quiet film that takes its time, and then does not let go of you for days. " * 3


class Emptied(NamedTuple):
    """What one program did with one filling of the queue."""

    messages_per_second: float
    client_us: float  # CPU per message, all of its processes together
    broker_us: float


def scored(item_id: str) -> Outgoing:
    """An `item.scored` as inference sends it: a body of about 600 bytes, a sure prediction."""
    now = datetime.now(UTC)
    event = ItemScored(
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
    return encode(event, source="inference", traceparent="")


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

    def depth(self, queue: str) -> int:
        """Messages that are ready in the queue."""
        return int(self._channel.queue_declare(queue, passive=True).method.message_count)

    def fill(self, count: int, shape: Callable[[Outgoing], Outgoing] | None = None) -> None:
        """Empty all three queues, then put `count` new messages into the router's."""
        for queue in (ROUTER_QUEUE, LOG_QUEUE, accepted_queue("sentiment")):
            self._channel.queue_purge(queue)
        for start in range(0, count, _PORTION):
            portion = [
                scored(f"item-{self._count + n}") for n in range(min(_PORTION, count - start))
            ]
            self._count += len(portion)
            self._publisher.publish([shape(m) for m in portion] if shape else portion)
        while self.depth(ROUTER_QUEUE) < count:
            time.sleep(_LOOK_SECONDS)
        self._channel.queue_purge(LOG_QUEUE)  # the inputs' own copies
        time.sleep(0.5)  # what the broker still writes

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
                codes = [process.returncode for process in processes]
                raise TimeoutError(f"{last.done:,} of {count:,} messages; exit codes {codes}")
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
