"""Confidence intervals of a rate. Pure."""

from collections.abc import Sequence
from math import fsum, sqrt
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    """A rate and what it may be, all 0..1; a coefficient (kappa, alpha): all -1..1."""

    rate: float
    low: float
    high: float


_Z = NormalDist().inv_cdf(0.975)  # 95 %, two-sided


def ratio(pairs: Sequence[tuple[float, float]]) -> Interval | None:
    """The sum of the parts over the sum of the wholes, with its 95 % score interval; None of
    nothing. `pairs`: the part (0 to the whole) and the whole of each item.

    What one item brings hangs together (its spans, its fields), so the interval is that of as many
    independent ones as give the same variance between items (Kish's effective sample size; Korn &
    Graubard 1998); where they do not vary, of as many as there are items.
    """
    counted = [(part, whole) for part, whole in pairs if whole > 0]
    items, total = len(counted), fsum(whole for _, whole in counted)
    if not items:
        return None
    rate = min(1.0, fsum(part for part, _ in counted) / total)
    off = fsum((part - rate * whole) ** 2 for part, whole in counted)
    variance = off / total**2 * items / max(1, items - 1)
    likely = rate * (1 - rate)
    return _score(rate, likely / variance if variance > 0 and likely > 0 else float(items))


def wilson(right: int, count: int) -> Interval | None:
    """The rate `right / count` with its 95 % score interval; None of nothing.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    return None if count == 0 else _score(right / count, count)


def _score(rate: float, count: float) -> Interval:
    z = _Z
    spread = z * sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    middle, scale = rate + z * z / (2 * count), 1 + z * z / count
    # Rounding must not push an end past the rate that it encloses.
    low = min(rate, max(0.0, (middle - spread) / scale))
    return Interval(rate, low, max(rate, min(1.0, (middle + spread) / scale)))
