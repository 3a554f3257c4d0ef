"""How many items a second does the whole pipeline take, how long does one wait, does memory grow?

All four services with the embedded model, an inference process per core, on servers of its own;
beside it a tutorial's loop with the same model. An item is done when its decision has arrived in a
queue: accepted, or asked of a person.
"""

import argparse
import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from statistics import linear_regression
from typing import Any
from uuid import uuid4

import pika
from rich.console import Console

from benchmarks.harness import (
    Servers,
    Spread,
    processes,
    quantile,
    ratio,
    ratios,
    resident_bytes,
    servers,
    short,
)
from benchmarks.report import Bars, Report, Table, options, publish, write
from shared.messaging.connection import declare_all
from shared.storage.migration import migrate
from shared.topology import (
    EVENTS,
    ITEMS,
    LOG_QUEUE,
    ROUTER_QUEUE,
    accepted_queue,
    inference_queue,
    review_queue,
    topology,
)

ROUNDS, QUICK_ROUNDS = 5, 1
ITEMS_A_ROUND, QUICK_ITEMS = 2_000, 500
TUTORIAL_ITEMS, QUICK_TUTORIAL_ITEMS = 500, 80
LOADS, QUICK_LOADS = (0.1, 0.5, 0.9), (0.5,)
LOAD_SECONDS, QUICK_LOAD_SECONDS = 60.0, 5.0
READY_SECONDS = 120.0
LONGEST = 6  # sentences of an item
SOAK_LOOKS = 50
SOAK_LONGEST = 1  # short ones, so that a million of them pass in a quarter of the time
SOAK_BACKLOG = 1_000  # items on their way while it soaks
SOAK_WARM = 0.2  # of the items: until then caches fill
FLOORS = {"vs_naive": 1.2}
_PERSISTENT = pika.BasicProperties(delivery_mode=2, content_type="application/json")
_SENTENCES = (
    "I did not expect to like this as much as I did",
    "the second half drags and nobody seems to care",
    "a warm and very funny film",
    "the sound is so bad that we left after an hour",
    "it does what it says",
    "my sister loved it and I have no idea why",
    "every scene with her is a joy",
    "two hours that I will not get back",
)


def text(chance: random.Random, longest: int) -> str:
    """5 to 60 words where six sentences are the longest, most of them short ones."""
    sentences = min(1 + int(chance.expovariate(0.6)), longest)
    return ", ".join(chance.choices(_SENTENCES, k=sentences)) + "."


