"""How fast does the logger write, beside a row-per-commit ORM and a plain COPY?

Every run starts with a fresh copy of the migrated database; all take turns in each round, and
ratios are taken within a round. The database syncs each commit to disk.
"""

import gc
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from uuid import uuid4

import psycopg2
from psycopg2 import sql
from rich.console import Console

from benchmarks.grown import TABLES, fill
from benchmarks.harness import Servers, Spread, processes, ratio, ratios, servers
from benchmarks.peers import copy_logger
from benchmarks.report import Bars, Report, Table, options, publish
from benchmarks.traffic import PATIENCE_SECONDS, Traffic, accepted, message, scored, traffic
from services.logger.handler import PORTION_ROWS, PORTIONS, SWITCH_SECONDS, Logger
from shared.clock import utc_now
from shared.events.models import ItemScored
from shared.messages import Delivery, Outgoing
from shared.storage.database import connect
from shared.storage.migration import migrate
from shared.topology import LOG_QUEUE

ROUNDS, QUICK_ROUNDS = 5, 2
# Items a round; each is two events (scored, accepted) and a row of its own.
FAST, QUICK_FAST = 20_000, 4_000
ONE_BY_ONE, QUICK_ONE_BY_ONE = 1_000, 300
SIZES, QUICK_SIZES, FULL_SIZES = (1_000, 100_000), (1_000, 20_000), (1_000, 100_000, 10_000_000)
TEMPLATE = "template_migrated"
FLOORS = {"vs_orm": 6.0, "vs_copy": 0.2}


class Databases:
    """Fresh copies of a migrated database, one after the other."""

    def __init__(self, servers: Servers) -> None:
        self._base = servers.database_url.rpartition("/")[0]
        self._numbers = count()
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        migrate(f"{self._base}/{TEMPLATE}")

    @contextmanager
    def fresh(self) -> Iterator[str]:
        name = sql.Identifier(f"run_{next(self._numbers)}")
        template = sql.Identifier(TEMPLATE)
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, template))
        yield f"{self._base}/{name.string}"
        self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    def _run(self, statement: sql.Composed) -> None:
        with closing(psycopg2.connect(f"{self._base}/postgres")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)


def messages(found: Iterable[ItemScored]) -> list[Outgoing]:
    """Both events of each item, in the order in which they come."""
    return [message(event) for one in found for event in (one, accepted(one))]


def delivered(found: Iterable[ItemScored]) -> list[Delivery]:
    """The same as the logger takes them."""
    return [
        Delivery(
            LOG_QUEUE, each.exchange, each.routing_key, each.body, each.headers, tag,
            message_id=each.message_id,
        )
        for tag, each in enumerate(messages(found))
    ]  # fmt: skip


def cut(deliveries: Sequence[Delivery], size: int) -> list[Sequence[Delivery]]:
    """Batches of this size."""
    return [deliveries[start : start + size] for start in range(0, len(deliveries), size)]


def timed(work: Callable[[], object], events: int) -> float:
    """Events a second, with the collector as the worker sets it (shared/messaging/worker.py), and
    the time between threads as the logger does."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    started = time.perf_counter()
    work()
    return events / (time.perf_counter() - started)


def handled(url: str, given: Sequence[Delivery]) -> float:
    """The logger's handler alone, without the broker; batches as where much is waiting."""
    engine = connect(url)
    handler = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)

    def work() -> None:
        for batch in cut(given, PORTIONS * PORTION_ROWS):
            assert not any(handler.handle(batch))

    try:
        return timed(work, len(given))
    finally:
        engine.dispose()


def copied(databases: Databases, given: Sequence[Delivery]) -> tuple[float, float]:
    """A plain COPY of the same messages with as many a commit, and of its rows once more, rendered
    beforehand."""
    events, batches = len(given), cut(given, PORTION_ROWS)
    with databases.fresh() as url, closing(psycopg2.connect(url)) as connection:
        speed = timed(lambda: copy_logger.write(connection, batches), events)
        with connection.cursor() as cursor:
            parts = [copy_logger.rendered(cursor, table, len(batches)) for table in TABLES]
        connection.rollback()
    with databases.fresh() as url, closing(psycopg2.connect(url)) as connection:
        both = list(zip(*parts, strict=True))
        again = timed(lambda: copy_logger.write_rendered(connection, both), events)
    return speed, again


def from_queue(
    module: str, databases: Databases, servers: Servers, bench: Traffic, items: int
) -> float:
    """Events a second of a process that empties the queue; between 10 and 95 % counts."""
    bench.empty()
    bench.publish(messages(bench.new(items)))
    events = 2 * items
    bench.wait_for(LOG_QUEUE, events)
    command = [sys.executable, "-P", "-m", module]
    with (
        databases.fresh() as url,
        closing(psycopg2.connect(url)) as connection,
        processes([command], servers, DATABASE_URL=url, HITL_LOGGER_PORT="0") as (process,),
        connection.cursor() as cursor,
    ):
        connection.autocommit = True
        deadline = time.monotonic() + PATIENCE_SECONDS
        first = last = (time.perf_counter(), 0)
        while last[1] < 0.95 * events:
            if time.monotonic() > deadline or process.poll() is not None:
                raise TimeoutError(f"{last[1]:,} of {events:,} events")
            time.sleep(0.02)
            cursor.execute("SELECT count(*) FROM event")
            last = (time.perf_counter(), int((cursor.fetchone() or (0,))[0]))
            if first[1] < 0.1 * events:
                first = last
        return (last[1] - first[1]) / (last[0] - first[0])


