"""Are accuracy, calibration error and temperature what they are defined to be?"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feedback.quality import fit_temperature, measure, softmax


def test_the_figures_of_four_predictions_worked_out_by_hand() -> None:
    # Given two sure answers, one of them wrong, and two unsure ones, one of them wrong
    shares = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.6, 0.4]])
    quality = measure(shares, np.array([0, 0, 0, 1]), threshold=0.85)
    # I expect half right on either side; in each bin the gap between confidence and accuracy
    assert quality.items == 4
    assert quality.accuracy == quality.share_below == 0.5
    assert quality.accuracy_above == quality.accuracy_below == 0.5
    assert quality.ece == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)


def test_an_accuracy_over_no_item_is_no_number() -> None:
    quality = measure(np.array([[0.9, 0.1]]), np.array([0]), threshold=0.5)
    assert quality.accuracy_above == 1
    assert math.isnan(quality.accuracy_below)


def test_a_confidence_of_one_is_in_the_last_bin() -> None:
    # Given a wrong answer of confidence 1 and a right one of 0.95, in the same bin
    quality = measure(np.array([[1.0, 0.0], [0.95, 0.05]]), np.array([1, 0]), threshold=0.5)
    # I expect one gap: 0.975 sure on average, half right
    assert quality.ece == pytest.approx(0.475)


def test_the_fitted_temperature_is_the_one_by_which_the_scores_are_too_sure() -> None:
    # Given labels drawn from honest scores, and a model that is three times as sure
    random = np.random.default_rng(1)
    honest = random.normal(size=(20_000, 3))
    shares = softmax(honest)
    truth = (shares.cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    # If I fit its temperature, I expect 3, and honest confidences by it
    temperature = fit_temperature(3 * honest, truth)
    assert temperature == pytest.approx(3, rel=0.05)
    assert measure(softmax(3 * honest, temperature), truth, 0.5).ece < 0.02


@given(st.lists(st.floats(-800, 800), min_size=2, max_size=5), st.floats(0.05, 20))
def test_a_softmax_is_a_distribution_in_the_order_of_its_logits(
    logits: list[float], temperature: float
) -> None:
    (shares,) = softmax(np.array([logits]), temperature)
    assert shares.sum() == pytest.approx(1)
    assert (np.diff(shares[np.argsort(logits)]) >= 0).all()
