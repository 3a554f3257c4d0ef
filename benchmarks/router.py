"""How fast is the router, beside the clients that one would otherwise write it with?

Each program empties the same queue of the same events into the same exchange; one runs at a time,
all take turns in each round, and ratios are taken within a round.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from rich.console import Console

from benchmarks.harness import Servers, Spread, processes, ratio, ratios, servers, short
from benchmarks.peers.install import copy_program, peers_python
from benchmarks.report import Bars, Report, Table, options, publish
from benchmarks.traffic import Emptied, Traffic, as_celery_task, traffic
from hitl.access.broker_users import OWNER
from shared.messages import Outgoing
from shared.topology import EVENTS, LOG_QUEUE, ROUTER_QUEUE

ROUNDS, QUICK_ROUNDS = 9, 2  # medians of five still moved by a tenth from run to run
# Messages a round: many times the prefetch for those who keep 1 000 in flight.
FAST, QUICK_FAST = 40_000, 8_000
SLOW, QUICK_SLOW = 12_000, 3_000
ONE_BY_ONE, QUICK_ONE_BY_ONE = 4_000, 500
AIMS = {"vs_c": 0.8, "vs_faststream": 5.0, "vs_aio_pika": 5.0, "vs_celery": 15.0}
# What a quick run on a busy machine must reach: far below the aims, far above a mistake.
FLOORS = {"vs_c": 0.35, "vs_faststream": 2.5, "vs_aio_pika": 2.0, "vs_celery": 7.0}


class Program(NamedTuple):
    """Somebody who does the router's job."""

    title: str
    command: Sequence[str]
    processes: int = 1
    messages: tuple[int, int] = (SLOW, QUICK_SLOW)  # in a whole and in a quick run
    shape: Callable[[Outgoing], Outgoing] | None = None
    user: str = OWNER


# By program, and by whether the logger's queue gets each event as well.
Runs = dict[tuple[str, bool], list[Emptied]]


def programs(say: Console, amqp_url: str) -> dict[str, Program]:
    """Everybody who can run here, by the name in the result."""
    fast, one_by_one = (FAST, QUICK_FAST), (ONE_BY_ONE, QUICK_ONE_BY_ONE)
    ours = [sys.executable, "-P", "-m", "services.router"]
    found = {"ours": Program("**the router**", ours, messages=fast, user="router")}
    if (copy := copy_program(say)) is not None:
        command = [str(copy), *_for_c(amqp_url)]
        found["c"] = Program("C (librabbitmq): copies, decides nothing", command, messages=fast)
    if (python := peers_python(say)) is not None:

        def peer(module: str) -> list[str]:
            return [str(python), "-P", "-m", f"benchmarks.peers.{module}"]

        found |= {
            "aio_pika": Program("aio-pika", peer("with_aio_pika")),
            "faststream": Program("FastStream", peer("with_faststream")),
            "naive": Program(
                "pika, one message at a time", peer("naive_pika"), messages=one_by_one
            ),
            "celery": Program(
                "Celery (solo)", peer("with_celery"), messages=one_by_one, shape=as_celery_task
            ),
        }
    return found | {
        f"ours_{n}": Program(f"the router, {n} processes", ours, n, messages=fast, user="router")
        for n in (2, 4)
    }


def _for_c(amqp_url: str) -> list[str]:
    parts = urlsplit(amqp_url)
    return [
        parts.hostname or "",
        str(parts.port),
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        unquote(parts.path[1:]),
        ROUTER_QUEUE,
        EVENTS,
        "item.accepted.sentiment",
    ]


def once(
    program: Program, count: int, bench: Traffic, servers: Servers, *, logged: bool
) -> Emptied:
    """One filling of the queue, emptied by fresh processes of this program."""
    bench.copies_for_the_log(logged)
    bench.fill(count, program.shape)
    commands = [program.command] * program.processes
    url = servers.rabbitmq.url_of(program.user)
    with processes(commands, servers, AMQP_URL=url, HITL_ROUTER_PORT="0") as started:
        emptied = bench.emptied(started, count)
    if (bench.depth(LOG_QUEUE) > 0) != logged:
        raise SystemExit(
            f"{program.title} has changed who gets the events: this measured another job"
        )
    return emptied