def growth(
    databases: Databases, sizes: Sequence[int], items: int, rounds: int
) -> dict[int, list[float]]:
    """Events a second of the handler by the rows that are there already. Random ids, as they are
    worst for an index."""
    speeds: defaultdict[int, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        urls = {size: stack.enter_context(databases.fresh()) for size in sizes}
        for size, url in urls.items():
            fill(url, size)
        for _ in range(rounds):
            for size, url in urls.items():
                given = delivered(scored(str(uuid4())) for _ in range(items))
                speeds[size].append(handled(url, given))
    return speeds


def measure(say: Console, *, quick: bool, full: bool) -> Report:
    """Rounds in which all take turns; then how it is when there are many rows."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    fast, one_by_one = (QUICK_FAST, QUICK_ONE_BY_ONE) if quick else (FAST, ONE_BY_ONE)
    sizes = QUICK_SIZES if quick else FULL_SIZES if full else SIZES
    speeds: defaultdict[str, list[float]] = defaultdict(list)
    with (
        servers(database=True) as running,
        traffic(running.amqp_url, running.broker_pid) as bench,
    ):
        databases = Databases(running)

        def end_to_end(module: str, items: int) -> float:
            return from_queue(module, databases, running, bench, items)

        for number in range(rounds):
            given = delivered(bench.new(fast))
            with databases.fresh() as url:
                speeds["handler"].append(handled(url, given))
            copy, plain = copied(databases, given)
            speeds["copy"].append(copy)
            speeds["copy_rendered"].append(plain)
            speeds["ours"].append(end_to_end("services.logger", fast))
            speeds["orm"].append(end_to_end("benchmarks.peers.orm_logger", one_by_one))
            latest = ", ".join(f"{name} {found[-1]:,.0f}" for name, found in speeds.items())
            say.print(f"round {number + 1} of {rounds}, events/s: {latest}")
        say.print(f"with {', '.join(f'{size:,}' for size in sizes)} rows …")
        grown = growth(databases, sizes, fast // 2, rounds)
    return _report(speeds, grown)


def _report(speeds: dict[str, list[float]], grown: dict[int, list[float]]) -> Report:
    smallest, *larger = grown
    against_copy = ratio(speeds["handler"], speeds["copy"])
    against_rendered = ratio(speeds["handler"], speeds["copy_rendered"])
    against_orm = ratio(speeds["ours"], speeds["orm"])
    slower = {size: ratio(grown[smallest], grown[size]) for size in larger}
    result = {
        **{
            f"{name}_events_per_s": round(Spread.of(found).median) for name, found in speeds.items()
        },
        "rows_per_s": round(Spread.of(speeds["ours"]).median * 1.5),
        **ratios("vs_orm", against_orm),
        **ratios("vs_copy", against_copy),
        **ratios("vs_copy_rendered", against_rendered),
        **{f"events_per_s_at_{size}": round(Spread.of(grown[size]).median) for size in grown},
        **{f"slower_at_{size}": round(spread.median, 3) for size, spread in slower.items()},
    }
    rows = [
        ("**the logger**, from the queue", speeds["ours"], "", ""),
        ("ORM, one row a commit, from the queue", speeds["orm"], str(against_orm), "≥ 25"),
        ("**the logger's handler** alone", speeds["handler"], "", ""),
        ("COPY of the same messages", speeds["copy"], str(against_copy), "≥ 0.6"),
        ("COPY of rows rendered before", speeds["copy_rendered"], str(against_rendered), ""),
    ]
    return Report(
        name="logger",
        title="Logger",
        text="Two events an item; the logger writes both once (`event`), the item's row (`item`) "
        "and a block of the ledger for each commit of up to 2 000 events. The ORM writes the event "
        "only; COPY writes event and item and would break at the first duplicate. Every commit is "
        "synced to disk.",
        tables=[
            Table(
                ("program", "events/s", "ours / theirs", "aim"),
                [(who, str(Spread.of(found)), against, aim) for who, found, against, aim in rows],
            ),
            Table(
                ("rows in each table", "handler, events/s", "times slower", "aim"),
                [
                    (
                        f"{size:,}",
                        str(Spread.of(found)),
                        str(slower.get(size, "")),
                        "≤ 1.3" if size in slower else "",
                    )
                    for size, found in grown.items()
                ],
            ),
        ],
        bars=Bars(
            "events a second",
            {who.replace("*", ""): Spread.of(found).median for who, found, _, _ in rows},
        ),
        result=result,
        floors=FLOORS,
    )


def main() -> None:
    full = ("--full", {"action": "store_true", "help": "also with 10 million rows"})
    given = options("logger", __doc__, full)
    say = Console(stderr=True, quiet=given.json)
    publish(measure(say, quick=given.quick, full=given.full), given)


if __name__ == "__main__":
    main()
