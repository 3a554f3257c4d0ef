"""Are the figures on a model the textbook's, and do the gates open for noise and shut for harm?"""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from services.feedback.quality import Floats, calibration_error, fit_temperature
from services.feedback.training.evaluate import (
    Judged,
    ece_if_calibrated,
    evaluate,
    f1_gains,
    one_label,
    share,
    worse_by_chance,
)
from services.feedback.training.gates import MIN_HELD_OUT, Scored, gates, refusal
from services.feedback.training.labelled_texts import weight

CHANCE = np.random.default_rng(7)


def scores(right: np.ndarray, confidence: float = 0.9) -> Floats:
    """Answers for texts whose right label is 0: right where it says so."""
    first = np.where(right, confidence, 1 - confidence)
    return np.stack([first, 1 - first], axis=1)


def test_wilsons_interval_is_the_textbooks() -> None:
    for successes, trials in ((0, 10), (7, 10), (97, 100), (500, 500)):
        expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
        found = share(successes, trials)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
        assert found.low <= found.value <= found.high
    assert np.isnan(share(0, 0).value)


def test_a_paired_comparison_is_mcnemars_exact_test() -> None:
    before = np.array([True] * 12 + [False] * 5 + [True] * 80)
    after = np.array([False] * 12 + [True] * 5 + [True] * 80)
    expected = binomtest(12, 17, 0.5, alternative="greater").pvalue
    assert worse_by_chance(before, after) == pytest.approx(expected)
    assert worse_by_chance(before, before) == 1.0


def test_the_gain_in_f1_is_the_difference_of_the_same_texts() -> None:
    # Given a model, and one that is right on a tenth of the texts more
    truth = np.arange(1_000) % 2
    right = np.arange(1_000) % 10 < 7
    better = np.arange(1_000) % 10 < 8

    def answers(correct: np.ndarray) -> Judged:
        found = scores(correct)
        found[truth == 1] = found[truth == 1][:, ::-1]
        return one_label(found, truth)

    before, after = answers(right), answers(better)
    micro, macro = f1_gains([(before, after)])
    # I expect the difference, and the interval of a tenth of 1 000, not of two independent shares
    assert micro.value == pytest.approx(0.1)
    one, other = (evaluate(each, ("a", "b"), 0.85) for each in (before, after))
    assert macro.value == pytest.approx(other.macro_f1.value - one.macro_f1.value)
    assert micro.high - micro.low == pytest.approx(2 * 1.96 * np.sqrt(0.09 / 1_000), rel=0.15)
    # of several pairs their mean, and nothing where nothing changed.
    assert f1_gains([(before, after), (before, before)])[0].value == pytest.approx(0.05)
    assert f1_gains([(before, before)]) == ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def test_a_bootstrap_interval_is_about_the_normal_one_and_always_the_same() -> None:
    right = CHANCE.random(2_000) < 0.8
    truth = np.where(CHANCE.random(2_000) < 0.5, 0, 1)
    found = scores(right)
    found[truth == 1] = found[truth == 1][:, ::-1]
    one, again = (evaluate(one_label(found, truth), ("a", "b"), 0.85) for _ in range(2))
    assert one == again
    f1 = one.labels[0].f1
    half = norm.ppf(0.975) * np.sqrt(0.8 * 0.2 / 1_000)
    assert f1.high - f1.low == pytest.approx(2 * half, rel=0.35)
    assert f1.low < f1.value < f1.high
    assert one.accuracy.value == pytest.approx(right.mean())
    assert one.share_below.value == 0.0


def test_an_evaluation_of_nothing_claims_nothing() -> None:
    found = evaluate(one_label(np.zeros((0, 2)), np.zeros(0, dtype=np.int64)), ("a", "b"), 0.85)
    assert found.items == 0
    assert np.isnan(found.accuracy.value)
    assert np.isnan(found.ece.value)


def test_few_texts_show_a_calibration_error_where_there_is_none() -> None:
    # Given scores that mean what they say, I expect up to a tenth on 60 texts, hardly any on many
    confidence = CHANCE.uniform(0.5, 1.0, 60)
    assert 0.06 < ece_if_calibrated(confidence) < 0.25
    assert ece_if_calibrated(CHANCE.uniform(0.5, 1.0, 20_000)) < 0.02


