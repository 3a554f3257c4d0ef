"""Batches of texts by their lengths, and windows of a text that is too long for the model.

Pure. Padding is the enemy: batches in arrival order made six times the work of sorted ones.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Cut(NamedTuple):
    """The windows of one text: `spans` are (start, end) token positions, in reading order."""

    spans: tuple[tuple[int, int], ...]
    truncated: bool


def plan(
    lengths: Sequence[int], token_budget: int, *, pads: bool = True, alike: bool = False
) -> list[list[int]]:
    """Group the indices of `lengths` (tokens) into batches of similar length, the shortest first.

    A batch costs what the model computes: its longest length times its size where that `pads`, else
    the sum of its lengths. That stays within `token_budget`, except for a text that is alone longer
    than it, which gets its own batch. `alike`: a batch holds texts of one length only.
    Every index occurs exactly once.
    """
    if token_budget < 1:
        raise ValueError(f"a token budget must be positive, not {token_budget}")
    batches: list[list[int]] = []
    tokens = 0  # in the last batch
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        # Ascending, so the newcomer is the longest: it sets the padded length of the whole batch.
        length = lengths[index]
        cost = length * (len(batches[-1]) + 1) if pads and batches else tokens + length
        joins = batches and not (alike and lengths[batches[-1][-1]] != length)
        if joins and cost <= token_budget:
            batches[-1].append(index)
            tokens += length
        else:
            batches.append([index])
            tokens = length
    return batches


def cut(tokens: int, window: int, overlap: int, most: int) -> Cut:
    """Cover `tokens` positions by at most `most` windows of at most `window` tokens.

    Neighbours share `overlap` tokens, so that no phrase is only ever seen torn in two. `truncated`
    says that tokens after the last window are not covered.
    """
    if not 0 <= overlap < window or most < 1:
        raise ValueError(f"cannot cut with window {window}, overlap {overlap}, most {most}")
    step = window - overlap
    starts = range(0, max(tokens - overlap, 1), step)
    spans = tuple((start, min(start + window, tokens)) for start in starts[:most])
    return Cut(spans, truncated=len(starts) > most)
