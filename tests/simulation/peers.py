"""Rules that others use to choose a threshold, to measure ours against. None is in the product."""

import numpy as np
from scipy.special import bdtr

from services.feedback.certificate.certify import STARTS, Bools, Floats, Grid, Ints, starts_of


def counts(scores: Floats, errors: Bools, grid: Grid, looks: int) -> tuple[Ints, Ints]:
    """At each look and level [looks, levels]: labels at or above the threshold, and errors."""
    thresholds = np.array(grid.thresholds)
    levels = len(thresholds) + 1
    cell = np.arange(len(scores)) * looks // len(scores) * levels + np.searchsorted(
        -thresholds, -scores, side="left"
    )
    labels, wrong = (
        np.bincount(cells, minlength=looks * levels).reshape(looks, levels).cumsum(0).cumsum(1)
        for cells in (cell, cell[errors])
    )
    return labels[:, :-1], wrong[:, :-1]


def plug_in(labels: Ints, wrong: Ints, grid: Grid, alpha: float) -> set[float]:
    """The loosest threshold whose observed error rate is at most alpha; one for each look."""
    fine = (wrong <= alpha * labels) & (labels >= 30)
    return {grid.thresholds[int(np.flatnonzero(row)[-1])] for row in fine if row.any()}


def learn_then_test(
    labels: Ints, wrong: Ints, grid: Grid, alpha: float, delta: float
) -> set[float]:
    """Fixed-sequence testing with exact binomial p-values (the test behind Clopper-Pearson), anew
    at each look: right for one look, and repeated looks spend delta again and again."""
    p_values = bdtr(wrong.astype(float), labels, alpha)
    found: set[float] = set()
    for start, (_, share) in zip(starts_of(grid), STARTS, strict=True):
        passed = np.logical_and.accumulate(p_values[:, start:] <= delta * share, axis=1)
        found |= {grid.thresholds[start + int(at)] for at in np.flatnonzero(passed.any(axis=0))}
    return found