def measure(say: Console, *, quick: bool) -> Report:
    """Rounds in which all take turns."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    runs: Runs = defaultdict(list)
    with servers() as running, traffic(running.amqp_url, running.broker_pid) as bench:
        everybody = programs(say, running.amqp_url)
        judged = {"ours", *(ratio.removeprefix("vs_") for ratio in AIMS)}
        few = {name: program for name, program in everybody.items() if name in judged}
        turns = [(few, False)] if quick else [(everybody, False), (few, True)]
        for number, (taking_part, logged) in product(range(rounds), turns):
            for name, program in taking_part.items():
                run = once(program, program.messages[quick], bench, running, logged=logged)
                runs[name, logged].append(run)
                say.print(
                    f"round {number + 1} of {rounds}{', with the log' * logged}: {name} "
                    f"{run.messages_per_second:,.0f} messages/s, CPU µs: "
                    f"{run.client_us:.0f} client, {run.broker_us:.0f} broker"
                )
    return _report(turns, runs)


def _report(turns: Sequence[tuple[Mapping[str, Program], bool]], runs: Runs) -> Report:
    result: dict[str, float] = {}
    tables = [_table(those, runs, result, logged=logged) for those, logged in turns]
    return Report(
        name="router",
        title="Router",
        text="Events of 600 bytes of JSON, persistent, on quorum queues: read, validated, decided, "
        "published with confirms, acked after the confirm. One process each unless it says "
        "otherwise; queue filled beforehand, between 10 and 95 % of it counts. The Python peers "
        "validate with the same models and keep up to 1 000 messages in flight where their "
        "library can; Celery gets the same bodies as tasks. First the job alone, from one queue "
        "into another; then with the logger's copy of each event in a second queue, as in the "
        "product. There the broker, on the same cores, has more to do for everybody, and the less "
        "a program needs for itself, the more of its speed that costs.",
        tables=tables,
        bars=Bars(
            "messages a second, one process, one queue into another",
            {
                program.title.strip("*"): result[f"{name}_per_s"]
                for name, program in turns[0][0].items()
                if program.processes == 1
            },
        ),
        result=result,
        floors=FLOORS,
    )


def _table(
    taking_part: Mapping[str, Program], runs: Runs, result: dict[str, float], *, logged: bool
) -> Table:
    """One way of routing; its numbers are added to the result."""
    rows: list[Sequence[str]] = []
    suffix = "_logged" if logged else ""
    ours = [run.messages_per_second for run in runs["ours", logged]]
    for name, program in taking_part.items():
        speeds = [run.messages_per_second for run in runs[name, logged]]
        speed = Spread.of(speeds)
        client = Spread.of([run.client_us for run in runs[name, logged]])
        broker = Spread.of([run.broker_us for run in runs[name, logged]])
        result |= {
            f"{name}{suffix}_per_s": round(speed.median),
            f"{name}{suffix}_client_us": round(client.median, 1),
            f"{name}{suffix}_broker_us": round(broker.median, 1),
        }
        against = ""
        if not name.startswith("ours"):
            spread = ratio(ours, speeds)
            result |= ratios(f"vs_{name}{suffix}", spread)
            against = str(spread)
        elif name != "ours":
            result |= ratios(f"scaling_{program.processes}{suffix}", ratio(speeds, ours))
        aim = AIMS.get(f"vs_{name}")
        rows.append(
            (
                program.title,
                str(speed),
                against,
                "" if aim is None else f"≥ {aim:g}",
                short(client.median),
                short(broker.median),
            )
        )
    where = "into the accepted queue and `hitl.log`" if logged else "from one queue into one other"
    return Table((where, "messages/s", "ours / theirs", "aim", "client µs", "broker µs"), rows)


def main() -> None:
    given = options("router", __doc__)
    say = Console(stderr=True, quiet=given.json)
    publish(measure(say, quick=given.quick), given)


if __name__ == "__main__":
    main()
