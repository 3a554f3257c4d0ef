"""What do 600 corrected answers buy where an answer is spans?

Addresses, whose parts people have labelled (benchmarks/addresses.py). A model taught by few of them
as `hitl train-texts` does it meets the others; the policy sends to people what it is not sure of,
and a random panel, and a review is what the people of the data set said. After every 300 a version
is trained as by `hitl retrain --replay`, and promoted if it passes the gates.
"""

import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import torch
from rich.console import Console

from benchmarks.addresses import Addresses, fetch
from benchmarks.report import Report, Table, options, publish
from hitl.servers.home import Home
from services.feedback.registry.versions import Registry
from services.feedback.training.evaluate import Evaluation, Judged, Measured, evaluate, f1_gains
from services.feedback.training.examples import LabelledText, named_in
from services.feedback.training.fitting import Recipe
from services.feedback.training.gates import gates, refusal, remembered
from services.feedback.training.labelled_texts import Reviewed, divide, weight
from services.feedback.training.replay_set import divided_by_text
from services.feedback.training.retrain import TrainingPlan, decided, judge, judged, retrain
from services.feedback.training.train_heads import train_head
from services.inference.heads.label_sets import LabelSets
from services.inference.heads.tagger import Tagger
from services.inference.loading import load_head
from shared.clock import utc_now
from shared.events.models import derive_id
from shared.models.current import BASE_VERSION
from shared.models.task import Task

SEEDS, QUICK_SEEDS = (1, 2, 3), (1,)
FIRST = 240  # labelled addresses that the first model is made of
EPOCHS = 20  # of the first model: so few texts, so many passes
REVIEWS, BATCH = 600, 300
MIN_LABELS = 100  # the default of `hitl retrain`
THRESHOLD = 0.85  # of the default policy
PANEL_RATE = 0.05
FLOORS = {"micro_f1_before": 0.7, "micro_f1_gain_trained": -0.01}  # what a quick run must reach


@dataclass(frozen=True)
class Point:
    """The model in use after so many reviews, on the held-out addresses."""

    reviews: int
    version: str
    answers: Judged
    found: Evaluation


@dataclass
class Run:
    """One seed: the model in use at each point, and the version that was trained there, in use or
    not. `items` went by until the reviews were full; `seconds` of processor time were taken by each
    training, the first model's first."""

    seed: int
    points: list[Point] = field(default_factory=list)
    trained: list[Point] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    items: int = 0
    refused: list[str] = field(default_factory=list)


def run(found: Addresses, labels: tuple[str, ...], seed: int, reviews: int, say: Console) -> Run:
    """One stream, from the first model to the last version promoted."""
    chance = random.Random(seed)
    stream = list(found.stream)
    chance.shuffle(stream)
    first, arriving = stream[:FIRST], iter(stream[FIRST:])
    done = Run(seed)

    def load(folder: Path) -> LabelSets | Tagger:
        return load_head(str(folder), Task("spans", labels))

    def measured(count: int, version: str, model: LabelSets | Tagger) -> Point:
        answers = judged(model, found.held_out, labels)
        point = Point(count, version, answers, evaluate(answers, labels, THRESHOLD))
        done.trained.append(point)
        f1, seconds = point.found.micro_f1, done.seconds[-1]
        say.print(f"seed {seed}: {count} reviews, {version}, micro F1 {f1}, {seconds:.0f} s")
        return point

    with tempfile.TemporaryDirectory(prefix="hitl-retrain-") as name:
        folder = Path(name) / "addresses"
        registry = Registry(Path(name) / "models", "addresses")
        began = time.process_time()
        train_head(
            first,
            "spans",
            labels,
            folder,
            recipe=Recipe(epochs=EPOCHS),
            seed=seed,
            most=None,
            load=load,
            clock=utc_now,
            progress=lambda _part, _what: None,
        )
        done.seconds.append(time.process_time() - began)
        model = load(folder)
        done.points.append(measured(0, BASE_VERSION, model))
        old = divided_by_text("the first addresses", first, labels)
        decisions: list[Reviewed] = []
        while len(decisions) < reviews:
            decisions += _reviewed(model, arriving, chance, done, BATCH)
            version = registry.current_version()
            parts = divide(reversed(decisions), model.labels, registry.taught(version))
            began = time.process_time()
            receipt = retrain(
                registry,
                TrainingPlan(
                    version, folder, THRESHOLD, seed, MIN_LABELS, by="benchmark", kind="spans"
                ),
                model,
                parts,
                old,
                load,
                utc_now,
                lambda _part, _what: None,
            )
            done.seconds.append(time.process_time() - began)
            candidate = load(registry.folder / receipt.folder)
            verdicts = gates(judge(model, candidate, decided(parts.held_out)), None)
            memory = remembered(receipt)
            trained = measured(len(decisions), receipt.version, candidate)
            why = refusal([*verdicts, *([] if memory is None else [memory])])
            if why is None:
                registry.promote(receipt.version, by="benchmark", at=receipt.created_at)
                folder, model = registry.folder / receipt.folder, candidate
                done.points.append(trained)
            else:
                done.points.append(replace(done.points[-1], reviews=len(decisions)))
                done.refused.append(f"{len(decisions)}: {why}")
                say.print(f"seed {seed}: refused: {why}")
    return done


