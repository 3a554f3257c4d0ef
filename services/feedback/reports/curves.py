"""Risk and coverage at each threshold, and reliability of the confidence. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from services.feedback.certificate.certify import Bools, Floats, Grid, clopper_pearson_upper
from services.feedback.quality import fit_temperature

_INTERVAL = 0.05  # two-sided, 95 %
MAX_POINTS = 25
TEMPERATURE_LABELS = 50  # with fewer, the fit is noise


@dataclass(frozen=True, slots=True)
class RiskPoint:
    """A threshold: which share of all items reaches it, and how many audited ones were wrong.
    `upper_bound`: one-sided, for this threshold alone; None without a label."""

    threshold: float
    coverage: float
    labels: int
    errors: int
    error_rate: float | None
    upper_bound: float | None


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Items of about the same confidence: how sure the machine was, how often it was right, with a
    95 % interval."""

    low: float
    high: float
    labels: int
    confidence: float
    right: float
    right_low: float
    right_high: float


@dataclass(frozen=True, slots=True)
class Temperature:
    """What would make the confidences honest: above 1 the model is too sure. `labels` were used;
    `value` is None where they do not say, and `why` says why."""

    value: float | None
    labels: int
    why: str


def risk_coverage(
    scores: Floats, errors: Bools, grid: Grid, delta: float, shown: float | None = None
) -> list[RiskPoint]:
    """The error rate of audited items [n] at thresholds of the grid, strict to loose; about
    MAX_POINTS of them, the threshold `shown` among them."""
    chosen = set(np.linspace(0, len(grid.thresholds) - 1, MAX_POINTS).round().astype(int).tolist())
    if shown in grid.thresholds:
        chosen.add(grid.thresholds.index(shown))
    points = []
    for level in sorted(chosen):
        threshold = grid.thresholds[level]
        accepted = scores >= threshold
        labels, wrong = int(accepted.sum()), int((accepted & errors).sum())
        points.append(
            RiskPoint(
                threshold=threshold,
                coverage=grid.coverage[level],
                labels=labels,
                errors=wrong,
                error_rate=wrong / labels if labels else None,
                upper_bound=clopper_pearson_upper(wrong, labels, delta) if labels else None,
            )
        )
    return points


def reliability(scores: Floats, errors: Bools, bins: int = 10) -> list[ReliabilityBin]:
    """Confidence against accuracy in equally wide bins; empty ones are left out."""
    where = np.minimum((scores * bins).astype(int), bins - 1)
    found = []
    for number in np.unique(where):
        inside = where == number
        labels, right = int(inside.sum()), int((inside & ~errors).sum())
        low, high = clopper_pearson(right, labels)
        found.append(
            ReliabilityBin(
                low=float(number / bins),
                high=float((number + 1) / bins),
                labels=labels,
                confidence=float(scores[inside].mean()),
                right=right / labels,
                right_low=low,
                right_high=high,
            )
        )
    return found


def clopper_pearson(hits: int, trials: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper & Pearson 1934).

    Raises:
        ValueError: no trial, or more hits than trials.
    """
    if not 0 <= hits <= trials or not trials:
        raise ValueError(f"{hits} of {trials}")
    half = _INTERVAL / 2.0
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, half))
    return low, 1.0 if hits == trials else clopper_pearson_upper(hits, trials, half)


def reviews_per_1000(scores: Floats, threshold: float | None, panel_rate: float) -> float | None:
    """How many of 1 000 items people would see, the panel included; None without a score."""
    if not len(scores):
        return None
    accepted = 0.0 if threshold is None else float((scores >= threshold).mean())
    return 1_000.0 * (1.0 - accepted * (1.0 - panel_rate))


def temperature_of(
    distributions: Sequence[Mapping[str, float]], labels: Sequence[str]
) -> Temperature:
    """The temperature that makes the people's labels most likely under the machine's
    distributions. A label that the machine does not know says nothing about its confidence."""
    known = [
        (distribution, label)
        for distribution, label in zip(distributions, labels, strict=True)
        if label in distribution
    ]
    if len(known) < TEMPERATURE_LABELS:
        return Temperature(
            None, len(known), f"{len(known)} labels; it takes at least {TEMPERATURE_LABELS}"
        )
    names = sorted({name for distribution, _ in known for name in distribution})
    place = {name: at for at, name in enumerate(names)}
    logits = np.full((len(known), len(names)), -50.0)
    for row, (distribution, _) in enumerate(known):
        for name, share in distribution.items():
            logits[row, place[name]] = np.log(max(share, 1e-12))
    truth = np.array([place[label] for _, label in known], dtype=np.int64)
    right = int((logits.argmax(axis=1) == truth).sum())
    if right in (0, len(known)):
        what = "right" if right else "wrong"
        return Temperature(
            None, len(known), f"all {len(known)} answers were {what}: no temperature is the best"
        )
    value = fit_temperature(logits, truth)
    verdict = "too sure" if value > 1.05 else "not sure enough" if value < 0.95 else "honest"
    return Temperature(value, len(known), f"the model is {verdict}")
