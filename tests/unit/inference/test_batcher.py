"""Does every text go through the model once, within the budget, and a long one without gaps?"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.batcher import cut, plan

lengths = st.lists(st.integers(min_value=0, max_value=600), max_size=80)
budgets = st.integers(min_value=1, max_value=4096)


@given(lengths, budgets)
def test_every_text_is_in_exactly_one_batch(lengths: list[int], budget: int) -> None:
    # Given any texts and any budget, if I plan the batches
    batches = plan(lengths, budget)
    # I expect each index once
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))


@given(lengths, budgets)
def test_a_padded_batch_stays_within_the_budget_unless_it_is_a_single_text(
    lengths: list[int], budget: int
) -> None:
    for batch in plan(lengths, budget):
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(lengths, budgets)
def test_a_batch_that_is_not_padded_costs_the_sum_of_its_texts(
    lengths: list[int], budget: int
) -> None:
    batches = plan(lengths, budget, pads=False)
    sizes = [sum(lengths[i] for i in batch) for batch in batches]
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch, size in zip(batches, sizes, strict=True):
        assert len(batch) == 1 or size <= budget
    for size, after in zip(sizes, batches[1:], strict=False):
        assert size + lengths[after[0]] > budget, "the first of the next one had no room"


@given(lengths, budgets)
def test_batches_go_from_the_shortest_text_to_the_longest(lengths: list[int], budget: int) -> None:
    order = [lengths[index] for batch in plan(lengths, budget) for index in batch]
    assert order == sorted(order)


@given(lengths, budgets)
def test_no_two_neighbouring_batches_would_have_fitted_into_one(
    lengths: list[int], budget: int
) -> None:
    # Full batches are the point: the first text of the next batch must not have had room.
    batches = plan(lengths, budget)
    for before, after in pairwise(batches):
        assert lengths[after[0]] * (len(before) + 1) > budget


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        plan([1], 0)


@given(
    tokens=st.integers(min_value=0, max_value=5000),
    window=st.integers(min_value=1, max_value=300),
    data=st.data(),
)
def test_the_windows_of_a_text_cover_it_without_gaps_or_say_that_they_do_not(
    tokens: int, window: int, data: st.DataObject
) -> None:
    # Given a text, a window and an overlap smaller than the window
    overlap = data.draw(st.integers(min_value=0, max_value=window - 1))
    most = data.draw(st.integers(min_value=1, max_value=20))
    # If I cut it
    spans, truncated = cut(tokens, window, overlap, most)
    # I expect 1 to `most` windows that start at 0, none too wide, each overlapping the next ...
    assert 1 <= len(spans) <= most
    assert spans[0][0] == 0
    assert all(end - start <= window for start, end in spans)
    for (_, end), (start, _) in pairwise(spans):
        assert end - start == overlap
    # ... that reach the end of the text, exactly when nothing is said to be cut off.
    assert (spans[-1][1] == tokens) is not truncated


def test_a_text_that_fits_is_one_window() -> None:
    assert cut(126, 126, 30, 8) == (((0, 126),), False)
    assert cut(127, 126, 30, 8) == (((0, 126), (96, 127)), False)


@pytest.mark.parametrize(("window", "overlap", "most"), [(10, 10, 1), (10, -1, 1), (10, 2, 0)])
def test_a_cut_that_cannot_advance_is_refused(window: int, overlap: int, most: int) -> None:
    with pytest.raises(ValueError, match="cannot cut"):
        cut(100, window, overlap, most)
