"""What does one item cost each part of the pipeline? Seconds of a core, and bytes, on this machine.

Processor time, not the clock: what else the machine does meanwhile hardly shows in it.
"""

import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import psycopg2
from rich.console import Console

from benchmarks.harness import Servers, cpu_seconds, resident_bytes, servers
from benchmarks.pipeline import LONGEST, Line, stack, text
from services.inference.classifier import load
from shared.storage.migration import migrate

TABLES = ("event", "item", "ledger_block", "review_task")
SETTLE_SECONDS = 120.0
EVENTS = 3.0  # of an item: submitted, scored, sent on
EXPLAINED = 60  # highlights to be timed
TOGETHER = 32  # texts that an inference worker takes at most


def measure(say: Console, items: int, waiting: int) -> dict[str, float]:
    """Costs of an item by part, and how fast all parts together were on this machine."""
    found: dict[str, float] = _scoring()
    with servers(database=True) as running, closing(Line(running.amqp_url)) as line:
        migrate(running.database_url)
        found |= _waiting(running, line, waiting)
        say.print(f"an item that waits: {found['queue_disk_bytes']:.0f} bytes on disk")
        with stack(running, line) as pids:
            found |= _costs(running, line, pids, items)
            say.print(f"{found['items_per_s']:.0f} items/s on {found['cores_used']:.2f} cores")
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def _scoring() -> dict[str, float]:
    """What a text costs beside others, and a call of the model whatever is in it; one thread."""
    chance = random.Random(3)
    classifier = load("embedded", threads=1)
    together = [text(chance, LONGEST) for _ in range(TOGETHER)]
    classifier.classify(together)
    started = time.process_time()
    for each in together:
        classifier.classify([each])
    alone = (time.process_time() - started) / TOGETHER
    started = time.process_time()
    classifier.classify(together)
    beside = (time.process_time() - started - alone) / (TOGETHER - 1)
    return {"text_cpu_s": beside, "call_cpu_s": max(0.0, alone - beside)}


def _waiting(running: Servers, line: Line, count: int) -> dict[str, float]:
    """What items take up that wait for inference: each is in two queues, its own and the log's."""
    folder = running.home / "rabbitmq" / "data"
    line.empty()
    disk, memory = _size(folder), resident_bytes(running.broker_pid)
    line.put(count)
    time.sleep(2.0)  # until the log of the queues is written
    return {
        "queue_disk_bytes": max(0, _size(folder) - disk) / count,
        "queue_memory_bytes": max(0, resident_bytes(running.broker_pid) - memory) / count,
    }


def _costs(running: Servers, line: Line, pids: Mapping[str, int], items: int) -> dict[str, float]:
    postmaster = running.postgres.pid if running.postgres else None
    assert postmaster is not None
    with closing(psycopg2.connect(running.database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:

            def asked(query: str) -> float:
                cursor.execute(query)
                (value,) = cursor.fetchone() or (0,)
                return float(value)

            def used() -> dict[str, float]:
                times: dict[str, float] = {}
                for name, pid in pids.items():
                    part = name.split()[0]
                    times[part] = times.get(part, 0.0) + cpu_seconds(pid)
                return {
                    **times,
                    "broker": cpu_seconds(running.broker_pid),
                    "postgres": cpu_of_family(postmaster),
                }

            def events(kind: str) -> float:
                return asked(f"SELECT count(*) FROM event WHERE type LIKE '{kind}'")

            # Each item is submitted, scored and sent on; what comes later is about highlights.
            wal = "SELECT pg_current_wal_lsn() - '0/0'"
            before, log_before, known = used(), asked(wal), events("item.%")
            started = time.perf_counter()
            speed = line.items_per_second(items)
            scored = used()["inference"]
            _until(lambda: events("item.%") - events("item.explained") - known >= EVENTS * items)
            cpu = {**used(), "inference": scored}
            costs = {f"{part}_cpu_s": (cpu[part] - before[part]) / items for part in cpu}
            seconds = time.perf_counter() - started
            written = (asked(wal) - log_before) / items
            weighed, idle = events("item.explained"), used()["inference"]
            enough = weighed + EXPLAINED
            _until(lambda: events("item.explained") >= enough)
            explained = events("item.explained") - weighed
            rows = asked("SELECT count(*) FROM item")
            return {
                **costs,
                "explain_cpu_s": (used()["inference"] - idle) / explained,
                "items_per_s": speed,
                "cores_used": sum(costs.values()) * items / seconds,
                "events_per_item": EVENTS,
                "review_share": events("item.review_requested") / rows,
                "wal_bytes": written,
                **{
                    f"{name}_bytes": asked(f"SELECT pg_total_relation_size('{name}')") / rows
                    for name in TABLES
                },
            }


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError("logger or highlights did not come to their end")
        time.sleep(0.1)


def cpu_of_family(pid: int) -> float:
    """A process, its living children, and those that have ended (proc(5), stat, 4 and 14 to 17)."""
    found = cpu_seconds(pid)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found += cpu_seconds(int(stat.parent.name))
        if stat.parent.name == str(pid):
            found += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return found


def _size(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
