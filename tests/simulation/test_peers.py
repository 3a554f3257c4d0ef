"""Are the rules that we measure against the real ones? An unfair peer would prove nothing."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from services.feedback.certificate.certify import Grid
from tests.simulation.peers import counts, learn_then_test, plug_in

ONE = Grid((0.5,), (1.0,))


def exact_p_value(wrong: int, labels: int, alpha: Fraction) -> Fraction:
    """P(at most so many errors) at an error rate of alpha."""
    return sum(
        (comb(labels, k) * alpha**k * (1 - alpha) ** (labels - k) for k in range(wrong + 1)),
        Fraction(0),
    )


@pytest.mark.parametrize(("labels", "wrong"), [(149, 0), (148, 0), (236, 1), (313, 2), (312, 2)])
def test_the_exact_test_passes_where_the_binomial_tail_is_small_enough(
    labels: int, wrong: int
) -> None:
    # Given one threshold, tested with the two fifths of delta that two of the starts have
    p_value = exact_p_value(wrong, labels, Fraction(1, 50))
    found = learn_then_test(np.array([[labels]]), np.array([[wrong]]), ONE, 0.02, 0.125)
    assert bool(found) is (p_value <= Fraction(1, 20))


def test_counts_grow_look_by_look_and_threshold_by_threshold() -> None:
    grid = Grid((0.9, 0.6), (0.5, 1.0))
    scores, errors = np.array([0.95, 0.7, 0.5, 0.9]), np.array([False, True, True, True])
    labels, wrong = counts(scores, errors, grid, looks=2)
    assert labels.tolist() == [[1, 2], [2, 3]]
    assert wrong.tolist() == [[0, 1], [1, 2]]


def test_the_plug_in_rule_takes_the_loosest_threshold_that_looks_good() -> None:
    grid = Grid((0.9, 0.6), (0.5, 1.0))
    labels, wrong = np.array([[100, 200], [100, 200]]), np.array([[1, 4], [3, 8]])
    assert plug_in(labels, wrong, grid, 0.02) == {0.6}