class Line:
    """The queues at both ends: items in, decisions out."""

    def __init__(self, amqp_url: str, workflow: str = "sentiment") -> None:
        declare_all(amqp_url, topology([workflow], (5, 30, 300)))
        self._workflow, self._done = workflow, f"bench.done.{workflow}"
        self._parameters = pika.URLParameters(f"{amqp_url}?heartbeat=0")
        self._connection = pika.BlockingConnection(self._parameters)
        self._channel = self._connection.channel()
        self._channel.queue_declare(self._done)
        for kind in ("item.accepted", "item.review_requested"):
            self._channel.queue_bind(self._done, EVENTS, f"{kind}.{workflow}")
        self._chance = random.Random(1)

    def close(self) -> None:
        self._connection.close()

    def put(self, count: int, longest: int = LONGEST) -> list[str]:
        """So many new items of up to so many sentences; their ids."""
        ids = [str(uuid4()) for _ in range(count)]
        for item_id in ids:
            self.put_one(item_id, longest)
        return ids

    def put_one(self, item_id: str, longest: int = LONGEST) -> None:
        """One new item."""
        body = json.dumps({"id": item_id, "text": text(self._chance, longest), "metadata": {}})
        self._channel.basic_publish(ITEMS, self._workflow, body.encode(), _PERSISTENT)

    def done(self) -> int:
        """Decisions in the queue."""
        return self.waiting(self._done)

    def waiting(self, queue: str) -> int:
        """Messages in it that nobody has taken."""
        return int(self._channel.queue_declare(queue, passive=True).method.message_count)

    def consumers(self, queue: str) -> int:
        """Who takes from it."""
        return int(self._channel.queue_declare(queue, passive=True).method.consumer_count)

    def is_served(self, scorers: int) -> bool:
        """Whether everybody who is needed takes from the queues."""
        expected = {
            inference_queue(self._workflow): scorers,
            ROUTER_QUEUE: 1,
            review_queue(self._workflow): 1,
            LOG_QUEUE: 1,
        }
        return all(self.consumers(queue) >= count for queue, count in expected.items())

    def empty(self) -> None:
        """Nothing is left of what came before."""
        for queue in (
            inference_queue(self._workflow), ROUTER_QUEUE, LOG_QUEUE, review_queue(self._workflow),
            accepted_queue(self._workflow), self._done,
        ):  # fmt: skip
            self._channel.queue_purge(queue)

    def read_off(self) -> int:
        """Takes what downstream would take; how many decisions came since the last time."""
        self._channel.queue_purge(accepted_queue(self._workflow))
        return int(self._channel.queue_purge(self._done).method.message_count)

    def items_per_second(self, count: int) -> float:
        """Between 10 and 95 % of `count` items that lie there at once.

        Raises:
            TimeoutError: they are not decided in time.
        """
        self.empty()
        self.put(count)
        deadline = time.monotonic() + 10 * READY_SECONDS
        first = last = (time.perf_counter(), self.done())
        while last[1] < 0.95 * count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{last[1]} of {count} items")
            time.sleep(0.02)
            last = (time.perf_counter(), self.done())
            if first[1] < 0.1 * count:
                first = last
        self.wait_for(count)
        return (last[1] - first[1]) / (last[0] - first[0])

    def wait_for(self, count: int) -> None:
        """Returns when so many decisions are there."""
        deadline = time.monotonic() + READY_SECONDS
        while self.done() < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.done()} of {count} items")
            time.sleep(0.05)

    def delays(self, rate: float, seconds: float) -> list[float]:
        """Milliseconds from when an item was due to be published until its decision came; items
        come at random times (Poisson), `rate` a second on average, whatever is still on its way.
        """
        self.empty()
        due: dict[str, float] = {}
        delays: list[float] = []
        enough = threading.Event()
        taking = threading.Thread(target=self._take, args=(due, delays, enough))
        taking.start()
        at = time.time()
        until = at + seconds
        while at < until:
            time.sleep(max(0.0, at - time.time()))
            item_id = str(uuid4())
            due[item_id] = at
            self.put_one(item_id)
            at += self._chance.expovariate(rate)
        deadline = time.monotonic() + READY_SECONDS
        while len(delays) < len(due) and time.monotonic() < deadline:
            time.sleep(0.05)
        enough.set()
        taking.join()
        if len(delays) < len(due):
            raise TimeoutError(f"{len(delays)} of {len(due)} items")
        return delays

    def _take(self, due: Mapping[str, float], delays: list[float], enough: threading.Event) -> None:
        with closing(pika.BlockingConnection(self._parameters)) as connection:
            channel = connection.channel()

            def on_message(_channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
                now = time.time()
                delays.append((now - due[json.loads(body)["item"]["id"]]) * 1e3)

            channel.basic_consume(self._done, on_message, auto_ack=True)
            while not enough.is_set():
                connection.process_data_events(time_limit=0.01)


@contextmanager
def stack(servers: Servers, *lines: Line, **more: str) -> Iterator[Mapping[str, int]]:
    """The four services with the workflows of these lines, warm; their pids."""
    scorers = os.cpu_count() or 1
    names = [*(f"inference {n + 1}" for n in range(scorers)), "router", "review_ui", "logger"]
    commands = [[sys.executable, "-P", "-m", f"services.{name.split()[0]}"] for name in names]
    ports = {f"HITL_{name}_PORT": "0" for name in ("INFERENCE", "ROUTER", "REVIEW", "LOGGER")}
    settings = {**ports, "HITL_SESSION_SECRET": "of-a-benchmark", "HITL_PANEL_SALT": "any"}
    for line in lines:
        line.empty()  # of the tutorial's events, which would all be set aside
    with processes(commands, servers, **settings, **more) as started:
        deadline = time.monotonic() + READY_SECONDS
        while not all(line.is_served(scorers) for line in lines):
            if time.monotonic() > deadline or any(one.poll() is not None for one in started):
                raise TimeoutError("not all services came up")
            time.sleep(0.1)
        for line in lines:
            line.empty()
            line.put(100 * scorers)
            line.wait_for(100 * scorers)
        yield {name: process.pid for name, process in zip(names, started, strict=True)}


@contextmanager
def tutorial(servers: Servers, line: Line) -> Iterator[None]:
    """The tutorial's loop, warm."""
    command = [sys.executable, "-P", "-m", "benchmarks.peers.tutorial"]
    with processes([command], servers):
        line.empty()
        line.put(20)
        line.wait_for(20)
        yield


def soak(line: Line, pids: Mapping[str, int], items: int, say: Console) -> dict[str, float]:
    """MiB that each process grows by in 100,000 items, by least squares after the warm-up."""
    memory: dict[str, list[float]] = {name: [] for name in pids}
    line.empty()
    counts: list[float] = []
    put = done = look = 0
    while done < items:
        put += len(line.put(min(SOAK_BACKLOG - (put - done), items - put), SOAK_LONGEST))
        time.sleep(0.1)
        done += line.read_off()
        if done >= look * items / SOAK_LOOKS:
            look += 1
            counts.append(done)
            for name, pid in pids.items():
                memory[name].append(resident_bytes(pid) / 2**20)
            say.print(f"{done:,} items: {', '.join(f'{n} {m[-1]:.0f}' for n, m in memory.items())}")
    warm = next(place for place, count in enumerate(counts) if count >= SOAK_WARM * items)
    return {
        f"{name}_mib_per_100k": round(linear_regression(counts[warm:], used[warm:]).slope * 1e5, 2)
        for name, used in memory.items()
    }


def measure(say: Console, given: argparse.Namespace) -> Report:
    """Rounds of both; then how long items wait; then, where asked for, the soak."""
    quick: bool = given.quick
    rounds = QUICK_ROUNDS if quick else ROUNDS
    count, of_tutorial = (
        (QUICK_ITEMS, QUICK_TUTORIAL_ITEMS) if quick else (ITEMS_A_ROUND, TUTORIAL_ITEMS)
    )
    ours: list[float] = []
    naive: list[float] = []
    delays: dict[float, list[float]] = {}
    growth: dict[str, float] = {}
    with servers(database=True) as running, closing(Line(running.amqp_url)) as line:
        migrate(running.database_url)
        for number in range(rounds):
            with tutorial(running, line):
                naive.append(line.items_per_second(of_tutorial))
            with stack(running, line) as pids:
                ours.append(line.items_per_second(count))
                say.print(
                    f"round {number + 1} of {rounds}, items/s: {ours[-1]:.0f}, "
                    f"the tutorial {naive[-1]:.0f}"
                )
                if number + 1 < rounds:
                    continue
                capacity = Spread.of(ours).median
                for load in QUICK_LOADS if quick else LOADS:
                    seconds = QUICK_LOAD_SECONDS if quick else LOAD_SECONDS
                    delays[load] = line.delays(load * capacity, seconds)
                    say.print(f"at {load:.0%}: p50 {quantile(delays[load], 0.5):.0f} ms")
                if given.soak:
                    growth = soak(line, {**pids, "rabbitmq": running.broker_pid}, given.soak, say)
                    write(soaked(growth, given.soak))
    return _report(ours, naive, delays, growth, given.soak)


def _report(
    ours: Sequence[float],
    naive: Sequence[float],
    delays: Mapping[float, Sequence[float]],
    growth: Mapping[str, float],
    items: int,
) -> Report:
    spread = ratio(ours, naive)
    found = {
        load: {share: quantile(taken, share / 100) for share in (50, 99)}
        for load, taken in delays.items()
    }
    tables = [
        Table(
            ("program", "items/s", "ours / theirs"),
            [
                ("**the pipeline**", str(Spread.of(ours)), ""),
                ("tutorial's loop", str(Spread.of(naive)), str(spread)),
            ],
        ),
        Table(
            ("load", "publish to decision, p50 ms", "p99 ms"),
            [(f"{load:.0%}", short(ms[50]), short(ms[99])) for load, ms in found.items()],
        ),
    ]
    return Report(
        name="pipeline",
        title="Whole pipeline",
        text=f"Texts of 5 to 60 words, the embedded model, {os.cpu_count()} inference processes of "
        "one thread, router, logger and review service with their RabbitMQ and Postgres, all on "
        "this machine; the tutorial's loop is one process with transformers' `pipeline`, a commit "
        "a row and no confirms. Items that wait come at random times; 100 % is the speed above.",
        tables=tables,
        bars=Bars(
            "items a second",
            {"the pipeline": Spread.of(ours).median, "tutorial's loop": Spread.of(naive).median},
        ),
        result={
            "items_per_s": round(Spread.of(ours).median, 1),
            "naive_items_per_s": round(Spread.of(naive).median, 1),
            **ratios("vs_naive", spread),
            **{
                f"latency_p{share}_ms_at_{load * 100:.0f}": round(value, 1)
                for load, ms in found.items()
                for share, value in ms.items()
            },
            **{name.replace(" ", "_"): value for name, value in growth.items()},
            **({"soak_items": items} if items else {}),
        },
        floors=FLOORS,
    )


def soaked(growth: Mapping[str, float], items: int) -> Report:
    """How much each process has grown."""
    return Report(
        name="soak",
        title="Memory of each process",
        text=f"{items:,} items of a few words through the whole pipeline; the slope of each "
        f"process' memory over their number, without the first {SOAK_WARM:.0%}.",
        tables=[
            Table(
                ("process", "MiB more per 100,000 items"),
                [(name.removesuffix("_mib_per_100k"), f"{mib}") for name, mib in growth.items()],
            )
        ],
        result={"soak_items": items, **growth},
        command=f"pipeline --quick --soak {items}",
    )


def main() -> None:
    longer = ("--soak", {"type": int, "default": 0, "metavar": "ITEMS", "help": "watch memory"})
    given = options("pipeline", __doc__, longer)
    say = Console(stderr=True, quiet=given.json)
    publish(measure(say, given), given)


if __name__ == "__main__":
    main()
