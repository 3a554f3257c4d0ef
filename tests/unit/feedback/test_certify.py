"""Does the certifier compute what the method says, and refuse what it cannot judge?"""

import tracemalloc
from fractions import Fraction
from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.feedback.certificate.certify import (
    BETS,
    STAKES,
    STARTS,
    Grid,
    best_log_e_values,
    certify,
    clopper_pearson_upper,
    grid_of,
    labels_needed,
    log_e_value,
    starts_of,
)

GRID = grid_of(np.linspace(0.5, 1.0, 1_001))


def test_the_stakes_and_the_shares_of_delta_add_up_to_one() -> None:
    # What is staked and what may be risked is not more than there is.
    assert sum(STAKES) == pytest.approx(1.0)
    assert sum(share for _, share in STARTS) == pytest.approx(1.0)


@given(
    alpha=st.sampled_from([0.001, 0.01, 0.02, 0.05, 0.2]),
    rights=st.integers(0, 500),
    wrongs=st.integers(0, 20),
)
def test_at_the_tolerated_error_rate_the_expected_e_value_never_grows(
    alpha: float, rights: int, wrongs: int
) -> None:
    # Given any history, and one more label that is wrong with probability alpha exactly
    now, right, wrong = (
        exp(float(log_e_value(r, w, alpha)))
        for r, w in ((rights, wrongs), (rights + 1, wrongs), (rights, wrongs + 1))
    )
    # I expect a fair game: this is all that the guarantee rests on.
    assert (1 - alpha) * right + alpha * wrong == pytest.approx(now)


def test_the_e_value_is_the_mixture_of_likelihood_ratios() -> None:
    # Computed in fractions, without logarithms
    alpha, rights, wrongs = Fraction(1, 50), 200, 2
    expected = sum(
        Fraction(str(stake))
        * (Fraction(str(bet))) ** wrongs
        * ((1 - Fraction(str(bet)) * alpha) / (1 - alpha)) ** rights
        for bet, stake in zip(BETS, STAKES, strict=True)
    )
    assert exp(float(log_e_value(rights, wrongs, 0.02))) == pytest.approx(float(expected))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9]), st.booleans()), max_size=60),
    st.sampled_from([0.01, 0.1]),
)
def test_the_highest_evidence_is_that_after_any_single_label(
    labels: list[tuple[float, bool]], alpha: float
) -> None:
    thresholds = np.array([0.85, 0.7, 0.65, 0.5])
    scores = np.array([score for score, _ in labels])
    errors = np.array([wrong for _, wrong in labels], dtype=np.bool_)
    # If I look after every label, one threshold at a time
    expected = []
    for threshold in thresholds:
        values, rights, wrongs = [0.0], 0, 0
        for score, wrong in labels:
            if score >= threshold:
                rights, wrongs = rights + (not wrong), wrongs + wrong
                values.append(float(log_e_value(rights, wrongs, alpha)))
        expected.append(max(values))
    # I expect what the quick way finds.
    assert best_log_e_values(scores, errors, thresholds, alpha) == pytest.approx(expected)


def test_many_errors_take_no_more_memory_and_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a panel that nobody works on: 15 000 overdue audits among right ones
    random = np.random.default_rng(46)
    scores, errors = random.random(30_000), random.random(30_000) < 0.5
    thresholds = np.linspace(0.99, 0.0, 100)
    tracemalloc.start()
    found = best_log_e_values(scores, errors, thresholds, 0.4)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # I expect a certifier of 512 MiB to stand it,
    assert most < 100 << 20
    # and the same evidence however many moments are looked at together
    monkeypatch.setattr("services.feedback.certificate.certify._MOMENTS", 7)
    few = slice(0, 2_000)
    pieces = best_log_e_values(scores[few], errors[few], thresholds, 0.4)
    monkeypatch.setattr("services.feedback.certificate.certify._MOMENTS", 1 << 20)
    assert pieces == pytest.approx(best_log_e_values(scores[few], errors[few], thresholds, 0.4))
    assert found == pytest.approx(best_log_e_values(scores, errors, thresholds, 0.4))


