"""Evaluates a model on labelled texts, with intervals, and compares it with another.

Pure. Intervals are 95 %: Wilson's (1927) for shares, percentile bootstrap (Efron 1979) for F1
and the calibration error, both seeded, so that the same scores give the same report.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from services.feedback.quality import Floats, Ints, calibration_error
from shared.intervals import wilson

_RESAMPLES = 1_000
_SEED = 2014

Bools = NDArray[np.bool_]


class Measured(NamedTuple):
    """A figure, 0..1, with its 95 % interval; NaN where there is nothing to measure."""

    value: float
    low: float
    high: float


class LabelScore(NamedTuple):
    """One label: how many of the texts have it by people, and F1 of finding them."""

    label: str
    items: int
    precision: float
    recall: float
    f1: Measured


class Evaluation(NamedTuple):
    """A model on a set of texts. `share_below` is what a threshold would send to people."""

    items: int
    accuracy: Measured
    labels: tuple[LabelScore, ...]
    ece: Measured
    threshold: float
    share_below: Measured
    accuracy_above: Measured


def evaluate(
    probabilities: Floats, truth: Ints, labels: Sequence[str], threshold: float
) -> Evaluation:
    """Compare `probabilities` [n, labels] with the right label indices `truth` [n]."""
    confidence, answer = probabilities.max(axis=1), probabilities.argmax(axis=1)
    correct = answer == truth
    above = confidence >= threshold
    rows = _resampled(len(truth))
    return Evaluation(
        items=len(truth),
        accuracy=share(int(correct.sum()), len(correct)),
        labels=tuple(_label(name, index, answer, truth, rows) for index, name in enumerate(labels)),
        ece=_between(
            calibration_error(confidence, correct),
            [calibration_error(confidence[row], correct[row]) for row in rows],
        ),
        threshold=threshold,
        share_below=share(int((~above).sum()), len(above)),
        accuracy_above=share(int(correct[above].sum()), int(above.sum())),
    )


def share(successes: int, trials: int) -> Measured:
    """A share with its score interval (Wilson 1927)."""
    found = wilson(successes, trials)
    return Measured(float("nan"), float("nan"), float("nan")) if found is None else Measured(*found)


def worse_by_chance(before: Bools, after: Bools) -> float:
    """How often chance alone would make `after` look at least so much worse than `before` on the
    same texts, both [n] of who was right: McNemar's exact test (1947), one-sided."""
    lost = int((before & ~after).sum())
    trials = lost + int((~before & after).sum())
    return float(bdtrc(lost - 1, trials, 0.5))


def ece_if_calibrated(
    confidence: Floats, weights: Floats | None = None, level: float = 0.95
) -> float:
    """The calibration error that scores of these confidences stay under with probability `level`
    when they mean what they say: few texts show an error where there is none (Broecker and Smith
    2007, "Increasing the Reliability of Reliability Diagrams")."""
    chance = np.random.default_rng(_SEED)
    drawn = chance.random((_RESAMPLES, len(confidence))) < confidence
    found = [calibration_error(confidence, row, weights) for row in drawn]
    return float(np.quantile(found, level))


def _label(name: str, index: int, answer: Ints, truth: Ints, rows: Sequence[Ints]) -> LabelScore:
    said, meant = answer == index, truth == index
    hits = int((said & meant).sum())
    return LabelScore(
        label=name,
        items=int(meant.sum()),
        precision=hits / said.sum() if said.any() else float("nan"),
        recall=hits / meant.sum() if meant.any() else float("nan"),
        f1=_between(_f1(said, meant), [_f1(said[row], meant[row]) for row in rows]),
    )


def _f1(said: Bools, meant: Bools) -> float:
    together = int(said.sum() + meant.sum())
    return 2 * int((said & meant).sum()) / together if together else float("nan")


def _resampled(size: int) -> list[Ints]:
    if not size:
        return []
    chance = np.random.default_rng(_SEED)
    return [chance.integers(0, size, size) for _ in range(_RESAMPLES)]


def _between(value: float, resampled: Sequence[float]) -> Measured:
    found = np.array([one for one in resampled if not np.isnan(one)])
    if np.isnan(value) or not found.size:
        return Measured(value, float("nan"), float("nan"))
    low, high = np.quantile(found, (0.025, 0.975))
    return Measured(value, float(low), float(high))
