"""Spans: exact and partial F1, which do not ask who of the two is right, and alpha over tokens.
Pure."""

import re
from collections import Counter
from collections.abc import Sequence

from services.review_ui.reports.agreement import beyond_chance
from services.review_ui.reports.measures.figures import Figure, Pair, figures
from shared.answers.spans import Span, SpansAnswer
from shared.intervals import ratio

_TOKEN = re.compile(r"\w+|[^\w\s]")
Tokens = list[tuple[str, ...]]
"""Of each token the labels of the spans that touch it."""


def measured(pairs: Sequence[Pair]) -> list[Figure]:
    """Both F1 over all spans, and alpha over all tokens of the texts."""
    exact, partial, same = [], [], []
    pool: Counter[tuple[str, ...]] = Counter()
    for pair in pairs:
        one, other = _spans(pair.one), _spans(pair.other)
        spans = float(len(one) + len(other))
        equal, overlapping = matched(one, other)
        exact.append((2.0 * equal, spans))
        partial.append((2.0 * equal + overlapping, spans))
        left, right = tokens(pair.text, one), tokens(pair.text, other)
        pool.update(left)
        pool.update(right)
        same.append(
            (float(sum(a == b for a, b in zip(left, right, strict=True))), float(len(left)))
        )
    return figures(
        ("exact_f1", ratio(exact)),
        ("partial_f1", ratio(partial)),
        ("alpha", beyond_chance(ratio(same), _by_pool(pool))),
    )


def matched(one: Sequence[Span], other: Sequence[Span]) -> tuple[int, int]:
    """How many are equal, and how many others of the same label overlap, each counted once: half a
    match, as the partial measure of SemEval-2013 task 9 has it (of each label by itself)."""
    equal = set(one) & set(other)
    left = [span for span in one if span not in equal]
    free = [span for span in other if span not in equal]
    overlapping = 0
    for span in left:
        for place, candidate in enumerate(free):
            if candidate.label == span.label and (
                candidate.start < span.end and span.start < candidate.end
            ):
                overlapping += 1
                del free[place]
                break
    return len(equal), overlapping


def tokens(text: str, spans: Sequence[Span]) -> Tokens:
    """The labels of each word and each sign of the text."""
    found: Tokens = []
    for token in _TOKEN.finditer(text):
        touching = {s.label for s in spans if s.start < token.end() and token.start() < s.end}
        found.append(tuple(sorted(touching)))
    return found


def _by_pool(pool: Counter[tuple[str, ...]]) -> float | None:
    total = pool.total()
    same = sum(each * (each - 1) for each in pool.values())
    return None if same == total * (total - 1) else same / (total * (total - 1))


def _spans(answer: object) -> tuple[Span, ...]:
    if not isinstance(answer, SpansAnswer):
        raise TypeError(f"no spans: {type(answer).__name__}")
    return answer.spans