def test_a_certificate_once_given_stays_while_labels_are_added() -> None:
    # Given labels that are right at first and wrong later
    scores = np.full(900, 0.9)
    errors = np.arange(900) >= 300
    # I expect the certificate of the first ones to stay (an alarm ends it, not this function).
    early = certify(scores[:300], errors[:300], GRID, 0.02, 0.1)
    late = certify(scores, errors, GRID, 0.02, 0.1)
    assert early.threshold is not None
    assert early.levels == late.levels
    # The reported figures say how it looks by now.
    assert (late.labels, late.errors) == (900, 600)
    assert late.upper_bound is not None
    assert late.upper_bound > 0.6


def test_a_chain_ends_at_the_first_threshold_that_it_cannot_pass() -> None:
    # Given a model that is right above 0.9 and below 0.7, and wrong at every fifth item between
    random = np.random.default_rng(4)
    scores = random.uniform(0.5, 1.0, 20_000)
    errors = (scores > 0.7) & (scores < 0.9) & (random.random(20_000) < 0.2)
    certified = certify(scores, errors, GRID, 0.05, 0.1)
    # I expect no threshold below the bad region, however well the easy items do beyond it:
    assert certified.threshold is not None
    assert 0.84 < certified.threshold < 0.90
    # the certified ones are neighbours, from where a chain starts.
    at = [GRID.thresholds.index(level) for level in certified.levels]
    assert at == list(range(at[0], at[-1] + 1))
    assert at[0] == starts_of(GRID)[0]


def test_no_label_certifies_nothing_and_says_so() -> None:
    certified = certify([], [], GRID, 0.02, 0.1)
    assert certified.threshold is None
    assert certified.levels == ()
    assert certified.upper_bound is None
    assert "no label" in certified.why


def test_one_score_for_everything_is_one_threshold_or_none() -> None:
    # Given a model that says 0.9 of everything: the grid collapses
    grid = grid_of(np.full(500, 0.9))
    assert grid == Grid((0.9,), (1.0,))
    # I expect all or nothing: with good labels all,
    assert certify(np.full(400, 0.9), np.zeros(400), grid, 0.02, 0.1).threshold == 0.9
    # else nothing, with the reason.
    bad = certify(np.full(400, 0.9), np.arange(400) % 5 == 0, grid, 0.02, 0.1)
    assert bad.threshold is None
    assert "same score" in bad.why
    assert "80 of 400" in bad.why


def test_tied_scores_collapse_and_coverage_counts_all_of_them() -> None:
    grid = grid_of([0.5] * 30 + [0.9] * 70)
    assert grid.thresholds == (0.9, 0.5)
    assert grid.coverage == pytest.approx((0.7, 1.0))


@pytest.mark.parametrize(
    ("alpha", "delta", "promised"),
    [
        (0.02, 0.10, "at most 2% of the machine's labels are wrong, at a risk of 10%"),
        (0.002, 0.005, "at most 0.2% of the machine's labels are wrong, at a risk of 0.5%"),
        (0.00004, 0.001, "at most 0.004% of the machine's labels are wrong, at a risk of 0.1%"),
    ],
)
def test_what_is_promised_is_said_as_it_was_asked_for(
    alpha: float, delta: float, promised: str
) -> None:
    # A risk of 0.5 % is not "0%", which would be a certainty that nobody has.
    certified = certify(np.ones(400_000), np.zeros(400_000), GRID, alpha, delta)
    assert promised in certified.why


