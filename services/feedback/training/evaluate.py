"""Evaluates a model's answers on texts that people answered, with intervals, and compares it with
another.

Pure. Intervals are 95 %: Wilson's (1927) for shares, percentile bootstrap (Efron 1979) for F1
and the calibration error, both seeded, so that the same scores give the same report.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from services.feedback.quality import Floats, Ints, calibration_error
from shared.answers.base import Answer
from shared.answers.spans import SpansAnswer
from shared.events.answered import AnswerPrediction
from shared.intervals import wilson
from shared.labels import label_key

_RESAMPLES = 1_000
_SEED = 2014

Bools = NDArray[np.bool_]


class Measured(NamedTuple):
    """A figure, 0..1, with its 95 % interval; NaN where there is nothing to measure."""

    value: float
    low: float
    high: float


class Judged(NamedTuple):
    """A model's answers to n texts beside people's.

    `confidence` [n] is that the whole answer is right, `right` [n] whether it was. `said`, `meant`
    and `hits`, each [n, labels], count what was said of a label, what people said, and what of both
    is the same. `certainty` [n, labels], the probability that a text has the label: NaN where a
    model gives none.
    """

    confidence: Floats
    right: Bools
    said: Ints
    meant: Ints
    hits: Ints
    certainty: Floats


class LabelScore(NamedTuple):
    """One label: how often people gave it, F1 of finding that, and the calibration error of its
    probability."""

    label: str
    items: int
    precision: float
    recall: float
    f1: Measured
    ece: float


class Evaluation(NamedTuple):
    """A model on a set of texts; `accuracy` is of whole answers. `micro_f1` counts all labels
    together, `macro_f1` is the mean of theirs. `share_below` is what a threshold would send to
    people."""

    items: int
    accuracy: Measured
    micro_f1: Measured
    macro_f1: Measured
    labels: tuple[LabelScore, ...]
    ece: Measured
    threshold: float
    share_below: Measured
    accuracy_above: Measured


def one_label(probabilities: Floats, truth: Ints) -> Judged:
    """Answers of one label among several: `probabilities` [n, labels] beside the right label
    indices `truth` [n]."""
    columns = np.arange(probabilities.shape[1])
    said = (probabilities.argmax(axis=1)[:, None] == columns).astype(np.int64)
    meant = (truth[:, None] == columns).astype(np.int64)
    hits = said * meant
    return Judged(probabilities.max(axis=1), hits.any(axis=1), said, meant, hits, probabilities)


def of_answers(
    predictions: Sequence[AnswerPrediction], truth: Sequence[Answer], labels: Sequence[str]
) -> Judged:
    """Answers of other kinds beside people's; a span is right where its ends and its label are."""
    columns = {label_key(label): column for column, label in enumerate(labels)}
    said, meant, hits = np.zeros((3, len(truth), len(labels)), dtype=np.int64)
    certainty = np.full((len(truth), len(labels)), np.nan)
    right = np.zeros(len(truth), dtype=np.bool_)
    for row, (prediction, answer) in enumerate(zip(predictions, truth, strict=True)):
        ours, theirs = _parts(prediction.read), _parts(answer)
        right[row] = ours == theirs
        for count, parts in ((said, ours), (meant, theirs), (hits, ours & theirs)):
            for _, _, key in parts:
                count[row, columns[key]] += 1
        if isinstance(prediction.parts, Mapping):
            for label, probability in prediction.parts.items():
                certainty[row, columns[label_key(label)]] = probability
    confidence = np.array([prediction.confidence for prediction in predictions])
    return Judged(confidence, right, said, meant, hits, certainty)


def evaluate(judged: Judged, labels: Sequence[str], threshold: float) -> Evaluation:
    """What the answers are worth."""
    confidence, correct = judged.confidence, judged.right
    above = confidence >= threshold
    rows = _resampled(len(correct))
    counted = np.stack([judged.hits, judged.said + judged.meant])  # [2, n, labels]
    # Of each resample the sums of both, [resamples, 2, labels].
    resampled = [counted[:, row].sum(axis=1) for row in rows]
    whole = counted.sum(axis=1)
    return Evaluation(
        items=len(correct),
        accuracy=share(int(correct.sum()), len(correct)),
        micro_f1=_between(_micro(whole), [_micro(each) for each in resampled]),
        macro_f1=_between(_macro(whole), [_macro(each) for each in resampled]),
        labels=tuple(
            _label(name, index, judged, whole, resampled) for index, name in enumerate(labels)
        ),
        ece=_between(
            calibration_error(confidence, correct),
            [calibration_error(confidence[row], correct[row]) for row in rows],
        ),
        threshold=threshold,
        share_below=share(int((~above).sum()), len(above)),
        accuracy_above=share(int(correct[above].sum()), int(above.sum())),
    )


def f1_gains(pairs: Sequence[tuple[Judged, Judged]]) -> tuple[Measured, Measured]:
    """By how much micro and macro F1 are higher after than before, the mean over the pairs, which
    are all of the same texts: these are drawn again, for every model alike."""
    counted = np.array([[[each.hits, each.said + each.meant] for each in pair] for pair in pairs])
    drawn = [np.arange(counted.shape[3]), *_resampled(counted.shape[3])]
    # [1 + resamples, pairs, before and after, hits and both, labels]
    sums = [counted[:, :, :, rows].sum(axis=3) for rows in drawn]
    micro, macro = (
        [float(np.mean([f1(after) - f1(before) for before, after in one])) for one in sums]
        for f1 in (_micro, _macro)
    )
    return _between(micro[0], micro[1:]), _between(macro[0], macro[1:])


def _parts(answer: Answer) -> set[tuple[int, int, str]]:
    """What can be right or wrong by itself: the place and the label."""
    if isinstance(answer, SpansAnswer):
        return {(span.start, span.end, label_key(span.label)) for span in answer.spans}
    return {(0, 0, label_key(name)) for name in answer.names}


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


def _label(
    name: str, index: int, judged: Judged, whole: Ints, resampled: Sequence[Ints]
) -> LabelScore:
    said, meant, hits = (
        int(each[:, index].sum()) for each in (judged.said, judged.meant, judged.hits)
    )
    certainty = judged.certainty[:, index]
    return LabelScore(
        label=name,
        items=meant,
        precision=hits / said if said else float("nan"),
        recall=hits / meant if meant else float("nan"),
        f1=_between(_f1s(whole)[index], [_f1s(each)[index] for each in resampled]),
        ece=float("nan")
        if np.isnan(certainty).any()
        else calibration_error(certainty, judged.meant[:, index] > 0),
    )


def _f1s(counted: Ints) -> Floats:
    """Of each label, [labels], from the hits and what both said, [2, labels]; NaN where nobody
    said it."""
    hits, both = counted
    return np.where(both > 0, 2 * hits / np.maximum(both, 1), np.nan)


def _micro(counted: Ints) -> float:
    hits, both = counted.sum(axis=1)
    return float(2 * hits / both) if both else float("nan")


def _macro(counted: Ints) -> float:
    found = _f1s(counted)
    return float(np.nanmean(found)) if not np.isnan(found).all() else float("nan")


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
