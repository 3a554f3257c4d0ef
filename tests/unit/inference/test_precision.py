"""When has bfloat16 been shown to route as float32 does?"""

import numpy as np
import pytest
from scipy.stats import beta

from services.inference.precision import MIN_TEXTS, THRESHOLDS, Evidence, compare, upper_bound


@pytest.mark.parametrize(("seen", "of"), [(0, 1), (0, 600), (1, 948), (7, 4_000), (50, 60), (9, 9)])
def test_the_bound_is_clopper_and_pearsons(seen: int, of: int) -> None:
    # I expect what the quantile of the beta distribution says
    expected = beta.ppf(0.95, seen + 1, of - seen) if seen < of else 1.0
    assert upper_bound(seen, of) == pytest.approx(expected, abs=1e-9)


def test_few_texts_show_nothing_however_well_they_agree() -> None:
    # Given no difference at all, I expect the least number of texts to be what it is said to be
    assert not Evidence(MIN_TEXTS - 1, 0, 0, 0.0).sufficient
    assert Evidence(MIN_TEXTS, 0, 0, 0.0).sufficient


def test_an_estimate_below_the_limit_is_not_enough() -> None:
    # Given 4 crossings among 1 000 texts: 0.4 % were seen, 0.9 % are possible
    assert not Evidence(1_000, 0, 4, 0.01).sufficient
    # If the same share holds for many more texts, I expect it to be enough
    assert Evidence(20_000, 0, 80, 0.01).sufficient


def test_other_labels_count_as_much_as_crossings() -> None:
    assert not Evidence(1_000, 4, 0, 0.01).sufficient


def test_what_differs_is_counted_at_the_threshold_that_most_texts_cross() -> None:
    # Given five texts, of which one changes its label and two fall below 0.85
    exact = np.array([[0.9, 0.1], [0.51, 0.49], [0.86, 0.14], [0.1, 0.9], [0.855, 0.145]])
    other = np.array([[0.9, 0.1], [0.49, 0.51], [0.84, 0.16], [0.1, 0.9], [0.845, 0.155]])
    # I expect both to be counted, and the largest of all differences
    assert 0.85 in THRESHOLDS
    found = compare(exact, other)
    assert found[:3] == (5, 1, 2)
    assert found.largest_difference == pytest.approx(0.02)
