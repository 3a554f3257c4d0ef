"""The score from which on the machine may decide alone, with a stated certainty. Pure.

Anytime-valid Learn-then-Test (Angelopoulos et al., arXiv 2110.01052): an e-process for each
threshold, tested in a fixed sequence from three starts. The proof in words:
docs/build/certificate.md.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from shared.wording import percent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# The bets of the e-process: each row says "the error rate is this share of alpha", and how much of
# the stake is on it. Low shares win fast on a good model, high ones win slowly on a mediocre one.
BETS = (0.03, 0.15, 0.30, 0.45, 0.60, 0.75)
STAKES = (0.35, 0.20, 0.15, 0.12, 0.10, 0.08)
# Where the chains of tests start, as a coverage of the unlabelled scores, and which share of delta
# each may spend. Several starts, because a chain ends at the first threshold that it cannot pass.
STARTS = ((0.15, 0.2), (0.40, 0.4), (0.70, 0.4))
_MAX_LABELS = 10_000_000  # beyond this, people are told that it will not happen
_MOMENTS = 2_000  # looked at together: 20 MB. A panel that nobody works on has an error an item


class Grid(NamedTuple):
    """The thresholds to be tested, strict (high) to loose (low), and the share of unlabelled items
    that each lets through. Frozen before the first label counts."""

    thresholds: tuple[float, ...]
    coverage: tuple[float, ...]


class Certified(NamedTuple):
    """What the labels prove.

    `threshold` is the loosest certified one, None for none; `levels` are all certified ones, strict
    to loose. Of the panel's items at or above `threshold`, `labels` count and `errors` are wrong;
    `upper_bound` is their one-sided Clopper-Pearson bound at 1 - delta. That bound is for people:
    it holds for one look, while `threshold` holds for any number of looks. Where nothing is
    certified, the figures are those of the strictest threshold tested first, and `upper_bound` is
    None where it has no label. `why` says it in words.
    """

    threshold: float | None
    levels: tuple[float, ...]
    labels: int
    errors: int
    upper_bound: float | None
    why: str


def grid_of(scores: ArrayLike, levels: int = 100) -> Grid:
    """Thresholds at up to `levels` quantiles of unlabelled `scores` [n]; equal ones collapse.

    Raises:
        ValueError: there is no score, or one that is no number.
    """
    known = _finite(scores)
    if not len(known):
        raise ValueError("no score to make a grid of")
    shares = np.arange(1, levels + 1) / levels
    # "lower" is a score that did occur, so that "at or above it" means what it says under ties.
    found = np.unique(np.quantile(known, 1.0 - shares, method="lower"))[::-1]
    coverage = 1.0 - np.searchsorted(np.sort(known), found, side="left") / len(known)
    return Grid(tuple(map(float, found)), tuple(map(float, coverage)))


def certify(
    scores: ArrayLike, errors: ArrayLike, grid: Grid, alpha: float, delta: float
) -> Certified:
    """The thresholds of `grid` above which the error rate is at most `alpha`, wrong with
    probability `delta` at most, at this look and all others together.

    `scores` [n] and `errors` [n] (True: the AI's label was wrong) are of the audit panel, in the
    order in which the items were *routed*; in the order of the labels' arrival the guarantee is
    lost, because errors take people longer.

    Raises:
        ValueError: arrays of different length, a score that is no number, an empty or unordered
            grid, alpha or delta not between 0 and 1.
    """
    _check_share(alpha=alpha, delta=delta)
    known, wrong = _finite(scores), np.asarray(errors, dtype=np.bool_)
    if known.shape != wrong.shape:
        raise ValueError(f"{len(known)} scores and {len(wrong)} labels")
    thresholds = np.asarray(grid.thresholds)
    if not len(thresholds) or (np.diff(thresholds) >= 0).any():
        raise ValueError("the grid's thresholds must fall")
    evidence = best_log_e_values(known, wrong, thresholds, alpha)
    certified = _passed(evidence, grid, delta)
    reported = max(certified) if certified else starts_of(grid)[0]
    threshold = float(thresholds[reported])
    accepted = known >= threshold
    labels, mistakes = int(accepted.sum()), int((accepted & wrong).sum())
    return Certified(
        threshold=threshold if certified else None,
        levels=tuple(float(thresholds[level]) for level in sorted(certified)),
        labels=labels,
        errors=mistakes,
        upper_bound=clopper_pearson_upper(mistakes, labels, delta) if labels else None,
        why=_why(known, wrong, grid, alpha, delta, certified),
    )


def best_log_e_values(scores: Floats, errors: Bools, thresholds: Floats, alpha: float) -> Floats:
    """For each threshold the highest log e-value [len(thresholds)] after any of the labels.

    Only a wrong label lowers an e-value, so that its maximum lies just before one or at the end:
    only these moments are looked at, which gives the same as looking after each label.
    """
    levels = len(thresholds)
    # The first (strictest) threshold that lets the item through; `levels` for none.
    level = np.searchsorted(-thresholds, -scores, side="left")
    before: Ints = np.cumsum(errors) - errors  # errors before the label itself
    last = int(errors.sum()) + 1
    best: Floats = np.zeros(levels)  # before the first label the e-value is 1
    rights_so_far = wrongs_so_far = np.zeros(levels + 1, dtype=np.int64)
    for start in range(0, last, _MOMENTS):
        moments = min(_MOMENTS, last - start)
        part = slice(*np.searchsorted(before, (start, start + moments)))
        moment, of, bad = before[part] - start, level[part], errors[part]
        right = np.bincount(
            (moment * (levels + 1) + of)[~bad], minlength=moments * (levels + 1)
        ).reshape(moments, levels + 1)
        after_right = right.any(axis=1)  # between two errors in a row there is nothing to see
        # An error counts from the next moment on; the last one's is in the next part.
        wrong = np.zeros((moments + 1, levels + 1), dtype=np.int64)
        wrong[1 + moment[bad], of[bad]] = 1
        right[0] += rights_so_far
        wrong[0] += wrongs_so_far
        rights, wrongs = right.cumsum(axis=0), wrong.cumsum(axis=0)
        rights_so_far, wrongs_so_far = rights[-1], wrongs[-1]
        found = log_e_value(
            rights[after_right].cumsum(axis=1)[:, :levels],
            wrongs[:-1][after_right].cumsum(axis=1)[:, :levels],
            alpha,
        )
        best = np.maximum(best, found.max(axis=0, initial=0.0))
    return best


def log_e_value(rights: ArrayLike, wrongs: ArrayLike, alpha: float) -> Floats:
    """ln of the evidence against "the error rate is above alpha" after so many right and wrong
    labels (shapes broadcast): a mixture of Bernoulli likelihood ratios, whose expected value never
    grows while the rate is above alpha. Ville: it ever reaches 1/x with probability x at most."""
    rights, wrongs = np.asarray(rights, dtype=np.float64), np.asarray(wrongs, dtype=np.float64)
    terms = [
        # The bet's stake times its likelihood ratio: (1 - f alpha) / (1 - alpha) for a right label,
        # f for a wrong one.
        np.log(stake)
        + rights * np.log1p((1.0 - bet) * alpha / (1.0 - alpha))
        + wrongs * np.log(bet)
        for bet, stake in zip(BETS, STAKES, strict=True)
    ]
    # ln of the sum of exp: scipy's takes ten times as long on the large arrays of a long epoch.
    highest = np.maximum.reduce(terms)
    found: Floats = highest + np.log(sum(np.exp(term - highest) for term in terms))
    return found


def clopper_pearson_upper(errors: int, labels: int, delta: float) -> float:
    """The one-sided upper bound on an error rate at confidence 1 - delta (Clopper & Pearson 1934).

    Raises:
        ValueError: no label, or more errors than labels.
    """
    if not 0 <= errors <= labels or not labels:
        raise ValueError(f"{errors} errors of {labels} labels")
    if errors == labels:
        return 1.0
    return float(betaincinv(errors + 1, labels - errors, 1.0 - delta))


def labels_needed(
    alpha: float,
    delta: float,
    error_rate: float = 0.0,
    share: float = 1.0,
    seen: tuple[int, int] = (0, 0),
) -> int | None:
    """About how many more accepted labels certify a threshold whose true error rate is
    `error_rate`, after `seen` = (labels, errors); None where no number will do but by
    luck. For people: a third of all streams need more, the median is about 0.7 of it. `share` is
    the part of delta that the test may spend."""
    _check_share(alpha=alpha, delta=delta)
    rights, wrongs = float(seen[0] - seen[1]), float(seen[1])
    needed = -np.log(delta * share)

    def enough(more: int) -> bool:
        value = log_e_value(rights + more * (1.0 - error_rate), wrongs + more * error_rate, alpha)
        return float(value) >= float(needed)

    if enough(0):
        return 0
    high = 1
    while not enough(high):
        high *= 2
        if high > _MAX_LABELS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def starts_of(grid: Grid) -> tuple[int, ...]:
    """Where each chain begins: the level nearest to its coverage, the stricter of two equals."""
    coverage = np.asarray(grid.coverage)
    return tuple(int(np.abs(coverage - wanted).argmin()) for wanted, _ in STARTS)


def _passed(evidence: Floats, grid: Grid, delta: float) -> set[int]:
    """Fixed-sequence testing: each chain goes on from strict to loose until a test fails. The first
    bad level of a chain is fixed by the frozen grid, so each chain errs with its share of delta."""
    passed: set[int] = set()
    for start, (_, share) in zip(starts_of(grid), STARTS, strict=True):
        level = start
        while level < len(evidence) and evidence[level] >= -np.log(delta * share):
            passed.add(level)
            level += 1
    return passed


def _why(
    scores: Floats, errors: Bools, grid: Grid, alpha: float, delta: float, certified: set[int]
) -> str:
    if certified:
        level = max(certified)
        return (
            f"certified: at or above {grid.thresholds[level]:.4g} at most {percent(alpha)} of the "
            f"machine's labels are wrong, at a risk of {percent(delta)}; it lets "
            f"{grid.coverage[level]:.0%} of the items through"
        )
    if not len(scores):
        return "no label of the audit panel counts yet"
    ties = (
        ". The model gives all items the same score, so that no threshold can tell the sure ones"
        if len(grid.thresholds) == 1
        else ""
    )
    hopes = []
    for start, (_, share) in zip(starts_of(grid), STARTS, strict=True):
        accepted = scores >= grid.thresholds[start]
        labels, wrong = int(accepted.sum()), int((accepted & errors).sum())
        rate = wrong / labels if labels else 0.0
        more = labels_needed(alpha, delta, rate, share, (labels, wrong))
        hopes.append((more, labels, wrong, grid.thresholds[start], accepted.mean()))
    possible = [hope for hope in hopes if hope[0] is not None and hope[4] > 0]
    if not possible:
        _, labels, wrong, threshold, _ = hopes[0]
        return (
            f"the error rate is too high: even at or above {threshold:.4g} {wrong} of {labels} "
            f"labels were wrong, and {percent(alpha)} is tolerated{ties}"
        )
    more, _, _, threshold, coverage = min(possible, key=lambda hope: (hope[0] or 0) / hope[4])
    return (
        f"not enough labels yet: about {more} more at or above {threshold:.4g} "
        f"(about {(more or 0) / coverage:.0f} audits) if the error rate stays as it is{ties}"
    )


def _finite(scores: ArrayLike) -> Floats:
    known = np.asarray(scores, dtype=np.float64)
    if known.ndim != 1 or not np.isfinite(known).all():
        raise ValueError("scores must be a list of finite numbers")
    return known


def _check_share(**shares: float) -> None:
    for name, share in shares.items():
        if not 0.0 < share < 1.0:
            raise ValueError(f"{name} is {share}; it must be between 0 and 1")
