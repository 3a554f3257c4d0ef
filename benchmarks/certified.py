"""What does a threshold with a guarantee do when the stream changes, beside one without?

All services on servers of their own. Movie snippets come, which the model knows how to judge; when
a threshold is certified, part of them goes through alone; then tweets come. The data's own raters
review. Beside it, computed on the same stream: the last threshold certified before the change, kept
for good.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pika
import psycopg2
from rich.console import Console

from benchmarks.harness import Servers, processes, servers
from benchmarks.raters import Raters
from benchmarks.report import DOCS, Report, Table, options, publish
from hitl.servers.home import Home
from hitl.servers.ports import free_ports
from services.feedback.training import rated_texts
from services.feedback.training.rated_texts import Snippet
from shared.messaging.connection import declare_all
from shared.storage.migration import migrate
from shared.topology import ITEMS, topology

ALPHA, DELTA = 0.10, 0.10
PANEL_RATE = 0.10
RATE = 25.0  # items a second; the log's margin of ten seconds is 250 of them
PATIENCE_SECONDS = 120.0
WINDOW = 250  # items a point of the picture
SERVICES = ("inference", "router", "review_ui", "logger", "feedback")
_WORKFLOW = f"""
[workflow]
name = "sentiment"
labels = ["negative", "positive"]
model = "embedded"

[policy]
mode = "certified"
threshold = 0.5

[policy.certificate]
alpha = {ALPHA}
delta = {DELTA}
sla_hours = 1