def _reviewed(
    model: LabelSets | Tagger,
    arriving: Iterator[LabelledText],
    chance: random.Random,
    done: Run,
    wanted: int,
) -> list[Reviewed]:
    """The next decisions of people: what the policy sends to them, and the panel."""
    found: list[Reviewed] = []
    while len(found) < wanted:
        each = next(arriving)
        done.items += 1
        [said] = model.classify([each.text])
        panel = chance.random() < PANEL_RATE
        if said.confidence >= THRESHOLD and not panel:
            continue
        item = f"address-{done.items}"
        found.append(
            Reviewed(
                item_id=item,
                text=each.text,
                label=each.answer.brief,
                event_id=derive_id("item.reviewed", "addresses", item, "1"),
                weight=weight(said.confidence, THRESHOLD, panel, PANEL_RATE),
                given=each.answer,
            )
        )
    return found


def measure(say: Console, *, quick: bool) -> Report:
    """One run a seed."""
    torch.set_num_threads(1)
    found = fetch(Home.from_environment(os.environ).data, say.print)
    labels = named_in([*found.stream, *found.held_out])
    seeds, reviews = (QUICK_SEEDS, BATCH) if quick else (SEEDS, REVIEWS)
    return _report([run(found, labels, seed, reviews, say) for seed in seeds], found)


def _report(runs: Sequence[Run], found: Addresses) -> Report:
    in_use, trained = ([getattr(one, which) for one in runs] for which in ("points", "trained"))
    micro, macro = _gains(in_use)
    trained_micro, trained_macro = _gains(trained)
    first, last = ([each[at].found for each in in_use] for at in (0, -1))
    result = {
        "micro_f1_before": _middle([each.micro_f1.value for each in first]),
        "micro_f1_after": _middle([each.micro_f1.value for each in last]),
        **_told("micro_f1_gain", micro),
        **_told("micro_f1_gain_trained", trained_micro),
        "macro_f1_before": _middle([each.macro_f1.value for each in first]),
        "macro_f1_after": _middle([each.macro_f1.value for each in last]),
        **_told("macro_f1_gain", macro),
        **_told("macro_f1_gain_trained", trained_macro),
        "right_before": _middle([each.accuracy.value for each in first]),
        "right_after": _middle([each.accuracy.value for each in last]),
        "reviews": runs[0].points[-1].reviews,
        "items": median(one.items for one in runs),
        "versions": sum(len(one.trained) - 1 for one in runs),
        "refused": sum(len(one.refused) for one in runs),
        "cpu_seconds_first_model": round(median(one.seconds[0] for one in runs), 1),
        "cpu_seconds_a_training": round(median(s for one in runs for s in one.seconds[1:]), 1),
    }
    spans = int(runs[0].points[0].answers.meant.sum())
    refused = "; ".join(f"seed {one.seed}, {why}" for one in runs for why in one.refused)
    return Report(
        name="retrain_answers",
        title="The loop for spans: the parts of addresses, corrected",
        text=(
            f"US addresses with their parts labelled by people (usaddress 0.5.16, MIT). "
            f"{FIRST} of them make the first model as `hitl train-texts --epochs {EPOCHS}` does; "
            f"the others are streamed. What it is less than {THRESHOLD:.0%} sure of goes to "
            f"people, and {PANEL_RATE:.0%} of the rest at random; a review is what the data set's "
            f"people said. After each {BATCH} reviews `hitl retrain --replay`'s code trains a "
            f"version on one thread, and the gates decide. Measured on {len(found.held_out)} "
            f"addresses ({spans} spans) from other places of the file, which are in no part of "
            f"it; a span is right where its ends and its label are. Per cent, median of "
            f"{len(runs)} seeds (lowest to highest). Gain in points, mean of the seeds, with a "
            f"95 % interval by drawing the held-out addresses again, for all models alike. The "
            f"gates refused {result['refused']} of {result['versions']} versions"
            + (f": {refused}." if refused else ".")
        ),
        tables=[
            Table(
                ["reviews", "micro F1", "macro F1", "whole addresses right", "sent to people"],
                [_row(steps) for steps in zip(*in_use, strict=True)],
            ),
            Table(
                [f"after {result['reviews']} reviews", "micro F1, points more", "macro F1"],
                [
                    ["the model in use", _points(micro), _points(macro)],
                    [
                        "the version that was trained last",
                        _points(trained_micro),
                        _points(trained_macro),
                    ],
                ],
            ),
        ],
        result=result,
        floors=FLOORS,
    )


def _gains(runs: Sequence[Sequence[Point]]) -> tuple[Measured, Measured]:
    return f1_gains([(points[0].answers, points[-1].answers) for points in runs])


def _middle(values: Sequence[float]) -> float:
    return round(median(values), 4)


def _row(steps: Sequence[Point]) -> list[str]:
    figures = ("micro_f1", "macro_f1", "accuracy", "share_below")
    cells = [str(steps[0].reviews)]
    for name in figures:
        values = [100 * getattr(point.found, name).value for point in steps]
        cells.append(f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
    return cells


def _told(name: str, gain: Measured) -> dict[str, float]:
    ends = {"": gain.value, "_low": gain.low, "_high": gain.high}
    return {f"{name}{end}": round(value, 4) for end, value in ends.items()}


def _points(gain: Measured) -> str:
    return f"{100 * gain.value:.1f} ({100 * gain.low:.1f} to {100 * gain.high:.1f})"


def main() -> None:
    """`bin/bench retrain_answers`."""
    given = options("retrain_answers", __doc__)
    publish(measure(Console(stderr=True, quiet=given.json), quick=given.quick), given)


if __name__ == "__main__":
    main()