def held_out(before: np.ndarray, after: np.ndarray, confidence: float = 0.9) -> Scored:
    truth = np.zeros(len(before), dtype=np.int64)
    return Scored(
        one_label(scores(before), truth),
        one_label(scores(after, confidence), truth),
        np.ones(len(before)),
    )


def shut(found: Scored, old: Scored | None = None) -> list[str]:
    return [gate.name for gate in gates(found, old) if not gate.passed]


def test_noise_passes_and_harm_does_not() -> None:
    right = np.arange(200) % 10 != 0  # 90 %
    noise = right.copy()
    noise[1:6] = False  # five lost
    noise[[0, 10]] = True  # and two won
    harm = right.copy()
    harm[1:20] = False
    assert shut(held_out(right, right)) == []
    assert shut(held_out(right, noise)) == []
    assert "no worse" in shut(held_out(right, harm))
    assert shut(held_out(harm, right)) == []


def test_too_few_decisions_are_no_judgement() -> None:
    few = np.ones(MIN_HELD_OUT - 1, dtype=bool)
    assert "enough labels" in shut(held_out(few, few, 0.99))
    none = np.zeros(0, dtype=bool)
    [verdict] = gates(held_out(none, none), None)
    assert not verdict.passed
    assert "0 human decisions" in str(refusal([verdict]))


def test_a_boaster_is_not_promoted_however_often_it_is_right() -> None:
    right = np.arange(400) % 10 < 8  # 80 %
    assert shut(held_out(right, right, 0.8)) == []
    assert shut(held_out(right, right, 0.99)) == ["calibrated"]


def test_what_was_known_before_must_not_be_lost() -> None:
    right = np.arange(1_000) % 10 != 0
    forgot = right.copy()
    forgot[1:26] = False  # 2.3 points
    fine = held_out(right[:200], right[:200])
    assert shut(fine, held_out(right, right)) == []
    assert shut(fine, held_out(right, forgot)) == ["remembers"]
    # Of few texts four lost are no proof, and five are.
    few = np.arange(44) % 2 == 0
    four, five = few.copy(), few.copy()
    four[[0, 2, 4, 6]] = False
    five[[0, 2, 4, 6, 8]] = False
    assert shut(fine, held_out(few, four)) == []
    assert shut(fine, held_out(few, five)) == ["remembers"]


def test_few_items_move_the_temperature_little_and_many_decide_it() -> None:
    # Given logits that are three times too large
    def drawn(count: int) -> tuple[Floats, np.ndarray]:
        honest = CHANCE.normal(0, 2, (count, 2))
        shares = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
        return 3 * honest, (CHANCE.random(count) > shares[:, 0]).astype(np.int64)

    many = drawn(20_000)
    assert fit_temperature(*many) == pytest.approx(3.0, rel=0.1)
    assert fit_temperature(*many, prior=1.0) == pytest.approx(3.0, rel=0.1)
    few = (many[0][:10], many[1][:10])
    assert 0.7 < fit_temperature(*few, prior=1.0) < fit_temperature(*many)


def test_what_only_the_panel_sent_stands_for_what_was_accepted_unseen() -> None:
    assert weight(0.95, 0.85, True, 0.05) == pytest.approx(20)
    assert weight(0.70, 0.85, True, 0.05) == 1.0, "a person decided it anyway"
    assert weight(0.95, 0.85, False, 0.05) == 1.0, "a rule sent it"
    assert weight(0.95, 0.85, True, 1.0) == 1.0, "everything went to people"
    assert weight(None, None, True, None) == 1.0
    # Given a model that is honest, reviewed where it is unsure and, of the rest, one in twenty
    shares = np.clip(CHANCE.beta(5, 2, 60_000), 0.5, 0.999)
    right = CHANCE.random(60_000) < shares - 0.15 * (shares < 0.85)  # and boasts where it is unsure
    drawn = (shares < 0.85) | (CHANCE.random(60_000) < 0.05)
    stands_for = np.where(shares < 0.85, 1.0, 20.0)[drawn]
    # I expect the calibration error of all items from the reviewed ones, if they are weighed
    everywhere = calibration_error(shares, right)
    assert calibration_error(shares[drawn], right[drawn], stands_for) == pytest.approx(
        everywhere, abs=0.01
    )
    assert calibration_error(shares[drawn], right[drawn]) > everywhere + 0.02