def test_few_labels_are_told_how_many_more_it_takes() -> None:
    certified = certify(np.full(100, 1.0), np.zeros(100), GRID, 0.02, 0.1)
    assert certified.threshold is None
    assert "not enough labels yet: about 94 more" in certified.why
    # With so many more right ones at a share of 0.4 of delta it is certified.
    assert certify(np.full(194, 1.0), np.zeros(194), GRID, 0.02, 0.1).threshold is not None
    assert certify(np.full(193, 1.0), np.zeros(193), GRID, 0.02, 0.1).threshold is None


def test_an_error_rate_above_alpha_is_said_to_be_hopeless() -> None:
    errors = np.arange(400) % 10 == 0
    certified = certify(np.full(400, 1.0), errors, GRID, 0.02, 0.1)
    assert certified.threshold is None
    assert "error rate is too high" in certified.why
    assert "40 of 400" in certified.why


@pytest.mark.parametrize(("errors", "labels"), [(0, 1), (0, 149), (1, 10), (5, 300), (9, 10)])
def test_the_bound_is_where_so_few_errors_have_the_probability_delta(
    errors: int, labels: int
) -> None:
    bound = clopper_pearson_upper(errors, labels, 0.05)
    tail = sum(
        comb(labels, wrong) * bound**wrong * (1 - bound) ** (labels - wrong)
        for wrong in range(errors + 1)
    )
    assert tail == pytest.approx(0.05)


def test_all_wrong_is_bounded_by_one_and_no_label_by_nothing() -> None:
    assert clopper_pearson_upper(3, 3, 0.05) == 1.0
    with pytest.raises(ValueError, match="0 labels"):
        clopper_pearson_upper(0, 0, 0.05)
    with pytest.raises(ValueError, match="5 errors of 3"):
        clopper_pearson_upper(5, 3, 0.05)


def test_labels_needed_counts_what_was_seen_and_knows_when_none_will_do() -> None:
    assert labels_needed(0.02, 0.1) == 142
    assert labels_needed(0.02, 0.1, seen=(100, 0)) == 42
    assert labels_needed(0.02, 0.1, seen=(142, 0)) == 0
    assert labels_needed(0.02, 0.1, error_rate=0.03) is None
    slow = labels_needed(0.02, 0.1, error_rate=0.016)
    assert slow is not None
    assert slow > 5_000
    # The highest bet is on three quarters of alpha: too near to it, no number of labels will do.
    assert labels_needed(0.02, 0.1, error_rate=0.018) is None
    # The threshold of 1 / (delta share) is what is asked for, exactly.
    assert float(log_e_value(142, 0, 0.02)) >= log(10) > float(log_e_value(141, 0, 0.02))


@pytest.mark.parametrize(
    ("scores", "errors", "grid", "alpha", "delta", "message"),
    [
        ([0.9], [], GRID, 0.02, 0.1, "1 scores and 0 labels"),
        ([float("nan")], [False], GRID, 0.02, 0.1, "finite"),
        ([[0.9]], [[False]], GRID, 0.02, 0.1, "finite"),
        ([0.9], [False], GRID, 0.0, 0.1, "alpha is 0"),
        ([0.9], [False], GRID, 1.0, 0.1, "alpha is 1"),
        ([0.9], [False], GRID, 0.02, 0.0, "delta is 0"),
        ([0.9], [False], Grid((), ()), 0.02, 0.1, "must fall"),
        ([0.9], [False], Grid((0.5, 0.9), (1.0, 0.5)), 0.02, 0.1, "must fall"),
        ([0.9], [False], Grid((0.9, 0.9), (0.5, 0.5)), 0.02, 0.1, "must fall"),
    ],
)
def test_what_makes_no_sense_is_refused(
    scores: list[float],
    errors: list[bool],
    grid: Grid,
    alpha: float,
    delta: float,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        certify(scores, errors, grid, alpha, delta)


def test_a_grid_needs_scores() -> None:
    with pytest.raises(ValueError, match="no score"):
        grid_of([])
    with pytest.raises(ValueError, match="finite"):
        grid_of([0.5, float("inf")])
