"""Trains a new workflow's model: the embedded encoder, taught by labelled texts.

LoRA and a fresh head as for the shipped adapter, then one temperature; from a shell:
`hitl train-texts`.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from services.feedback.quality import Ints, Quality, fit_temperature, measure, softmax
from services.feedback.training.examples import (
    LabelledText,
    TrainingExample,
    labelled_texts,
    named_in,
)
from services.feedback.training.fitting import OnProgress, Recipe
from services.feedback.training.labelled_texts import text_key
from services.feedback.training.teaching import example_of
from services.feedback.training.train_embedded import fit, logits, read_back, write_calibration
from services.feedback.training.tuning import save_adapter
from shared.answers.base import PLAIN
from shared.errors import ConfigurationError
from shared.hashing import place01

THRESHOLD = 0.85  # of a new workflow's policy
CALIBRATION_SHARE = HELD_OUT_SHARE = 0.1
_SALT = "hitl-texts-1"
FEWEST = 10  # of each part: with fewer a temperature or an accuracy says nothing


class Trained(NamedTuple):
    """What a fresh model is worth on texts that it has never seen."""

    sizes: tuple[int, int, int]  # trained on, calibrated on, held out
    held_out: Quality
    commonest: float  # the accuracy of always answering the commonest label
    temperature: float


def train(
    examples: Sequence[TrainingExample],
    labels: Sequence[str],
    out: Path,
    *,
    recipe: Recipe,
    seed: int,
    most: int | None,
    progress: OnProgress,
) -> Trained:
    """Train on eight tenths of the texts, `most` at most, write the model to the new folder `out`
    and measure what was written (fp16) on a tenth. Which part a text is in says its own hash.

    Raises:
        ConfigurationError: there are too few texts, or `out` exists.
    """
    if out.exists():
        raise ConfigurationError(f"{out} already exists: name a new folder")
    taught, calibration, held_out = split(examples)
    taught = taught[:most]
    if min(map(len, (taught, calibration, held_out))) < FEWEST:
        raise ConfigurationError(f"{len(examples)} texts are too few: provide 200 or more")
    network = fit(
        [example.text for example in taught],
        torch.tensor([example.shares for example in taught]),
        recipe,
        seed,
        lambda part, what: progress(0.9 * part, what),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".adapter-") as scratch:
        folder = Path(scratch) / "adapter"
        save_adapter(network, folder)
        shipped = read_back(folder, len(labels))
        progress(0.9, "fitting the temperature")
        known = logits(shipped, [example.text for example in calibration], len(labels))
        temperature = fit_temperature(known, _truth(calibration))
        write_calibration(folder, temperature, labels)
        progress(0.95, "measuring on held-out texts")
        raw = logits(shipped, [example.text for example in held_out], len(labels))
        scores = softmax(raw, temperature)
        truth = _truth(held_out)
        os.replace(folder, out)
    progress(1.0, "done")
    return Trained(
        sizes=(len(taught), len(calibration), len(held_out)),
        held_out=measure(scores, truth, THRESHOLD),
        commonest=float(np.bincount(truth).max() / len(truth)),
        temperature=temperature,
    )


def labelled(path: Path) -> tuple[list[TrainingExample], tuple[str, ...]]:
    """The examples in a file with `text` and `label`, or in an export of ours
    (shared/formats/rows_in.py), and the labels by alphabet.

    Raises:
        ConfigurationError: a row lacks one of them, or there are not two labels.
    """
    texts = labelled_texts(path, PLAIN)
    labels = named_in(texts)
    if len(labels) < 2:
        raise ConfigurationError(f"{path}: needs at least two labels, but has {len(labels)}")
    return [example_of(each.text, each.answer, labels) for each in texts], labels


_Text = TypeVar("_Text", TrainingExample, LabelledText)


def split(examples: Sequence[_Text]) -> tuple[list[_Text], list[_Text], list[_Text]]:
    """To train on, to calibrate on, held out: by a hash of the text, so that no text is in two
    parts; each text once, in an order that says nothing."""
    by_place = {place01(_SALT, text_key(example.text)): example for example in examples}
    placed = sorted(by_place.items())
    ends = (1 - CALIBRATION_SHARE - HELD_OUT_SHARE, 1 - HELD_OUT_SHARE)
    return (
        [example for place, example in placed if place < ends[0]],
        [example for place, example in placed if ends[0] <= place < ends[1]],
        [example for place, example in placed if place >= ends[1]],
    )


def _truth(examples: Sequence[TrainingExample]) -> Ints:
    return np.array([np.argmax(example.shares) for example in examples], dtype=np.int64)
