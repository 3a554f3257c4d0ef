"""How fast is the review page and its API?

Real Chromium, real Postgres, the whole web application in a process of its own; rounds of the
variants alternate, and the medians over the rounds are reported. With --label-studio, a Label
Studio that runs on the same machine takes its turn in each round.
"""

import argparse
import asyncio
import os
import signal
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from rich.console import Console

from benchmarks.delayed import delayed
from benchmarks.harness import quantile, short
from benchmarks.label_studio import LabelStudio
from benchmarks.report import Report, Table, options, publish
from benchmarks.review_browser import Stream, key_times
from benchmarks.review_cards import measure as measure_cards
from benchmarks.review_desk import CLAIM, Bench, databases, server

PEOPLE = (1, 4, 8)
REVIEWERS = (50, 200)
THINK_SECONDS = 2.0


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int = 3
    keys: int = 25  # in a round
    seconds: float = 3.0  # of a round of decisions
    thinking_seconds: float = 15.0
    backlog: int = 1_000_000
    backlog_rounds: int = 5
    claims: int = 40  # of CLAIM tasks each, in a round of the backlog's comparison
    label_studio_tasks: int = 6_000


QUICK = Sizes(
    rounds=1,
    keys=6,
    seconds=1.0,
    thinking_seconds=5.0,
    backlog=20_000,
    backlog_rounds=1,
    claims=10,
    label_studio_tasks=600,
)


def card(url: str) -> Stream:
    """Our page, where one key accepts what the AI says."""
    return Stream(url, '.rv[data-state="task"] [data-id="item"]', ("a",), account="bench")


def key_to_next(bench: Bench, studio: LabelStudio | None, sizes: Sizes) -> dict[str, float]:
    """Milliseconds from a key to the next item, without and with a round trip of 100 ms."""
    times: dict[str, list[float]] = {}
    with delayed(int(bench.url.rpartition(":")[2]), 0.1) as slow:
        for _ in range(sizes.rounds):
            streams = {"": card(bench.url), "_100ms": card(f"http://127.0.0.1:{slow}")}
            if studio is not None:
                streams["_label_studio"] = studio.stream()
            for variant, stream in streams.items():
                times.setdefault(variant, []).extend(key_times(stream, sizes.keys))
    found = {
        f"key_to_next{variant}_p{share}_ms": round(quantile(taken, share / 100), 2)
        for variant, taken in times.items()
        for share in (50, 95)
    }
    if studio is not None:
        theirs, ours = quantile(times["_label_studio"], 0.5), quantile(times[""], 0.5)
        found["vs_label_studio_key_to_next"] = round(theirs / ours, 2)
    return found


def decisions_per_second(
    bench: Bench, studio: LabelStudio | None, sizes: Sizes
) -> dict[str, float]:
    """Decisions a second at 1, 4 and 8 at once, their claims included; Label Studio's annotations
    without asking for tasks, and of one who asks for each."""
    ours: dict[int, list[float]] = {people: [] for people in PEOPLE}
    theirs: dict[int, list[float]] = {people: [] for people in PEOPLE}
    asking: list[float] = []
    for _ in range(sizes.rounds):
        for people in PEOPLE:
            ours[people].append(asyncio.run(bench.work(people, sizes.seconds))[1])
            if studio is not None:
                theirs[people].append(asyncio.run(studio.annotate(people, sizes.seconds)))
        if studio is not None:
            asking.append(asyncio.run(studio.take_and_annotate(sizes.seconds)))
    rates = {f"decisions_per_s_{n}": _median(rate) for n, rate in ours.items()}
    found = {"decisions_per_s": rates[f"decisions_per_s_{PEOPLE[-1]}"], **rates}
    if studio is not None:
        for n, rate in theirs.items():
            found[f"label_studio_annotations_per_s_{n}"] = _median(rate)
            found[f"vs_label_studio_decisions_{n}"] = _ratio(ours[n], rate)
        found["label_studio_next_and_annotate_per_s"] = _median(asking)
        found["vs_label_studio_next_and_decide"] = _ratio(ours[1], asking)
        found["vs_label_studio"] = found[f"vs_label_studio_decisions_{PEOPLE[-1]}"]
        found["label_studio_errors"] = studio.errors
    return found


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 1)


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Round by round: what slows the machine in a round slows both."""
    pairs = zip(ours, theirs, strict=True)
    return round(statistics.median(one / other if other else 0.0 for one, other in pairs), 2)


def thinking(bench: Bench, sizes: Sizes) -> dict[str, float]:
    """Milliseconds of a decision while many reviewers work, each thinking between decisions."""
    found: dict[str, float] = {}
    for people in REVIEWERS:
        taken, _ = asyncio.run(bench.work(people, sizes.thinking_seconds, THINK_SECONDS))
        for share in (50, 95):
            milliseconds = round(quantile(taken, share / 100), 2)
            found[f"submit_{people}_reviewers_p{share}_ms"] = milliseconds
            if people == REVIEWERS[0]:
                found[f"submit_p{share}_ms"] = milliseconds
    return found


def with_backlog(empty: Bench, full: Bench, sizes: Sizes) -> dict[str, float]:
    """The p95 of claim and decision, where hardly more waits than is taken and where a backlog
    waits. The rounds of the two alternate; medians, and the least and most of the ratios."""
    full.fill(sizes.backlog)
    found: dict[str, list[float]] = {}
    for number in range(sizes.backlog_rounds + 1):
        for name, bench in (("", empty), ("_backlog", full)):
            bench.fill(CLAIM * sizes.claims + CLAIM)
            claims, decisions = bench.one_by_one(sizes.claims)
            if number:  # the first round warms
                found.setdefault(f"claim_p95{name}_ms", []).append(quantile(claims, 0.95))
                found.setdefault(f"decide_p95{name}_ms", []).append(quantile(decisions, 0.95))
    result = {name: round(statistics.median(values), 2) for name, values in found.items()}
    for what in ("claim", "decide"):
        pairs = zip(found[f"{what}_p95_backlog_ms"], found[f"{what}_p95_ms"], strict=True)
        ratios = sorted(with_it / without for with_it, without in pairs)
        name = f"{what}_p95_backlog_ratio"
        result[name] = round(statistics.median(ratios), 2)
        result[f"{name}_min"], result[f"{name}_max"] = round(ratios[0], 2), round(ratios[-1], 2)
    return {**result, "backlog_tasks": sizes.backlog, "backlog_rounds": sizes.backlog_rounds}


@contextmanager
def peer(given: argparse.Namespace, sizes: Sizes, say: Console) -> Iterator[LabelStudio | None]:
    """The user's Label Studio with a project, where one was named."""
    if not given.label_studio:
        say.print(
            "Next to Label Studio: start one on this machine, make a personal access token there, "
            "then --label-studio URL --label-studio-token TOKEN.",
            soft_wrap=True,
        )
        yield None
        return
    studio = LabelStudio(given.label_studio, given.label_studio_token)
    with studio.project(sizes.label_studio_tasks):
        say.print(f"Label Studio {studio.version} takes its turns.")
        yield studio


