"""Quality of a model's scores, and the temperature that makes them honest. Pure numpy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BINS = 15
_LOG_TEMPERATURES = (-3.0, 3.0)  # 0.05 to 20
_PRIOR_DEVIATION = 0.3
_GOLDEN = (5**0.5 - 1) / 2


class Quality(NamedTuple):
    """What a set of calibrated scores is worth to a pipeline that accepts above a threshold.

    Shares and accuracies are 0..1, an accuracy over no item is NaN. `ece` is the expected
    calibration error over 15 equally wide bins (Guo et al. 2017).
    """

    items: int
    accuracy: float
    ece: float
    threshold: float
    share_below: float
    accuracy_above: float
    accuracy_below: float


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Probabilities [n, labels] of logits [n, labels]."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def fit_temperature(
    logits: Floats, truth: Ints, prior: float | None = None, weights: Floats | None = None
) -> float:
    """The temperature that makes `truth` [n] most likely; one per model.

    The loss has one minimum in log T, so a golden-section search finds it. Fit on items that the
    model was not trained on. With `prior`, a temperature that is likely beforehand (normal in log T
    with a deviation of 0.3), few items move it little. `weights` [n] say for how many items each
    stands; they count for as many as their effective size (Kish 1965).
    """
    share = np.full(len(truth), 1 / len(truth)) if weights is None else weights / weights.sum()
    effective = 1 / float((share**2).sum())

    def loss(log_temperature: float) -> float:
        likely = softmax(logits, float(np.exp(log_temperature)))[np.arange(len(truth)), truth]
        lost = float(-(share * np.log(np.maximum(likely, 1e-300))).sum())
        if prior is None:
            return lost
        surprise = (log_temperature - float(np.log(prior))) / _PRIOR_DEVIATION
        return lost + surprise**2 / 2 / effective

    low, high = _LOG_TEMPERATURES
    while high - low > 1e-4:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def measure(probabilities: Floats, truth: Ints, threshold: float) -> Quality:
    """Compare `probabilities` [n, labels] with the right label indices `truth` [n]."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    above = confidence >= threshold
    return Quality(
        items=len(truth),
        accuracy=_share(correct),
        ece=calibration_error(confidence, correct),
        threshold=threshold,
        share_below=_share(~above),
        accuracy_above=_share(correct[above]),
        accuracy_below=_share(correct[~above]),
    )


def calibration_error(
    confidence: Floats, correct: NDArray[np.bool_], weights: Floats | None = None
) -> float:
    """The expected calibration error of `confidence` [n] against who was right [n]; `weights` [n]
    say for how many items each stands."""
    if not len(confidence):
        return float("nan")
    weight = np.ones(len(confidence)) if weights is None else weights
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=weight * (confidence - correct), minlength=_BINS)
    return float(np.abs(gaps).sum() / weight.sum())


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else float("nan")
