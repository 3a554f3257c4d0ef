"""Are the agreement statistics those of the papers? Values worked out by hand, and properties."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.review_ui.reports.agreement import (
    agreed_by_habit,
    agreed_by_pool,
    beyond_chance,
    cohens_kappa,
    krippendorffs_alpha,
    percent_agreement,
)
from shared.intervals import wilson

LABELS = st.sampled_from("abc")
PAIRS = st.lists(st.tuples(LABELS, LABELS), max_size=30)
UNITS = st.lists(st.lists(st.one_of(st.none(), LABELS), max_size=5), max_size=12)


def test_kappa_of_a_table_worked_out_by_hand() -> None:
    # Given fifty proposals: 20 times both yes, 15 both no, 5 only the first, 10 only the second
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    # I expect 0.7 observed; by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5; so 0.2 / 0.5
    assert percent_agreement(pairs) == pytest.approx(0.7)
    assert cohens_kappa(pairs) == pytest.approx(0.4)


def test_kappa_knows_that_the_same_agreement_may_be_chance() -> None:
    # Given two tables with 60 % agreement each, and different habits
    even = [("y", "y")] * 45 + [("y", "n")] * 15 + [("n", "y")] * 25 + [("n", "n")] * 15
    other = [("y", "y")] * 25 + [("y", "n")] * 35 + [("n", "y")] * 5 + [("n", "n")] * 35
    # I expect (0.60 - 0.54) / 0.46 and (0.60 - 0.46) / 0.54
    assert cohens_kappa(even) == pytest.approx(0.06 / 0.46)
    assert cohens_kappa(other) == pytest.approx(0.14 / 0.54)


def test_alpha_of_four_coders_with_missing_values() -> None:
    # Given Krippendorff's (2011) example C: twelve units, four observers, gaps
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    units = [
        [None if row[unit] is None else str(row[unit]) for row in observers] for unit in range(12)
    ]
    # I expect his value, 0.743; the last unit has one label and counts for nothing
    assert krippendorffs_alpha(units) == pytest.approx(0.743, abs=0.0005)
    assert krippendorffs_alpha(units[:-1]) == krippendorffs_alpha(units)


def test_alpha_of_two_coders_by_hand() -> None:
    # Given ten items, two observers, four disagreements; labels: 14 times 0 and 6 times 1
    one = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    two = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    # I expect 1 - 19 * (2 * 4) / (2 * 14 * 6) = 0.095
    units = [(str(a), str(b)) for a, b in zip(one, two, strict=True)]
    assert krippendorffs_alpha(units) == pytest.approx(1 - 19 * 8 / 168)


def test_nothing_is_not_zero() -> None:
    assert percent_agreement([]) is None
    assert cohens_kappa([]) is None
    assert cohens_kappa([("a", "a")] * 5) is None
    assert krippendorffs_alpha([]) is None
    assert krippendorffs_alpha([["a", None], ["b"]]) is None
    assert krippendorffs_alpha([["a", "a"]]) is None
    assert wilson(0, 0) is None


@given(PAIRS)
def test_kappa_is_symmetric_and_at_most_one(pairs: list[tuple[str, str]]) -> None:
    kappa = cohens_kappa(pairs)
    turned = cohens_kappa([(other, one) for one, other in pairs])
    if kappa is None:
        assert turned is None
        return
    assert turned == pytest.approx(kappa)
    assert -1 - 1e-9 <= kappa <= 1 + 1e-9
    assert (kappa == pytest.approx(1)) == all(one == other for one, other in pairs)


@given(UNITS, st.randoms())
def test_alpha_asks_not_who_said_it_nor_in_which_order(
    units: list[list[str | None]], random: object
) -> None:
    shuffled = [list(unit) for unit in units]
    for unit in shuffled:
        random.shuffle(unit)  # type: ignore[attr-defined]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    renamed = [[label and {"a": "x", "b": "y", "c": "z"}[label] for label in u] for u in shuffled]
    alpha = krippendorffs_alpha(units)
    assert krippendorffs_alpha(renamed) == (None if alpha is None else pytest.approx(alpha))
    assert alpha is None or alpha <= 1 + 1e-9


@given(UNITS)
def test_alpha_is_the_ratio_of_the_definition(units: list[list[str | None]]) -> None:
    """1 - D_o / D_e by going through every pair of labels, in fractions."""
    rated = [[label for label in unit if label is not None] for unit in units]
    rated = [unit for unit in rated if len(unit) >= 2]
    everything = [label for unit in rated for label in unit]
    n = len(everything)
    observed = sum(
        (
            Fraction(int(a != b), len(unit) - 1)
            for unit in rated
            for i, a in enumerate(unit)
            for j, b in enumerate(unit)
            if i != j
        ),
        Fraction(0),
    )
    expected = sum(
        a != b for i, a in enumerate(everything) for j, b in enumerate(everything) if i != j
    )
    alpha = krippendorffs_alpha(units)
    if expected == 0:
        assert alpha is None
    else:
        exact = 1 - (observed / n) / Fraction(expected, n * (n - 1))
        assert alpha == pytest.approx(float(exact))


def test_wilsons_interval_by_hand() -> None:
    # Given 8 right of 10, z = 1.96
    found = wilson(8, 10)
    assert found is not None
    # I expect (0.8 + 0.19208 ± 1.96 sqrt(0.016 + 0.009604)) / 1.38416
    assert found.rate == 0.8
    assert found.low == pytest.approx(0.4902, abs=1e-4)
    assert found.high == pytest.approx(0.9433, abs=1e-4)


@given(st.integers(1, 5_000), st.data())
def test_wilsons_interval_holds_the_rate_and_stays_within_bounds(
    count: int, data: st.DataObject
) -> None:
    right = data.draw(st.integers(0, count))
    found = wilson(right, count)
    assert found is not None
    assert 0 <= found.low <= right / count <= found.high <= 1
    assert found.low < found.high


@given(PAIRS)
def test_an_interval_encloses_its_coefficient(pairs: list[tuple[str, str]]) -> None:
    agreed = wilson(sum(one == other for one, other in pairs), len(pairs))
    for coefficient, by_chance in (
        (cohens_kappa(pairs), agreed_by_habit(pairs)),
        (krippendorffs_alpha(pairs), agreed_by_pool(pairs)),
    ):
        found = beyond_chance(agreed, by_chance)
        assert (found is None) == (coefficient is None)
        if found is not None:
            assert found.rate == pytest.approx(coefficient)
            assert -1 <= found.low <= found.rate <= found.high <= 1


def test_full_agreement_of_few_is_not_certainty() -> None:
    # Given thirty items that two people label alike: Wilson's lower end is 30 / (30 + 1.96²)
    pairs = [("a", "a")] * 15 + [("b", "b")] * 15
    found = beyond_chance(wilson(30, 30), agreed_by_habit(pairs))
    # I expect kappa 1, and at least (0.8865 - 0.5) / 0.5
    assert found is not None
    assert (found.rate, found.high) == (1, 1)
    assert found.low == pytest.approx(0.773, abs=0.001)
