"""Do the report's figures say what was counted, and stay silent where little was?"""

import numpy as np
import pytest

from services.feedback.certificate.certify import Grid, grid_of
from services.feedback.quality import softmax
from services.feedback.reports.curves import (
    MAX_POINTS,
    TEMPERATURE_LABELS,
    clopper_pearson,
    reliability,
    reviews_per_1000,
    risk_coverage,
    temperature_of,
)

GRID = Grid((0.9, 0.7, 0.5), (0.2, 0.6, 1.0))
SCORES = np.array([0.95, 0.9, 0.8, 0.6, 0.6])
ERRORS = np.array([False, False, True, False, True])


def test_each_threshold_counts_what_reaches_it() -> None:
    points = risk_coverage(SCORES, ERRORS, GRID, 0.1)
    assert [(p.threshold, p.coverage, p.labels, p.errors) for p in points] == [
        (0.9, 0.2, 2, 0),
        (0.7, 0.6, 3, 1),
        (0.5, 1.0, 5, 2),
    ]
    assert [p.error_rate for p in points] == [0.0, pytest.approx(1 / 3), 0.4]
    assert all((p.upper_bound or 0.0) > (p.error_rate or 0.0) for p in points)


def test_a_threshold_without_a_label_has_no_rate() -> None:
    (point, *_) = risk_coverage(np.array([0.6]), np.array([True]), GRID, 0.1)
    assert (point.labels, point.error_rate, point.upper_bound) == (0, None, None)


def test_a_long_grid_is_thinned_and_the_certified_level_stays() -> None:
    grid = grid_of(np.linspace(0.5, 1.0, 1_000))
    wanted = grid.thresholds[37]
    points = risk_coverage(SCORES, ERRORS, grid, 0.1, wanted)
    assert len(points) <= MAX_POINTS + 1
    assert wanted in [point.threshold for point in points]


def test_reliability_compares_what_was_said_with_what_was_right() -> None:
    bins = reliability(SCORES, ERRORS)
    assert [(b.low, b.labels, b.right) for b in bins] == [(0.6, 2, 0.5), (0.8, 1, 0.0), (0.9, 2, 1)]
    assert bins[0].confidence == pytest.approx(0.6)
    assert all(b.right_low <= b.right <= b.right_high for b in bins)
    # A score of exactly 1 belongs to the last bin.
    assert reliability(np.array([1.0]), np.array([False]))[0].high == 1.0


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    # By the definition: half of 5 % beyond each end; 1 - 0.025 ** (1 / n) for no hit.
    [(0, 10, 0.0, 1 - 0.025**0.1), (10, 10, 0.025**0.1, 1.0)],
)
def test_exact_intervals_of_none_and_all(hits: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, trials) == pytest.approx((low, high))


def test_reviews_count_the_panel_too() -> None:
    scores = np.array([0.9] * 60 + [0.6] * 40)
    assert reviews_per_1000(scores, 0.8, 0.0) == pytest.approx(400)
    assert reviews_per_1000(scores, 0.8, 0.05) == pytest.approx(400 + 30)
    assert reviews_per_1000(scores, None, 0.05) == 1_000
    assert reviews_per_1000(np.array([]), 0.8, 0.05) is None


def test_a_model_that_is_too_sure_gets_its_temperature() -> None:
    # Given labels drawn by honest chances, and a machine that states them at half the temperature
    random = np.random.default_rng(51)
    logits = np.column_stack([random.normal(0, 1.5, 4_000), np.zeros(4_000)])
    honest, stated = softmax(logits), softmax(logits, 0.5)
    labels = [
        "a" if draw < p else "b" for draw, p in zip(random.random(4_000), honest[:, 0], strict=True)
    ]
    found = temperature_of([{"a": float(a), "b": float(b)} for a, b in stated], labels)
    assert found.value == pytest.approx(2.0, rel=0.1)
    assert found.why == "the model is too sure"


def test_few_or_one_sided_labels_give_no_temperature() -> None:
    sure = {"a": 0.9, "b": 0.1}
    few = temperature_of([sure] * 10, ["a"] * 10)
    assert (few.value, few.labels) == (None, 10)
    assert "at least" in few.why
    right = temperature_of([sure] * TEMPERATURE_LABELS, ["a"] * TEMPERATURE_LABELS)
    assert (right.value, "were right" in right.why) == (None, True)
    wrong = temperature_of([sure] * TEMPERATURE_LABELS, ["b"] * TEMPERATURE_LABELS)
    assert (wrong.value, "were wrong" in wrong.why) == (None, True)
    # A label that the machine does not know says nothing about its confidence.
    assert temperature_of([sure] * 99, ["c"] * 99).labels == 0
