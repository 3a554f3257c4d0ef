"""Streams of scored items whose true error rate at every threshold is known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from services.feedback.certificate.certify import Bools, Floats, Grid, certify, grid_of

ALPHA, DELTA = 0.02, 0.05


@dataclass(frozen=True)
class World:
    """Items with u uniform in [0, 1], the most certain first: the score is 1 - `span` * u, and the
    label wrong with probability `worst` * u ** `power`. A threshold that lets the share c through
    has an error rate of worst * c ** power / (power + 1)."""

    worst: float
    power: float
    span: float = 0.5

    def draw(self, random: np.random.Generator, items: int) -> tuple[Floats, Bools]:
        """Scores and errors of so many items."""
        u = random.random(items)
        return 1.0 - self.span * u, random.random(items) < self.worst * u**self.power

    def risk(self, thresholds: Floats) -> Floats:
        """The true error rate at or above each threshold."""
        coverage = (1.0 - thresholds) / self.span
        found: Floats = self.worst * coverage**self.power / (self.power + 1.0)
        return found

    def grid(self, random: np.random.Generator) -> Grid:
        """Frozen before the first label: from items that nobody labelled."""
        return grid_of(self.draw(random, 10_000)[0])

    def broken_by(self, levels: tuple[float, ...], alpha: float = ALPHA) -> bool:
        """Whether a threshold among these has a higher error rate than was promised."""
        return bool((self.risk(np.array(levels)) > alpha).any())


# The usual classifier: sure and right on half of the items, then worse and worse. At 49 % coverage
# the error rate passes 2 %.
USUAL = World(worst=0.25, power=2.0)
# Nearly as bad where it is sure as elsewhere: nearly flat around alpha, the hardest to judge.
FLAT = World(worst=0.021, power=0.02)
# Says 0.81 at least, whatever it is shown. At 0.85 it lets four items of five through, 6.5 % wrong.
OVERCONFIDENT = World(worst=0.14, power=0.8, span=0.1875)


def share_broken(
    world: World,
    runs: int,
    labels: int,
    *,
    seed: int,
    alpha: float = ALPHA,
    delta: float = DELTA,
    seen: float = 1.0,
) -> float:
    """The share of runs in which the e-process ever certifies what it should not, looking after
    every single label. `seen`: the share of the errors that the reviewers notice."""
    random = np.random.default_rng(seed)
    broken = 0
    for grid, scores, errors in streams(world, runs, labels, random):
        noticed = errors & (random.random(labels) < seen)
        broken += world.broken_by(certify(scores, noticed, grid, alpha, delta).levels)
    return broken / runs


def streams(
    world: World, runs: int, labels: int, random: np.random.Generator
) -> Iterator[tuple[Grid, Floats, Bools]]:
    """For each run a grid, and the scores and errors of its audits."""
    for _ in range(runs):
        grid = world.grid(random)
        scores, errors = world.draw(random, labels)
        yield grid, scores, errors
