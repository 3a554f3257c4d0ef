"""Sets of labels: alpha with the MASI distance over whole sets, kappa of each label. Pure."""

from collections import Counter
from collections.abc import Collection, Sequence

from services.review_ui.reports.agreement import agreed_by_habit, beyond_chance
from services.review_ui.reports.measures.figures import Figure, Pair, figures, mean
from shared.answers.labels import LabelsAnswer
from shared.intervals import ratio, wilson

Set = frozenset[str]


def measured(pairs: Sequence[Pair]) -> list[Figure]:
    """Alpha; then kappa by label, in the order of their names."""
    sets = [(_labels(pair.one), _labels(pair.other)) for pair in pairs]
    alike = ratio(mean([1 - masi(one, other) for one, other in sets]))
    found = figures(("alpha", beyond_chance(alike, _alike_by_pool(sets))))
    for label in sorted({label for pair in sets for one in pair for label in one}):
        given = [(str(label in one), str(label in other)) for one, other in sets]
        agreed = wilson(sum(one == other for one, other in given), len(given))
        kappa = beyond_chance(agreed, agreed_by_habit(given))
        if kappa is not None:
            found.append(Figure("kappa", kappa, label))
    return found


def masi(one: Set, other: Set) -> float:
    """0: the same set; 1: nothing in common. The Jaccard index, times 1 for equal sets, 2/3 where
    one holds the other, 1/3 where they only overlap. Passonneau (2006), "Measuring agreement on
    set-valued items (MASI) for semantic and pragmatic annotation"."""
    if one == other:  # two empty ones as well
        return 0.0
    common = len(one & other)
    if not common:
        return 1.0
    weight = 2 / 3 if one <= other or other <= one else 1 / 3
    return 1.0 - weight * common / len(one | other)


def _alike_by_pool(sets: Collection[tuple[Set, Set]]) -> float | None:
    """How alike two are on average that are drawn from one pool of all answers, as alpha has it."""
    pool = Counter(one for pair in sets for one in pair)
    total = pool.total()
    if len(pool) < 2:
        return None
    apart = sum(
        count * more * masi(one, other)
        for one, count in pool.items()
        for other, more in pool.items()
        if one != other
    )
    return 1.0 - apart / (total * (total - 1))


def _labels(answer: object) -> Set:
    if not isinstance(answer, LabelsAnswer):
        raise TypeError(f"no set of labels: {type(answer).__name__}")
    return frozenset(answer.labels)
