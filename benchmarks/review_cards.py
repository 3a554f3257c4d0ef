"""How fast are the cards in the browser: of one label, of several, and of places in a long text?

Real keys and a real mouse in Chromium. From a key to the next item as `review_browser` says; of a
text with many spans the longest frame while somebody works on it.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from playwright.sync_api import Page

from benchmarks.harness import Spread, quantile, short
from benchmarks.report import Report, Table
from benchmarks.review_browser import Stream, key_times, page_at
from benchmarks.review_desk import Bench
from benchmarks.review_server import LABELS, SPANS
from services.review_ui.tasks.intake import Intake
from shared.answers.base import Kind
from shared.clock import utc_now
from shared.events.answered import AnswerItem, AnswerPrediction, AnswerReviewRequested
from shared.events.models import RouteReason, Routing, Sampling
from shared.storage.database import connect

WORDS, PLACES = 5_000, 300
SHOWN = '.rv[data-state="task"] [data-id="item"]'
AIM_KEY_MS, AIM_FRAME_MS = 25, 50
STEPS = 10  # of each kind of work in a round, so many
STEP_MS = 60
_PROSE = (
    "the people who live near the river say that it has changed since Peter Novak came to Prague "
    "with his company in May and nobody else knows why"
)
# Whatever keeps a frame waiting: scripts, styles, layout and paint.
_WATCH = """
    () => {
        window.benchmarkFrames = [];
        let last = performance.now();
        const next = (now) => {
            if (window.benchmarkFrames === null) return;
            window.benchmarkFrames.push(now - last);
            last = now;
            requestAnimationFrame(next);
        };
        requestAnimationFrame((now) => { last = now; requestAnimationFrame(next); });
    }