[policy.panel]
rate = {PANEL_RATE}
"""
_PERSISTENT = pika.BasicProperties(delivery_mode=2, content_type="application/json")
_ROUTES = """
    SELECT e.item_id, e.type = 'item.accepted',
           (e.data #>> '{prediction,confidence}')::float8, e.data #>> '{prediction,label}',
           coalesce(e.data #>> '{decision,threshold}', e.data #>> '{routing,threshold}')::float8,
           coalesce(e.data #>> '{decision,certificate_version}',
                    e.data #>> '{routing,certificate_version}'),
           e.occurred_at
    FROM event e WHERE e.type IN ('item.accepted', 'item.review_requested')
"""


@dataclass(frozen=True)
class Routed:
    """What became of an item; `wrong`: whether the AI's label is not that of the published mean."""

    phase: str
    accepted: bool
    confidence: float
    wrong: bool
    threshold: float | None
    certificate: str | None
    at: datetime


@dataclass
class Stage:
    """A part of the stream."""

    name: str
    texts: Sequence[Snippet]
    items: list[Routed] = field(default_factory=list)


def stages(data: Path, quick: bool) -> list[Stage]:
    """The movie snippets that the model was not trained on, then the tweets, each shuffled."""
    split = rated_texts.split_movies(data)
    movies = [*split.calibration, *split.held_out]
    tweets = rated_texts.snippets(data, "tweets")
    chance = random.Random(2014)
    chance.shuffle(movies)
    chance.shuffle(tweets)
    most = 1_500 if quick else len(tweets)
    return [Stage("movie snippets", movies[:most]), Stage("tweets", tweets[:most])]


@contextmanager
def stack(running: Servers) -> Iterator[str]:
    """All services; the address of the review service."""
    folder = running.home / "workflows"
    folder.mkdir()
    (folder / "sentiment.toml").write_text(_WORKFLOW)
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    settings = {
        "HITL_WORKFLOWS_DIR": str(folder),
        "HITL_UNDO_SECONDS": "0",
        "HITL_HIGHLIGHTS": "false",
        "HITL_SESSION_SECRET": "a secret of the benchmark, 32 bytes or more",
        "HITL_PANEL_SALT": "a salt of the benchmark",
        **{
            f"HITL_{name.removesuffix('_ui').upper()}_PORT": str(port)
            for name, port in ports.items()
        },
    }
    commands = [[sys.executable, "-P", "-m", f"services.{name}"] for name in SERVICES]
    with processes(commands, running, **settings):
        for port in ports.values():
            _until(partial(_ready, port), "a service is not ready")
        yield f"http://127.0.0.1:{ports['review_ui']}"


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).is_success
    except httpx.TransportError:
        return False


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.2)


def stream(amqp_url: str, texts: Sequence[Snippet], rate: float, raters: Raters) -> None:
    """Publishes them in even steps; waits while people are far behind, as a shop would not: what
    is measured is counted in items, not in seconds."""
    with closing(pika.BlockingConnection(pika.URLParameters(f"{amqp_url}?heartbeat=0"))) as held:
        channel = held.channel()
        started = time.monotonic()
        for number, snippet in enumerate(texts):
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
            body = json.dumps({"id": snippet.id, "text": snippet.text}).encode()
            channel.basic_publish(ITEMS, "sentiment", body, _PERSISTENT)
            if raters.problem is not None:
                raise RuntimeError(raters.problem)


def routed(database_url: str, phases: Sequence[Stage]) -> list[Routed]:
    """Every item's route in the order of routing, and the stages filled with theirs."""
    truth = {snippet.id: (stage, snippet) for stage in phases for snippet in stage.texts}
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(_ROUTES)
        rows = sorted(cursor.fetchall(), key=lambda row: (row[6], row[0]))
    found = []
    for item_id, accepted, confidence, label, threshold, certificate, at in rows:
        stage, snippet = truth[item_id]
        wrong = label != snippet.label
        each = Routed(stage.name, accepted, confidence, wrong, threshold, certificate, at)
        stage.items.append(each)
        found.append(each)
    return found


def measure(say: Console, given: argparse.Namespace) -> Report:
    data = Home.from_environment({}).data if given.data is None else Path(given.data)
    rated_texts.fetch(data)
    phases = stages(data, given.quick)
    everything = [snippet for stage in phases for snippet in stage.texts]
    with servers(database=True) as running:
        migrate(running.database_url)
        declare_all(running.amqp_url, topology(["sentiment"], (5, 30, 300)))
        with stack(running) as url:
            raters = Raters(url, {snippet.id: snippet for snippet in everything})
            raters.register(running.database_url)
            raters.start()
            for stage in phases:
                say.print(f"{len(stage.texts)} {stage.name} at {given.rate:g} a second")
                stream(running.amqp_url, stage.texts, given.rate, raters)
            _until(lambda: _count(running, _ROUTED) == len(everything), "not all were routed")
            _until(lambda: _count(running, _OPEN) == 0, "not all were reviewed")
            raters.stop()
            log = routed(running.database_url, phases)
            certificates = _rows(running, _CERTIFICATES)
            epochs = _rows(running, _EPOCHS)
    picture = None if given.quick else DOCS / "images" / "certified-run.svg"
    return _report(phases, log, certificates, epochs, raters.reviews, picture)


_ROUTED = "SELECT count(*) FROM event WHERE type IN ('item.accepted', 'item.review_requested')"
_OPEN = "SELECT count(*) FROM review_task WHERE status = 'open'"
_CERTIFICATES = "SELECT issued_at, threshold, labels, errors FROM certificate ORDER BY issued_at"
_EPOCHS = "SELECT started_at, ended_at, ended_reason FROM certification_epoch ORDER BY started_at"


def _count(running: Servers, query: str) -> int:
    return int(_rows(running, query)[0][0])


def _rows(running: Servers, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(running.database_url)) as held, held.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def _first(log: Sequence[Routed], where: Callable[[Routed], bool]) -> int | None:
    return next((number for number, each in enumerate(log) if where(each)), None)


def _per_thousand(log: Sequence[Routed], taken: Callable[[Routed], bool]) -> float:
    """Wrong decisions of the machine among 1 000 items of the stream."""
    return 1e3 * sum(each.wrong and taken(each) for each in log) / max(1, len(log))


def _share(log: Sequence[Routed], taken: Callable[[Routed], bool]) -> float:
    return sum(map(taken, log)) / max(1, len(log))


def _error(log: Sequence[Routed], taken: Callable[[Routed], bool]) -> float:
    return _share([each for each in log if taken(each)], lambda each: each.wrong)


def _report(
    phases: Sequence[Stage],
    log: Sequence[Routed],
    certificates: Sequence[tuple[Any, ...]],
    epochs: Sequence[tuple[Any, ...]],
    reviews: int,
    picture: Path | None,
) -> Report:
    certified_at = _first(log, lambda each: each.threshold is not None)
    if certified_at is None:
        raise SystemExit("no threshold was certified: send more items")
    shift = len(phases[0].items)
    alarm_at = _first(log[shift:], lambda each: each.threshold is None)
    again_at = (
        None
        if alarm_at is None
        else _first(log[shift + alarm_at :], lambda each: each.threshold is not None)
    )
    last = next(each.threshold for each in reversed(phases[0].items) if each.threshold is not None)

    def kept(each: Routed) -> bool:
        return each.confidence >= last

    def guarded(each: Routed) -> bool:
        return each.accepted

    tweets = phases[1].items
    after = phases[0].items[certified_at:]
    stretches: list[tuple[str, Sequence[Routed]]] = [
        ("movie snippets, once certified", after),
        ("tweets, until the alarm", tweets[: alarm_at or len(tweets)]),
        ("tweets, from the alarm on", tweets[alarm_at:] if alarm_at is not None else []),
        ("tweets, all", tweets),
    ]
    rows = [
        (
            name, f"{len(part):,}",
            f"{_share(part, guarded):.0%}", f"{_error(part, guarded):.1%}",
            f"{_per_thousand(part, guarded):.0f}",
            f"{_share(part, kept):.0%}", f"{_error(part, kept):.1%}",
            f"{_per_thousand(part, kept):.0f}",
        )
        for name, part in stretches
    ]  # fmt: skip
    if picture is not None:
        draw(log, shift, last, picture)
    steps = [
        f"certified after {certified_at:,} items, at {log[certified_at].threshold:.3f}",
        "no alarm" if alarm_at is None else f"alarm {alarm_at:,} items after the change",
    ]
    if alarm_at is not None:
        steps.append(
            "not certified again"
            if again_at is None
            else f"certified again {again_at:,} items later, at "
            f"{log[shift + alarm_at + again_at].threshold:.3f}"
        )
    return Report(
        name="certified",
        title="A threshold with a guarantee",
        text=f"At most {ALPHA:.0%} of what the machine decides may be wrong, at a risk of "
        f"{DELTA:.0%}; the audit panel takes {PANEL_RATE:.0%} once certified. {len(log):,} items, "
        f"{reviews:,} answers by three simulated raters, whose labels are recorded ratings of "
        "people (Hutto & Gilbert 2014), and by a lead, who settles disputes by the mean of all "
        "ratings, so always rightly. " + "; ".join(steps) + ". Without the monitor: "
        "the last threshold certified on movie snippets, kept for good, on the same stream. Wrong "
        "is what differs from the sign of the mean rating of all raters.\n\n"
        "![Who decides, and how often the machine is wrong](../images/certified-run.svg)",
        tables=[
            Table(
                (
                    "stretch",
                    "items",
                    "machine decides",
                    "of these wrong",
                    "wrong per 1 000 items",
                    "without: decides",
                    "wrong",
                    "per 1 000",
                ),
                rows,
            )
        ],
        result={
            "certified_after_items": certified_at,
            "alarm_after_items": -1 if alarm_at is None else alarm_at,
            "recertified_after_items": -1 if again_at is None else again_at,
            "wrong_per_1000_tweets": round(_per_thousand(tweets, guarded), 2),
            "wrong_per_1000_tweets_without": round(_per_thousand(tweets, kept), 2),
            "error_certified_movies": round(_error(after, guarded), 4),
            "reviews": reviews,
            "certificates": len(certificates),
            "epochs": len(epochs),
        },
    )


def draw(log: Sequence[Routed], shift: int, kept: float, path: Path) -> None:
    """Who decides, and how often the machine is wrong, over the stream."""
    from matplotlib.figure import Figure

    starts = range(0, len(log), WINDOW)
    parts = [log[start : start + WINDOW] for start in starts]
    middle = [start + len(part) / 2 for start, part in zip(starts, parts, strict=True)]
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    figure.patch.set_facecolor("white")
    above, below = figure.subplots(2, 1, sharex=True)
    lines: Mapping[str, tuple[Callable[[Routed], bool], str]] = {
        "with the certificate": (lambda each: each.accepted, "#2f7ed8"),
        "threshold kept for good": (lambda each: each.confidence >= kept, "#d9822b"),
    }
    for name, (taken, color) in lines.items():
        above.plot(middle, [100 * _share(part, taken) for part in parts], color=color, label=name)
        wrong = [_per_thousand(part, taken) for part in parts]
        below.plot(middle, wrong, color=color, label=name)
    above.set_ylabel("decided by the machine, %")
    below.set_ylabel("wrong per 1 000 items")
    below.set_xlabel("items")
    for axis in (above, below):
        axis.axvline(shift, color="#7a7a7a", linestyle="--", linewidth=1)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    above.text(shift, above.get_ylim()[1], " tweets from here on", va="top", color="#7a7a7a")
    below.legend(frameon=False, loc="upper left")  # where the lines are low
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    given = options(
        "certified",
        __doc__,
        ("--rate", {"type": float, "default": RATE, "help": "items a second"}),
        ("--data", {"default": None, "help": "folder of the rated texts"}),
    )
    say = Console(stderr=True, quiet=given.json)
    publish(measure(say, given), given)


if __name__ == "__main__":
    main()
