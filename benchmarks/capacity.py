"""How many of what do so many items a second need, what does it cost, where does it break first?

Measures what an item costs each part (`benchmarks.capacity_measure`), takes the rest from
docs/benchmarks/, and writes the tables and the picture of docs/operate/scaling.md; --recorded does
without measuring. --quick writes nothing: it plans for your share, your seconds a review and
your prices.
"""

import argparse
import json
import os

from rich.console import Console

from benchmarks import capacity_plot
from benchmarks.capacity_measure import measure
from benchmarks.capacity_model import BUSY, Costs, Work, plan, predicted_core_seconds
from benchmarks.capacity_page import RATES, tables, write_tables
from benchmarks.report import DOCS, Report, options, publish

ITEMS, WAITING = 2_000, 5_000
SECONDS, HOURS = 10.0, 24.0
PAGE = DOCS / "operate" / "scaling.md"
PICTURE = DOCS / "images" / "capacity.svg"
# Predicted over measured items/s: further off, and the model says nothing.
FLOORS = {"vs_measured": 0.5, "measured_vs": 0.5}
_NUMBERS = (
    ("--share", None, "of the items that people decide; else as measured"),
    ("--seconds", SECONDS, "a review"),
    ("--hours", HOURS, "a day that reviewers work"),
    ("--core-month", 0.0, "price of a core"),
    ("--gb-month", 0.0, "price of a stored GB"),
    ("--reviewer-hour", 0.0, "price of an hour of a person"),
)


def recorded() -> dict[str, dict[str, float]]:
    """The results that benchmarks have left in docs/benchmarks, by name."""
    files = (DOCS / "benchmarks").glob("*.json")
    return {path.stem: json.loads(path.read_text())["result"] for path in files}


def report(known: dict[str, dict[str, float]], work: Work) -> Report:
    """Everything that follows from the results in `known`."""
    measured = known["capacity"]
    costs = Costs.of(measured, known["router"], known["logger"])
    core = predicted_core_seconds(
        known["inference"], known["router"], known["logger"], costs.events
    )
    ratio = sum(costs.cpu.values()) / core
    cores = {f"cores_at_{rate}": round(plan(rate, costs, work).cores, 2) for rate in RATES}
    return Report(
        name="capacity",
        title="Capacity",
        text="What an item costs each part, in processor time of the whole pipeline at work. Where "
        "the plans come from and what they are worth: [scaling.md](../operate/scaling.md).",
        tables=list(tables(costs, work, known).values()),
        result={
            **measured,
            "ceiling_items_per_s": round(BUSY * costs.ceiling[1]),
            **cores,
            "vs_measured": round(ratio, 3),
            "measured_vs": round(1 / ratio, 3),
        },
        floors=FLOORS,
    )


def work_of(given: argparse.Namespace, measured_share: float) -> Work:
    """What the command line says, else what was measured or is usual."""
    share = measured_share if given.share is None else given.share
    return Work(
        share, given.seconds, given.hours, given.core_month, given.gb_month, given.reviewer_hour
    )


def main() -> None:
    numbers = [
        (flag, {"type": float, "default": default, "metavar": "N", "help": about})
        for flag, default, about in _NUMBERS
    ]
    again = ("--recorded", {"action": "store_true", "help": "with what was measured last"})
    given = options("capacity", __doc__, *numbers, again)
    known = recorded()
    if not (given.quick or given.recorded):
        found = measure(Console(stderr=True, quiet=given.json), ITEMS, WAITING)
        known["capacity"] = {**found, "machine_cores": float(os.cpu_count() or 1)}
    work = work_of(given, known["capacity"]["review_share"])
    if not given.quick:
        costs = Costs.of(known["capacity"], known["router"], known["logger"])
        write_tables(PAGE, tables(costs, work, known))
        capacity_plot.draw(PICTURE, costs, work)
    publish(report(known, work), given)


if __name__ == "__main__":
    main()
