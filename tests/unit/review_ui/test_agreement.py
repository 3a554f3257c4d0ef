"""Are the agreement statistics those of the papers? Values worked out by hand, and properties."""

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.review_ui.reports.agreement import agreed_by_habit, agreed_by_pool, beyond_chance
from shared.intervals import Interval, wilson

Pairs = Sequence[tuple[str, str]]
LABELS = st.sampled_from("abc")
PAIRS = st.lists(st.tuples(LABELS, LABELS), max_size=30)


def agreed(pairs: Pairs) -> Interval | None:
    return wilson(sum(one == other for one, other in pairs), len(pairs))


def kappa(pairs: Pairs) -> float | None:
    found = beyond_chance(agreed(pairs), agreed_by_habit(pairs))
    return None if found is None else found.rate


def alpha(pairs: Pairs) -> float | None:
    found = beyond_chance(agreed(pairs), agreed_by_pool(pairs))
    return None if found is None else found.rate


def test_kappa_of_a_table_worked_out_by_hand() -> None:
    # Given fifty proposals: 20 times both yes, 15 both no, 5 only the first, 10 only the second
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    # I expect 0.7 observed; by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5; so 0.2 / 0.5
    assert kappa(pairs) == pytest.approx(0.4)


def test_kappa_knows_that_the_same_agreement_may_be_chance() -> None:
    # Given two tables with 60 % agreement each, and different habits
    even = [("y", "y")] * 45 + [("y", "n")] * 15 + [("n", "y")] * 25 + [("n", "n")] * 15
    other = [("y", "y")] * 25 + [("y", "n")] * 35 + [("n", "y")] * 5 + [("n", "n")] * 35
    # I expect (0.60 - 0.54) / 0.46 and (0.60 - 0.46) / 0.54
    assert kappa(even) == pytest.approx(0.06 / 0.46)
    assert kappa(other) == pytest.approx(0.14 / 0.54)


def test_alpha_of_two_coders_by_hand() -> None:
    # Given ten items, two observers, four disagreements; labels: 14 times 0 and 6 times 1
    one = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    two = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    # I expect 1 - 19 * (2 * 4) / (2 * 14 * 6) = 0.095
    pairs = [(str(a), str(b)) for a, b in zip(one, two, strict=True)]
    assert alpha(pairs) == pytest.approx(1 - 19 * 8 / 168)


def test_nothing_is_not_zero() -> None:
    assert wilson(0, 0) is None
    for pairs in ([], [("a", "a")] * 5):
        assert kappa(pairs) is None
        assert alpha(pairs) is None


@given(PAIRS)
def test_kappa_is_symmetric_and_at_most_one(pairs: list[tuple[str, str]]) -> None:
    found = kappa(pairs)
    turned = kappa([(other, one) for one, other in pairs])
    if found is None:
        assert turned is None
        return
    assert turned == pytest.approx(found)
    assert -1 <= found <= 1
    assert (found == pytest.approx(1)) == all(one == other for one, other in pairs)


@given(PAIRS)
def test_alpha_is_the_ratio_of_the_definition(pairs: list[tuple[str, str]]) -> None:
    """1 - D_o / D_e by going through every pair of labels, in fractions."""
    everything = [label for pair in pairs for label in pair]
    n = len(everything)
    expected = sum(
        a != b for i, a in enumerate(everything) for j, b in enumerate(everything) if i != j
    )
    if expected == 0:
        assert alpha(pairs) is None
        return
    observed = Fraction(sum(one != other for one, other in pairs), len(pairs))
    exact = 1 - observed / Fraction(expected, n * (n - 1))
    assert alpha(pairs) == pytest.approx(float(exact), abs=1e-9)


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
    for by_chance in (agreed_by_habit(pairs), agreed_by_pool(pairs)):
        found = beyond_chance(agreed(pairs), by_chance)
        assert (found is None) == (by_chance is None)
        if found is not None:
            assert -1 <= found.low <= found.rate <= found.high <= 1


def test_full_agreement_of_few_is_not_certainty() -> None:
    # Given thirty items that two people label alike: Wilson's lower end is 30 / (30 + 1.96²)
    pairs = [("a", "a")] * 15 + [("b", "b")] * 15
    found = beyond_chance(wilson(30, 30), agreed_by_habit(pairs))
    # I expect kappa 1, and at least (0.8865 - 0.5) / 0.5
    assert found is not None
    assert (found.rate, found.high) == (1, 1)
    assert found.low == pytest.approx(0.773, abs=0.001)
