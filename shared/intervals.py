"""Confidence intervals of a rate. Pure."""

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    """A rate and what it may be, all 0..1; a coefficient (kappa, alpha): all -1..1."""

    rate: float
    low: float
    high: float


_Z = NormalDist().inv_cdf(0.975)  # 95 %, two-sided


def wilson(right: int, count: int) -> Interval | None:
    """The rate `right / count` with its 95 % score interval; None of nothing.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if count == 0:
        return None
    z, rate = _Z, right / count
    spread = z * sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    middle, scale = rate + z * z / (2 * count), 1 + z * z / count
    # Rounding must not push an end past the rate that it encloses.
    low = min(rate, max(0.0, (middle - spread) / scale))
    return Interval(rate, low, max(rate, min(1.0, (middle + spread) / scale)))
