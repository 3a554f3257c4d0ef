"""Does the monitor compute the detector, and do the early warnings keep quiet by chance?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.feedback.certificate.drift import (
    LIMIT,
    WORSE,
    acceptance_jumped,
    detect,
    psi,
    scores_drifted,
)


@settings(deadline=None)
@given(
    errors=st.lists(st.sampled_from([False] * 9 + [True]), max_size=400),
    alpha=st.sampled_from([0.0005, 0.02, 0.3, 0.7]),
    limit=st.sampled_from([20.0, 150.0, 10_000.0]),
)
def test_the_detector_is_the_recursion_step_by_step(
    errors: list[bool], alpha: float, limit: float
) -> None:
    # If I take one audit after the other
    worse = [min(factor * alpha, 0.9) for factor in WORSE]
    values, alarm, level = [0.0] * len(worse), None, 0.0
    for position, wrong in enumerate(errors):
        values = [
            (value + 1) * (p / alpha if wrong else (1 - p) / (1 - alpha))
            for value, p in zip(values, worse, strict=True)
        ]
        level = sum(values) / len(values)
        if level >= limit:
            alarm = position
            break
    # I expect the same alarm at the same audit, and the same level.
    found = detect(errors, alpha, limit)
    assert found.alarm_at == alarm
    assert found.level == pytest.approx(level)


def test_right_answers_alone_never_raise_an_alarm() -> None:
    assert detect([False] * 100_000, 0.02).alarm_at is None
    assert detect([], 0.02) == (None, 0.0)


def test_a_run_of_errors_raises_an_alarm_within_a_few_audits() -> None:
    alarm = detect([False] * 500 + [True] * 10, 0.02).alarm_at
    assert alarm is not None
    assert 500 <= alarm <= 504


@pytest.mark.parametrize("alpha", [0.0, -0.1, 0.9, float("nan")])
def test_a_tolerance_that_makes_no_sense_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha is"):
        detect([True], alpha)


def test_the_limit_is_one_false_alarm_in_ten_thousand_audits() -> None:
    assert LIMIT == 10_000


def test_psi_is_zero_for_the_same_and_grows_with_the_difference() -> None:
    random = np.random.default_rng(31)
    before = random.beta(8, 2, 20_000)
    assert psi(before, before) == pytest.approx(0.0, abs=1e-6)
    assert psi(before, random.beta(8, 2, 20_000)) < 0.005
    near, far = psi(before, random.beta(7, 2, 20_000)), psi(before, random.beta(4, 2, 20_000))
    assert 0.005 < near < far
    assert far > 0.25


def test_psi_survives_ties_and_empty_bins() -> None:
    # Given scores that are nearly all the same, and none of the old ones among the new
    assert psi([0.9] * 100, [0.9] * 100) == pytest.approx(0.0)
    assert psi([0.9] * 100, [0.1] * 100) > 1.0
    assert np.isfinite(psi([0.9, 0.8], [0.1]))
    with pytest.raises(ValueError, match="no score"):
        psi([], [0.5])


def test_few_scores_never_warn() -> None:
    # Given quite other scores, but only a handful
    assert not scores_drifted([0.9] * 10_000, [0.1] * 499)
    assert not scores_drifted([0.9] * 499, [0.1] * 10_000)
    assert scores_drifted([0.9] * 10_000, [0.1] * 500)


@pytest.mark.parametrize(
    ("before", "now", "jumped"),
    [
        ((700, 1_000), (500, 1_000), True),
        ((700, 1_000), (900, 1_000), True),  # better is as strange as worse
        ((700, 1_000), (660, 1_000), False),  # below five points
        ((7, 10), (4, 10), False),  # chance
        ((700, 1_000), (0, 0), False),
        ((0, 0), (7, 10), False),
        ((0, 1_000), (0, 1_000), False),
        ((70_000, 100_000), (64_000, 100_000), True),
        ((70_000, 100_000), (66_000, 100_000), False),  # certain, and no matter
    ],
)
def test_the_acceptance_rate_warns_of_a_jump_that_is_large_and_no_chance(
    before: tuple[int, int], now: tuple[int, int], jumped: bool
) -> None:
    assert acceptance_jumped(before, now) is jumped