"""
_FRAMES = (
    "() => { const found = window.benchmarkFrames; window.benchmarkFrames = null; return found; }"
)


class Worked(NamedTuple):
    """A round of one kind of work."""

    frames: list[float]  # milliseconds of each
    cpu_ms: float  # of the page's thread, a step: what other programs do does not count


class Text(NamedTuple):
    """A text with places in it, as an answer of kind spans says them."""

    text: str
    spans: list[dict[str, object]]


def text(words: int, places: int, seed: int) -> Text:
    """Of so many words, in lines, with so many of them labelled."""
    chance = random.Random(seed)
    vocabulary = _PROSE.split()
    drawn = [chance.choice(vocabulary) for _ in range(words)]
    labelled = set(chance.sample(range(words), places))
    start, spans = 0, list[dict[str, object]]()
    for number, word in enumerate(drawn):
        if number in labelled:
            label = chance.choice(SPANS.labels)
            spans.append({"start": start, "end": start + len(word), "label": label})
        start += len(word) + 1
    lines = [" ".join(drawn[at : at + 100]) for at in range(0, words, 100)]
    return Text("\n".join(lines), spans)


def asked(kind: Kind, item_id: str, shown: str, answer: dict[str, object]) -> AnswerReviewRequested:
    """A request for review as the router sends it."""
    now = datetime.now(UTC)
    return AnswerReviewRequested(
        workflow=kind,
        occurred_at=now,
        kind=kind,
        item=AnswerItem(id=item_id, text=shown, received_at=now),
        prediction=AnswerPrediction.model_validate(
            {"kind": kind, "answer": answer, "confidence": 0.6, "model_version": "bench@1"}
        ),
        routing=Routing(
            reasons=(RouteReason(code="below_threshold", text="0.60 is below 0.90"),),
            policy_version="bench",
            threshold=0.9,
            sampling=Sampling(u=0.5, q=0.05, salt_version="s", on_panel=False),
            would_accept=False,
            blind=False,
            queue="default",
            priority=0,
            routed_at=now,
        ),
    )


def fill(bench: Bench, prefix: str, count: int) -> None:
    """Items with several labels, with few spans, and with many, each in its queue."""
    events: list[tuple[AnswerReviewRequested, None]] = []
    for number in range(count):
        short_one, long_one = text(60, 5, number), text(WORDS, PLACES, number)
        items: list[tuple[Kind, str, Text, dict[str, object]]] = [
            ("labels", "default", short_one, {"labels": list(LABELS.labels[:2])}),
            ("spans", "default", short_one, {"spans": short_one.spans}),
            ("spans", "long", long_one, {"spans": long_one.spans}),
        ]
        for kind, queue, given, answer in items:
            event = asked(kind, f"{prefix}{queue}-{number}", given.text, answer)
            routing = event.routing.model_copy(update={"queue": queue})
            events.append((event.model_copy(update={"routing": routing}), None))
    engine = connect(bench.database_url)
    Intake(engine, utc_now).open_tasks(events)
    engine.dispose()


def cards(url: str) -> dict[str, Stream]:
    """Where the items come one after the other, and the keys that decide them."""
    at = {
        "label": ("/?workflow=sentiment", ("a",)),
        "labels": ("/?workflow=labels", ("3", "Enter")),
        "spans": ("/?workflow=spans&queue=default", ("Tab", "2", "Enter")),
        "spans_long": ("/?workflow=spans&queue=long", ("Tab", "2", "Enter")),
    }
    return {
        name: Stream(url + path, SHOWN, keys, account="bench") for name, (path, keys) in at.items()
    }


def works(page: Page) -> dict[str, Callable[[int], None]]:
    """What somebody does with a text of many spans, step by step."""
    press, mouse = page.keyboard.press, page.mouse
    box = page.locator('[data-id="text"]').bounding_box()
    assert box is not None
    left, top = box["x"] + 40, box["y"] + 30

    def scroll(_: int) -> None:
        mouse.move(left, top)
        mouse.wheel(0, 300)

    def drag(step: int) -> None:
        if step == 0:
            mouse.move(left, top)
            mouse.down()
        mouse.move(left + 30 * step, top + 18 * step)
        if step == STEPS - 1:
            mouse.up()

    def give(step: int) -> None:
        press("ArrowRight")
        press(str(step % len(SPANS.labels) + 1))

    def remove(_: int) -> None:
        press("Tab")
        press("Backspace")

    return {
        "nothing": lambda _: None,
        "scroll": scroll,
        "select_by_key": lambda _: press("Shift+ArrowRight"),
        "select_by_drag": drag,
        "give": give,
        "relabel": lambda step: press(str(step % len(SPANS.labels) + 1)),
        "remove": remove,
    }


def worked(page: Page) -> dict[str, Worked]:
    """A round of each kind of work."""
    browser = page.context.new_cdp_session(page)
    browser.send("Performance.enable", {"timeDomain": "threadTicks"})

    def cpu_ms() -> float:
        metrics = browser.send("Performance.getMetrics")["metrics"]
        used = {each["name"]: each["value"] for each in metrics}
        return float(used["TaskDuration"]) * 1e3

    page.keyboard.press("ArrowRight")
    found: dict[str, Worked] = {}
    for name, step in works(page).items():
        page.evaluate(_WATCH)
        before = cpu_ms()
        for number in range(STEPS):
            step(number)
            page.wait_for_timeout(STEP_MS)
        used = (cpu_ms() - before) / STEPS
        found[name] = Worked(page.evaluate(_FRAMES), used)
    return found


def measure(bench: Bench, rounds: int, keys: int) -> Report:
    """Rounds in which each card, then each kind of work, has its turn."""
    times: dict[str, list[float]] = {}
    work: dict[str, list[Worked]] = {}
    for number in range(rounds):
        fill(bench, f"r{number}-", keys + 20)
        for name, stream in cards(bench.url).items():
            times.setdefault(name, []).extend(key_times(stream, keys))
        with page_at(cards(bench.url)["spans_long"]) as page:
            for name, round_ in worked(page).items():
                work.setdefault(name, []).append(round_)
    return report(times, work)


def report(times: dict[str, list[float]], work: dict[str, list[Worked]]) -> Report:
    """What was found, as the other measurements say it."""
    found: dict[str, float] = {}
    keys, lines = [], []
    for name, taken in times.items():
        middle, high = quantile(taken, 0.5), quantile(taken, 0.95)
        found |= {f"{name}_p50_ms": round(middle, 1), f"{name}_p95_ms": round(high, 1)}
        spread = f"{short(min(taken))} to {short(max(taken))}"
        keys.append((_CARDS[name], short(middle), f"**{short(high)}**", spread, str(len(taken))))
    for name, rounds in work.items():
        longest = Spread.of([max(each.frames) for each in rounds])
        cpu = Spread.of([each.cpu_ms for each in rounds])
        frames = [each for one in rounds for each in one.frames]
        late = sum(each > AIM_FRAME_MS + 0.5 for each in frames)  # three of 60 a second are 50.0
        found |= {
            f"{name}_longest_frame_ms": round(longest.median, 1),
            f"{name}_frames_over_{AIM_FRAME_MS}_ms": late,
            f"{name}_cpu_ms": round(cpu.median, 2),
        }
        lines.append((_WORK[name], str(longest), f"{late} of {len(frames)}", str(cpu)))
    return Report(
        name="review_cards",
        title="The review page's cards",
        text="In Chromium, by real keys and a real mouse: from the key that decides until the next "
        f"item has been handed to the screen (the aim: {AIM_KEY_MS} ms for labels), and, with a "
        f"text of {WORDS:,} words and {PLACES} spans, the longest frame of a round while somebody "
        f"works on it (the aim: none over {AIM_FRAME_MS} ms; without work a frame takes 17 ms). "
        "The line of nothing shows what other programs did. The CPU is that of the page's own "
        "thread, with what the measurement takes of it.",
        tables=[
            Table(("card", "median ms", "95th percentile", "all", "items"), keys),
            Table(
                (
                    "work on a long text",
                    "longest frame, ms",
                    f"over {AIM_FRAME_MS} ms",
                    "CPU ms a step",
                ),
                lines,
            ),
        ],
        result=found,
        command="review --cards",
    )


_CARDS = {
    "label": "one label",
    "labels": "several labels",
    "spans": "spans, 60 words with 5",
    "spans_long": f"spans, {WORDS:,} words with {PLACES}",
}
_WORK = {
    "nothing": "nothing, for comparison",
    "scroll": "scroll",
    "select_by_key": "select by keys, word by word",
    "select_by_drag": "select by mouse",
    "give": "give a selected word its label",
    "relabel": "give a span another label",
    "remove": "take a span away",
}
