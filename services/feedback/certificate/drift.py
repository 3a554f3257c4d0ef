"""Tests whether the machine has become worse than certified, and whether scores shift. Pure.

Shiryaev-Roberts e-detector over audited decisions (Shin, Ramdas & Rinaldo 2022, arXiv 2203.03532),
and two early warnings that need no label.
"""

from collections.abc import Sequence
from math import erfc, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LIMIT = 10_000.0  # at most N / LIMIT false alarms are expected within N audits
WORSE = (1.5, 2.0, 3.0, 5.0, 8.0)  # times alpha: how bad it may have become
_WORST = 0.9
PSI_LIMIT = 0.1
PSI_ITEMS = 500  # with fewer on either side, PSI exceeds its limit by chance
JUMP_P = 1e-6  # looked at often, so far beyond chance
JUMP_SHARE = 0.05  # a smaller jump is no matter, however certain


class Detection(NamedTuple):
    """`alarm_at`: the position of the first audit that raised the alarm, None for none. `level`:
    the detector's value there, or after the last audit; the alarm is at `limit`."""

    alarm_at: int | None
    level: float


def detect(errors: Sequence[bool] | Bools, alpha: float, limit: float = LIMIT) -> Detection:
    """Watch audited decisions that the machine made alone, in the order of routing.

    While at most `alpha` of them are wrong, P(an alarm within N audits) <= N / limit.

    Raises:
        ValueError: alpha is not between 0 and 0.9: no rate that the detector knows is worse.
    """
    if not 0.0 < alpha < _WORST:
        raise ValueError(f"alpha is {alpha}; it must be between 0 and {_WORST}")
    worse = np.minimum(np.asarray(WORSE) * alpha, _WORST)
    gain, fade = worse / alpha, (1.0 - worse) / (1.0 - alpha)
    wrong = np.asarray(errors, dtype=np.bool_)
    state = np.zeros(len(worse))
    start = 0
    for position in [*np.flatnonzero(wrong), len(wrong)]:
        # Right answers alone let each component run towards its rest, fade / (1 - fade). Only where
        # those could carry the mean to the limit is each of them looked at.
        run = int(position) - start
        rest = fade / (1.0 - fade)
        steps = np.arange(1, run + 1) if np.maximum(state, rest).mean() >= limit else [run]
        path = rest + (state - rest) * fade ** np.asarray(steps, dtype=np.float64)[:, None]
        means = path.mean(axis=1)
        if (means >= limit).any():
            first = int((means >= limit).argmax())
            return Detection(start + int(steps[first]) - 1, float(means[first]))
        state = path[-1] if run else state
        if position < len(wrong):
            state = (state + 1.0) * gain
            if state.mean() >= limit:
                return Detection(int(position), float(state.mean()))
        start = int(position) + 1
    return Detection(None, float(state.mean()))


def psi(expected: ArrayLike, actual: ArrayLike, bins: int = 10) -> float:
    """The population stability index of `actual` [m] scores against `expected` [n]: 0 for alike,
    above 0.1 worth a look. The bins hold equal shares of `expected`; tied edges collapse.

    Chance alone gives about (bins - 1)(1/n + 1/m): ask for PSI_ITEMS on both sides.

    Raises:
        ValueError: a side is empty.
    """
    before, now = (np.asarray(side, dtype=np.float64) for side in (expected, actual))
    if not len(before) or not len(now):
        raise ValueError("no score to compare")
    edges = np.unique(np.quantile(before, np.arange(1, bins) / bins))
    shares = []
    for side in (before, now):
        counts = np.bincount(np.searchsorted(edges, side, side="right"), minlength=len(edges) + 1)
        shares.append((counts + 0.5) / (len(side) + 0.5 * len(counts)))  # an empty bin is no proof
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def scores_drifted(expected: ArrayLike, actual: ArrayLike) -> bool:
    """Whether the scores look unlike before; never on fewer than PSI_ITEMS on a side."""
    if min(len(np.asarray(expected)), len(np.asarray(actual))) < PSI_ITEMS:
        return False
    return psi(expected, actual) > PSI_LIMIT


def acceptance_jumped(before: tuple[int, int], now: tuple[int, int]) -> bool:
    """Whether the share accepted, each side as (accepted, items), jumped by more than 5 points and
    more than chance explains (two proportions, pooled, two-sided)."""
    (accepted, items), (accepted_now, items_now) = before, now
    if not items or not items_now:
        return False
    difference = accepted_now / items_now - accepted / items
    pooled = (accepted + accepted_now) / (items + items_now)
    spread = sqrt(pooled * (1.0 - pooled) * (1.0 / items + 1.0 / items_now))
    if spread == 0.0 or abs(difference) <= JUMP_SHARE:
        return False
    return erfc(abs(difference) / spread / sqrt(2.0)) < JUMP_P
