"""Preferences: kappa, and how strong each candidate is (Bradley-Terry). Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import exp, log, sqrt

import numpy as np

from services.review_ui.reports.agreement import (
    agreed_by_habit,
    agreed_by_pool,
    beyond_chance,
)
from services.review_ui.reports.measures.figures import Figure, Pair, figures
from shared.intervals import Interval, wilson

Wins = Mapping[tuple[str, str], float]
"""By winner and loser how often; half a win each for a tie."""
_STEPS = 10_000
_CLOSE = 1e-12
_Z = 1.959963984540054


def measured(pairs: Sequence[Pair]) -> list[Figure]:
    """Kappa and alpha over the candidates' places, a tie being one more answer."""
    given = [(pair.one.brief, pair.other.brief) for pair in pairs]
    agreed = wilson(sum(one == other for one, other in given), len(given))
    return figures(
        ("kappa", beyond_chance(agreed, agreed_by_habit(given))),
        ("alpha", beyond_chance(agreed, agreed_by_pool(given))),
    )


def wins(choices: Iterable[tuple[Sequence[str], int | None]]) -> dict[tuple[str, str], float]:
    """From candidates' names and which of them was preferred (None: a tie). Two of one name say
    nothing of each other."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    for names, preferred in choices:
        if preferred is None:
            for one, other in combinations(names, 2):
                found[one, other] += 0.5
                found[other, one] += 0.5
        else:
            for place, name in enumerate(names):
                if place != preferred:
                    found[names[preferred], name] += 1.0
    return {pair: count for pair, count in found.items() if pair[0] != pair[1]}


def strengths(won: Wins) -> list[Figure]:
    """The log-odds of each candidate against the average one, the strongest first, with its 95 %
    interval (from the Fisher information, chance of all choices taken as independent). Empty where
    they cannot be compared: some never lost to the others, or never met.

    Bradley & Terry (1952), by the steps of Hunter (2004), "MM algorithms for generalized
    Bradley-Terry models".
    """
    names = sorted({name for pair in won for name in pair})
    if len(names) < 2 or not _all_comparable(names, won):
        return []
    count = len(names)
    beaten = np.array([[won.get((one, other), 0.0) for other in names] for one in names])
    met, total = beaten + beaten.T, beaten.sum(axis=1)
    worth = np.ones(count)
    for _ in range(_STEPS):
        shares = met / (worth[:, None] + worth[None, :])
        np.fill_diagonal(shares, 0.0)
        new = total / shares.sum(axis=1)
        new /= exp(np.log(new).mean())
        moved, worth = float(np.abs(np.log(new / worth)).max()), new
        if moved < _CLOSE:
            break
    chance = worth[:, None] / (worth[:, None] + worth[None, :])
    weight = met * chance * (1 - chance)
    np.fill_diagonal(weight, 0.0)
    information = np.diag(weight.sum(axis=1)) - weight
    # Only differences are known: the pseudo-inverse is the covariance with their sum held at 0.
    spread = np.linalg.pinv(information)
    found = []
    for place, name in enumerate(names):
        value, wide = log(worth[place]), _Z * sqrt(max(0.0, float(spread[place, place])))
        found.append(Figure("strength", Interval(value, value - wide, value + wide), name))
    return sorted(found, key=lambda figure: -figure.value)


def _all_comparable(names: Sequence[str], won: Wins) -> bool:
    """Whether from every candidate wins lead to every other: else some strength is infinite."""
    beat, lost = defaultdict(set), defaultdict(set)
    for (winner, loser), count in won.items():
        if count:
            beat[winner].add(loser)
            lost[loser].add(winner)
    return all(_reached(names[0], steps) == set(names) for steps in (beat, lost))


def _reached(start: str, steps: Mapping[str, set[str]]) -> set[str]:
    found, ahead = {start}, [start]
    while ahead:
        new = steps.get(ahead.pop(), set()) - found
        found |= new
        ahead.extend(new)
    return found
