"""Tests whether bfloat16 answers route texts as float32's do: by an interval, no estimate.

Pure.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Precision = Literal["exact", "auto", "bf16"]

MAX_SHARE = 0.005  # texts with another label, and texts that cross a threshold, as shares of all
SURENESS = 0.95  # of each bound
# Thresholds are chosen elsewhere and change, so none of these may be crossed by more texts.
THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99)
MIN_TEXTS = math.ceil(math.log(1 - SURENESS) / math.log(1 - MAX_SHARE))  # with fewer none can pass


class Evidence(NamedTuple):
    """How two precisions differ on some texts; `crossings` is of the threshold with the most."""

    texts: int
    other_labels: int
    crossings: int
    largest_difference: float  # of a probability

    @property
    def other_labels_bound(self) -> float:
        """Upper bound of the share of texts that get another label."""
        return upper_bound(self.other_labels, self.texts)

    @property
    def crossings_bound(self) -> float:
        """Upper bound of the share of texts that cross a threshold."""
        return upper_bound(self.crossings, self.texts)

    @property
    def sufficient(self) -> bool:
        """Whether both shares are shown to be small; all bounds have to hold, so none of them needs
        a correction for there being several (an intersection-union test, Berger 1982)."""
        return max(self.other_labels_bound, self.crossings_bound) <= MAX_SHARE

    def __str__(self) -> str:
        return (
            f"of {self.texts} texts {self.other_labels} have another label (at most "
            f"{self.other_labels_bound:.2%}) and {self.crossings} cross a threshold (at most "
            f"{self.crossings_bound:.2%}; {MAX_SHARE:.2%} are allowed)"
        )


def compare(exact: NDArray[np.float64], other: NDArray[np.float64]) -> Evidence:
    """Evidence from two arrays of distributions, [texts, labels], of the same texts."""
    confidence, others = exact.max(axis=1), other.max(axis=1)
    crossings = [int(((confidence >= at) != (others >= at)).sum()) for at in THRESHOLDS]
    return Evidence(
        texts=len(exact),
        other_labels=int((exact.argmax(axis=1) != other.argmax(axis=1)).sum()),
        crossings=max(crossings),
        largest_difference=float(np.abs(exact - other).max()),
    )


def upper_bound(seen: int, of: int) -> float:
    """The share that is not exceeded with `SURENESS`, if `seen` of `of` independent texts were such
    (Clopper and Pearson 1934, one-sided): the share at which so few become this unlikely."""
    if seen >= of:
        return 1.0
    low, high = seen / of, 1.0
    for _ in range(50):
        share = (low + high) / 2
        odds = share / (1 - share)
        chance = term = (1 - share) ** of
        for k in range(1, seen + 1):
            term *= odds * (of - k + 1) / k
            chance += term
        if chance > 1 - SURENESS:
            low = share
        else:
            high = share
    return high
