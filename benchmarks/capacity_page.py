"""How do plans become the tables of docs/operate/scaling.md, and a picture?"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.capacity_model import (
    BUSY,
    PARTS,
    PEOPLE_BUSY,
    Costs,
    Work,
    most_items,
    plan,
    predicted_core_seconds,
)
from benchmarks.capacity_queues import Stage, lognormal, mean_wait, poisson, serve, through
from benchmarks.harness import quantile, short
from benchmarks.report import Table

RATES = (1, 10, 1_000, 100_000)
TEAMS = (1, 5, 20, 100)
VARIATION = 1.0  # standard deviation of a review over its mean
SIMULATED = 20_000
BATCH = 32  # what an inference worker takes at most


def tables(
    costs: Costs, work: Work, recorded: Mapping[str, Mapping[str, float]]
) -> dict[str, Table]:
    """By the name of their place on the page. `recorded`: results of other benchmarks."""
    return {
        "costs": _costs(costs),
        "machines": _machines(costs, work),
        "storage": _storage(costs, work),
        "limits": _limits(costs),
        "people": _people(work),
        "checks": Table(("what", "predicted", "measured", "ratio"), checks(costs, recorded)),
    }


def _costs(costs: Costs) -> Table:
    rows = [
        (part, f"{1e6 * costs.cpu[part]:,.0f}", f"{1 / costs.cpu[part]:,.0f}") for part in PARTS
    ]
    rows.append(
        (
            "inference, highlights of an item that people decide",
            f"{1e6 * costs.explaining:,.0f}",
            f"{1 / costs.explaining:,.0f}",
        )
    )
    every = sum(costs.cpu.values())
    rows.append(("**all, without highlights**", f"{1e6 * every:,.0f}", f"**{1 / every:,.0f}**"))
    return Table(("part", "µs of a core, an item", "items/s of a core"), rows)


def _machines(costs: Costs, work: Work) -> Table:
    parts = ("inference", "router", "review_ui", "logger")
    rows = []
    for rate in RATES:
        found = plan(rate, costs, work)
        processes = [f"{found.processes[part]:,}" for part in parts]
        cores = [_number(found.cores), _number(found.highlight_cores)]
        rows.append([f"{rate:,}", f"{found.deployments:,}", *processes, *cores])
    return Table(("items/s", "deployments", *parts, "cores", "for highlights"), rows)


def _storage(costs: Costs, work: Work) -> Table:
    priced = bool(work.core_month or work.gb_month or work.reviewer_hour)
    rows = []
    for rate in RATES:
        found = plan(rate, costs, work)
        rows.append(
            [
                f"{rate:,}",
                f"{_number(found.database_gb_day)} GB",
                f"{_number(found.wal_mb_s)} MB/s",
                f"{_number(found.backlog_gb_hour)} GB",
                f"{found.reviewer_hours_day:,.0f}",
                f"{found.reviewers:,}",
                *([f"{found.price(work):,.0f}"] if priced else []),
            ]
        )
    stored = ("database a day", "log", "queues an hour", "reviewer hours a day", "reviewers")
    return Table(("items/s", *stored, *(["price a month"] if priced else [])), rows)


def _limits(costs: Costs) -> Table:
    ordered = sorted(costs.ceilings.items(), key=lambda one: one[1])
    return Table(
        ("what stands in the way", "items/s", f"planned with ({BUSY:.0%})"),
        [(name, f"{most:,.0f}", f"{BUSY * most:,.0f}") for name, most in ordered],
    )


def _people(work: Work) -> Table:
    rows = []
    for team in TEAMS:
        rate = team * PEOPLE_BUSY / work.seconds
        waits = simulated_waits(team, work.seconds, PEOPLE_BUSY)
        closed = mean_wait(team, rate, work.seconds, VARIATION)
        rows.append(
            (
                str(team),
                _number(most_items(team, work)),
                _seconds(closed),
                _seconds(sum(waits) / len(waits)),
                *(_seconds(quantile(waits, share)) for share in (0.5, 0.9, 0.99)),
            )
        )
    columns = ("reviewers", "items/s in all", "mean wait, closed form", "simulated")
    return Table((*columns, "p50", "p90", "p99"), rows)


def simulated_waits(team: int, seconds: float, busy: float) -> list[float]:
    """Seconds until somebody takes a question up, after a warm-up."""
    chance = random.Random(2)
    arrivals = poisson(team * busy / seconds, SIMULATED, chance)
    served = serve(Stage(team, lognormal(seconds, VARIATION)), arrivals, chance)
    waits = [taken - came for (taken, _), came in zip(served, arrivals, strict=True)]
    return waits[SIMULATED // 10 :]


def checks(costs: Costs, recorded: Mapping[str, Mapping[str, float]]) -> list[Sequence[str]]:
    """What the model says of what was measured, on the machine that measured it."""
    inference, pipeline, own = (
        recorded["inference"], recorded.get("pipeline"), recorded["capacity"],
    )  # fmt: skip
    core = predicted_core_seconds(inference, recorded["router"], recorded["logger"], costs.events)
    found = [
        ("whole pipeline, items/s of a core: by the parts' own benchmarks, and at work together",
         1 / core, 1 / sum(costs.cpu.values()))
    ]  # fmt: skip
    per_process = inference["short_ours_per_s"] / own["machine_cores"]
    found += _delays("a text scored", 1, per_process, own, inference, "short", (50, 80))
    if pipeline is not None:
        speed, cores = pipeline["items_per_s"], own["machine_cores"]
        found.append(("whole pipeline, items/s of the machine", cores / core, speed))
        what = "publish to decision"
        found += _delays(what, int(cores), speed / cores, own, pipeline, "latency", (50,))
    return [(what, short(one), short(two), f"{one / two:.2f}") for what, one, two in found]


def _delays(
    what: str,
    servers: int,
    per_server: float,
    own: Mapping[str, float],
    measured: Mapping[str, float],
    name: str,
    loads: Sequence[int],
) -> list[tuple[str, float, float]]:
    """Simulated and measured milliseconds: texts of 5 to 60 words cost what their length is, each
    call what a call costs, and full batches `per_server` texts a second."""
    slower = 1 / per_server / (own["text_cpu_s"] + own["call_cpu_s"] / BATCH)

    def seconds(chance: random.Random) -> float:
        return slower * own["text_cpu_s"] * chance.randint(5, 60) / 32.5

    rows = []
    for load in loads:
        stage = Stage(servers, seconds, BATCH, slower * own["call_cpu_s"])
        arrivals = poisson(load / 100 * servers * per_server, SIMULATED, random.Random(2))
        delays = through([stage], arrivals)
        for share in (50, 99):
            key = f"{name}_p{share}_ms_at_{load}"
            told = 1e3 * quantile(delays, share / 100)
            rows.append((f"{what}, ms, p{share} at {load} % load", told, measured[key]))
    return rows


def write_tables(page: Path, found: Mapping[str, Table]) -> None:
    """Puts each between `<!-- NAME -->` and `<!-- end -->`.

    Raises:
        ValueError: the page has no place for one.
    """
    text = page.read_text()
    for name, table in found.items():
        cells = [table.columns, ["---"] * len(table.columns), *table.rows]
        lines = "\n".join(f"| {' | '.join(row)} |" for row in cells)
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise ValueError(f"{page} has no place for {name}")
        text = f"{before}{begin}{lines}\n{end}{after}"
    page.write_text(text)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 10 else f"{value:.1f} s"
