"""Trains a new model for sets of labels or for spans: the embedded encoder with a fresh head.

LoRA as for one label, merged into a checkpoint that any transformers program reads, and a
temperature (of each label), a card and a receipt; from a shell: `hitl train-texts`.
"""

import os
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from services.feedback.registry import receipt
from services.feedback.registry.head_card import render
from services.feedback.registry.receipt import HeadReceipt, Texts
from services.feedback.training.evaluate import Evaluation, evaluate
from services.feedback.training.examples import LabelledText, TrainingExample
from services.feedback.training.fitting import OnProgress, Recipe, optimise
from services.feedback.training.gates import Gate, Scored, no_worse
from services.feedback.training.retrain import Load, Model, figures, judged
from services.feedback.training.teaching import Temperature, example_of, loss_of, outputs_of
from services.feedback.training.train_texts import FEWEST, THRESHOLD, split
from services.feedback.training.tuning import open_tunable, write_fresh, write_temperature
from shared.answers.base import Kind
from shared.clock import Clock
from shared.errors import ConfigurationError
from shared.labels import label_key

_PRIOR = 1.0  # of a head that is trained so shortly; a label may be in few texts


class TrainedHead(NamedTuple):
    """What a fresh model is worth on texts that it has never seen, and whether that is enough.
    `sizes`: trained on, calibrated on, held out; `base_rate` is the best micro F1 of an answer that
    is always the same."""

    model_version: str
    sizes: tuple[int, int, int]
    held_out: Evaluation
    base_rate: float
    temperature: Temperature
    gates: list[Gate]


def train_head(
    texts: Sequence[LabelledText],
    kind: Kind,
    labels: Sequence[str],
    out: Path,
    *,
    recipe: Recipe,
    seed: int,
    most: int | None,
    load: Load,
    clock: Clock,
    live: Model | None = None,
    progress: OnProgress,
) -> TrainedHead:
    """Train on eight tenths of the texts, `most` at most, write the model with its card to the new
    folder `out`, and measure it, loaded as inference does, on a tenth; `live` is what it must not
    be worse than. Which part a text is in says its own hash.

    Raises:
        ConfigurationError: there are too few texts, or `out` exists.
    """
    if out.exists():
        raise ConfigurationError(f"{out} already exists: name a new folder")
    taught, calibration, held_out = split(texts)
    taught = taught[:most]
    if min(map(len, (taught, calibration, held_out))) < FEWEST:
        raise ConfigurationError(f"{len(texts)} texts are too few: provide 200 or more")
    outputs = outputs_of(kind, labels)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".training-") as scratch:
        fresh, folder = Path(scratch) / "fresh", Path(scratch) / out.name
        write_fresh(fresh, kind, outputs, seed)
        tunable = open_tunable(fresh, recipe, kind)
        examples, known, unseen = (
            [example_of(each.text, each.answer, labels) for each in part]
            for part in (taught, calibration, held_out)
        )
        read = tunable.read([each.text for each in examples])
        optimise(
            tunable.network,
            [each.ids for each in read],
            loss_of(kind, examples, read, outputs, tunable.assembly),
            recipe,
            random.Random(seed),  # noqa: S311 - a shuffle, no secret
            lambda part, what: progress(0.9 * part, what),
            assembly=tunable.assembly,
        )
        progress(0.9, "fitting the temperature")
        temperature = tunable.temperature(
            kind,
            known,
            np.ones(len(calibration)),
            _PRIOR,
        )
        tunable.save(folder)
        write_temperature(fresh, folder, temperature)
        progress(0.95, "measuring on held-out texts")
        model = load(folder)
        scored = judged(model, held_out, labels)
        found = evaluate(scored, labels, THRESHOLD)
        base_rate = best_constant(kind, held_out, labels)
        verdicts = [_better_than(base_rate, found)]
        if live is not None:
            before = judged(live, held_out, labels)
            verdicts.append(no_worse(Scored(before, scored, np.ones(len(held_out)))))
        made = TrainedHead(
            model.model_version,
            (len(taught), len(calibration), len(held_out)),
            found,
            base_rate,
            temperature,
            verdicts,
        )
        told = HeadReceipt(
            model_version=model.model_version,
            created_at=clock(),
            kind=kind,
            labels=tuple(labels),
            seed=seed,
            recipe=asdict(recipe),
            temperature=temperature,
            threshold=THRESHOLD,
            trained_on=_named(examples),
            calibrated_on=_named(known),
            held_out=_named(unseen),
            base_rate=base_rate,
            figures=figures(found),
            items={label.label: label.items for label in found.labels},
            gates=tuple((gate.name, gate.passed, gate.words) for gate in verdicts),
            packages=receipt.packages(),
            files={},
        )
        (folder / "README.md").write_text(render(told), encoding="utf-8")
        told = told.model_copy(update={"files": receipt.files(folder)})
        (folder / receipt.MADE).mkdir()
        (folder / receipt.MADE / receipt.RECEIPT).write_text(told.model_dump_json(indent=1))
        os.replace(folder, out)
    progress(1.0, "done")
    return made


def best_constant(kind: Kind, texts: Sequence[LabelledText], labels: Sequence[str]) -> float:
    """The micro F1 of the best answer that does not look at the text: none, or the so many
    commonest labels. Nobody guesses spans."""
    if kind == "spans":
        return 0.0
    given = Counter(label_key(name) for each in texts for name in each.answer.names)
    counts = sorted((given[label_key(label)] for label in labels), reverse=True)
    hits = np.cumsum(counts)
    said = len(texts) * np.arange(1, len(counts) + 1)
    return float((2 * hits / np.maximum(said + sum(counts), 1)).max(initial=0.0))


def _named(examples: Sequence[TrainingExample]) -> Texts:
    return Texts(texts=len(examples), sha256=receipt.digest_of(examples))


def _better_than(base_rate: float, found: Evaluation) -> Gate:
    f1 = found.micro_f1
    words = (
        f"micro F1 {f1.value:.3f} ({f1.low:.3f} to {f1.high:.3f}) on {found.items} held-out texts; "
        f"the best answer that is always the same has {base_rate:.3f}"
    )
    return Gate("better than the base rate", f1.low > base_rate, words)