def measure(say: Console, sizes: Sizes, given: argparse.Namespace) -> dict[str, float]:
    """Everything, one after the other."""
    found: dict[str, float] = {}
    with databases() as (one, other), server(one) as bench:
        bench.fill(20_000)
        asyncio.run(bench.work(4, 1.0))  # warm
        with ExitStack() as stack:
            studio = stack.enter_context(peer(given, sizes, say))
            say.print("key to next item, in Chromium …")
            found |= key_to_next(bench, studio, sizes)
            say.print("decisions a second …")
            found |= decisions_per_second(bench, studio, sizes)
        say.print(f"{REVIEWERS} reviewers who think for {THINK_SECONDS:.0f} s …")
        found |= thinking(bench, sizes)
        say.print(f"claim and decision with {sizes.backlog:,} waiting tasks, and with hardly any …")
        with server(other) as empty:
            found |= with_backlog(empty, bench, sizes)
    return found


def cards(say: Console, sizes: Sizes) -> Report:
    """Each kind's card by itself, where nothing else is at work."""
    with databases() as (one, _), server(one) as bench:
        bench.fill(2_000)
        say.print("each card in Chromium …")
        return measure_cards(bench, sizes.rounds, sizes.keys)


def report(found: dict[str, float], sizes: Sizes) -> Report:
    """What was found, as the other measurements say it."""
    return Report(
        name="review",
        title="Review",
        text="In Chromium, from the key until the next item has been handed to the screen, with "
        "and without 100 ms to the server and back; over the API, decisions with their claims; "
        f"people who think {THINK_SECONDS:.0f} s; and ratios of the 95th percentiles with "
        f"{sizes.backlog:,} waiting tasks to those with hardly any, in turns.",
        tables=[Table(("what", "value"), [(name, short(value)) for name, value in found.items()])],
        result=found,
    )


def main() -> None:
    given = options(
        "review",
        __doc__,
        (
            "--cards",
            {"action": "store_true", "help": "only the cards, in the browser"},
        ),
        ("--backlog", {"type": int, "help": "tasks that wait at the end"}),
        (
            "--label-studio",
            {
                "metavar": "URL",
                "default": os.environ.get("LABEL_STUDIO_URL"),
                "help": "of one on this machine, to compare with ($LABEL_STUDIO_URL)",
            },
        ),
        (
            "--label-studio-token",
            {
                "metavar": "TOKEN",
                "default": os.environ.get("LABEL_STUDIO_API_KEY", ""),
                "help": "a personal access token of it ($LABEL_STUDIO_API_KEY)",
            },
        ),
    )
    sizes = QUICK if given.quick else Sizes()
    if given.backlog is not None:
        sizes = replace(sizes, backlog=given.backlog)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started ends with us
    say = Console(stderr=True, quiet=given.json)
    if not given.cards:
        publish(report(measure(say, sizes, given), sizes), given)
    publish(cards(say, sizes), given)


if __name__ == "__main__":
    main()
