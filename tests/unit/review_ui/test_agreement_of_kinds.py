"""Are the measures of agreement those that published packages give? On random answers of two
people, some of which are missing."""

import math
import random
from collections.abc import Callable
from typing import Any

import choix
import krippendorff
import numpy as np
import pytest
from nervaluate import Evaluator
from nltk.metrics import masi_distance
from nltk.metrics.agreement import AnnotationTask
from rapidfuzz.distance import Levenshtein

from services.review_ui.reports.measures import labels, preferences, spans, texts
from services.review_ui.reports.measures.by_kind import MEASURED
from services.review_ui.reports.measures.figures import Figure, Pair
from shared.answers.base import Kind
from shared.answers.reading import parsed
from shared.answers.spans import Span
from shared.intervals import Interval, ratio, wilson

SEEDS = range(20)
LABELS = ("insult", "threat", "toxic")
TEXT = "Anna Maria met Bob of the ACME company in New York on Monday , twice ."
WORDS = TEXT.split()
Value = dict[str, Any]
Given = tuple[Value | None, Value | None]


def random_labels(chance: random.Random) -> Value:
    return {"labels": [label for label in LABELS if chance.random() < 0.4]}


def random_spans(chance: random.Random) -> Value:
    """From word to word, none over another."""
    found, place, starts = [], 0, [TEXT.index(word) for word in WORDS]
    while place < len(WORDS):
        length = chance.randint(1, 3)
        if chance.random() < 0.35 and place + length <= len(WORDS):
            end = starts[place + length - 1] + len(WORDS[place + length - 1])
            label = chance.choice(("PER", "ORG", "LOC"))
            found.append({"start": starts[place], "end": end, "label": label})
        place += length
    return {"spans": found}


def random_form(chance: random.Random) -> Value:
    form: Value = {
        "total": chance.choice((1, 1.0, 2)),
        "lines": chance.choice(([], ["a"], ["a", 2])),
    }
    if chance.random() < 0.5:
        form["currency"] = chance.choice(("EUR", "USD"))
    return {"form": form}


def random_text(chance: random.Random) -> Value:
    return {"text": " ".join(chance.choices(WORDS, k=chance.randint(1, 12)))}


def random_preference(chance: random.Random) -> Value:
    return {"preferred": chance.choice((0, 0, 1, 2, None))}


def random_approval(chance: random.Random) -> Value:
    return {"verdict": chance.choice(("approve", "approve", "reject")), "arguments": {"a": 1}}


RANDOM: dict[Kind, Callable[[random.Random], Value]] = {
    "labels": random_labels,
    "spans": random_spans,
    "form": random_form,
    "text": random_text,
    "preference": random_preference,
    "approval": random_approval,
}


def answers(kind: Kind, seed: int, items: int = 40) -> list[Given]:
    """Two people's, who agree more often than by chance; a tenth of each one's is missing."""
    chance = random.Random(f"{kind} {seed}")
    found: list[Given] = []
    for _ in range(items):
        one = RANDOM[kind](chance)
        other = one if chance.random() < 0.6 else RANDOM[kind](chance)
        found.append(
            (one if chance.random() < 0.9 else None, other if chance.random() < 0.9 else None)
        )
    return found


def pairs(kind: Kind, given: list[Given]) -> list[Pair]:
    """What both answered."""
    return [
        Pair(parsed(kind, one), parsed(kind, other), TEXT)
        for one, other in given
        if one is not None and other is not None
    ]


def measured(kind: Kind, given: list[Given]) -> dict[tuple[str, str | None], Figure]:
    found = MEASURED[kind](pairs(kind, given))
    for figure in found:
        assert figure.interval.low <= figure.value <= figure.interval.high
    return {(figure.name, figure.part): figure for figure in found}


def task(given: list[tuple[Any, Any]], distance: Any = None) -> AnnotationTask:
    """As nltk takes them: coder, item, answer."""
    rows = [
        (coder, str(item), value)
        for item, both in enumerate(given)
        for coder, value in zip(("one", "other"), both, strict=True)
        if value is not None
    ]
    return AnnotationTask(rows) if distance is None else AnnotationTask(rows, distance=distance)


def each(given: list[Given], of: Callable[[Value], Any]) -> list[tuple[Any, Any]]:
    """Something of each answer that is there."""
    return [
        (None if one is None else of(one), None if other is None else of(other))
        for one, other in given
    ]


def both(given: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Kappa is of what both answered; alpha leaves the others out by itself."""
    return [(one, other) for one, other in given if one is not None and other is not None]


@pytest.mark.parametrize("seed", SEEDS)
def test_alpha_of_sets_and_kappa_of_each_label(seed: int) -> None:
    given = answers("labels", seed)
    found = measured("labels", given)
    sets = each(given, lambda value: frozenset(value["labels"]))
    theirs = task(sets, labels.masi).alpha()
    assert found["alpha", None].value == pytest.approx(theirs, abs=1e-9)
    for label in LABELS:
        has = each(given, lambda value: str(label in value["labels"]))  # noqa: B023
        assert found["kappa", label].value == pytest.approx(task(both(has)).kappa(), abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_distance_of_two_sets(seed: int) -> None:
    chance = random.Random(seed)
    one, other = (frozenset(random_labels(chance)["labels"]) for _ in range(2))
    if one | other:  # of two empty sets nltk divides by zero
        # nltk has 0.67 and 0.33 for two thirds and one third.
        assert labels.masi(one, other) == pytest.approx(masi_distance(one, other), abs=0.0034)
    assert labels.masi(one, one) == labels.masi(frozenset(), frozenset()) == 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_f1_and_alpha_of_spans(seed: int) -> None:
    given = answers("spans", seed)
    found = measured("spans", given)

    def counted(strategy: str) -> float:
        """Of each label by itself, and all together: nervaluate's ends are inclusive."""
        credit = total = 0.0
        for label in ("PER", "ORG", "LOC"):
            sides = [
                [
                    [
                        {"label": label, "start": s["start"], "end": s["end"] - 1}
                        for s in value["spans"]
                        if s["label"] == label
                    ]
                    for value in side
                ]
                for side in zip(*both(given), strict=True)
            ]
            result = Evaluator(*sides, tags=[label], loader="dict").evaluate()["overall"][strategy]
            credit += 2 * result.correct + (result.partial if strategy == "partial" else 0)
            total += result.actual + result.possible
        return credit / total

    assert found["exact_f1", None].value == pytest.approx(counted("strict"), abs=1e-9)
    assert found["partial_f1", None].value == pytest.approx(counted("partial"), abs=1e-9)
    # Alpha: each token is a unit; who did not answer has given no value of any of them.
    values: dict[Any, int] = {}
    rows: list[list[float]] = [[], []]
    for pair in given:
        for row, value in zip(rows, pair, strict=True):
            if value is None:
                row += [np.nan] * len(WORDS)
                continue
            told = spans.tokens(TEXT, [Span.model_validate(s) for s in value["spans"]])
            assert len(told) == len(WORDS)
            row += [float(values.setdefault(token, len(values))) for token in told]
    theirs = krippendorff.alpha(np.array(rows), level_of_measurement="nominal")
    assert found["alpha", None].value == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_edit_distance_of_texts(seed: int) -> None:
    given = answers("text", seed)
    found = measured("text", given)
    alike = [
        Levenshtein.normalized_similarity(one["text"], other["text"]) for one, other in both(given)
    ]
    assert found["edit_similarity", None].value == pytest.approx(float(np.mean(alike)), abs=1e-9)
    same = [one == other for one, other in both(given)]
    assert found["exact_match", None].interval == wilson(sum(same), len(same))
    # of long ones, too, and with signs of any plane
    chance = random.Random(seed)
    one, other = ("".join(chance.choices("aé😀 b", k=chance.randint(0, 300))) for _ in range(2))
    assert texts.distance(one, other) == Levenshtein.distance(one, other)
    # and where words are compared, because there are too many characters
    words = chance.choices(WORDS, k=9_000)
    changed = [word if chance.random() < 0.9 else "other" for word in words]
    assert texts.normalised(" ".join(words), " ".join(changed)) == pytest.approx(
        Levenshtein.normalized_distance(words, changed)
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["preference", "approval"])
def test_kappa_and_alpha_of_one_choice(kind: Kind, seed: int) -> None:
    given = answers(kind, seed)
    found = measured(kind, given)
    name = "preferred" if kind == "preference" else "verdict"
    chosen = each(given, lambda value: str(value[name]))
    assert found["kappa", None].value == pytest.approx(task(both(chosen)).kappa(), abs=1e-9)
    values = sorted({one for pair in chosen for one in pair if one is not None})
    rows = [
        [np.nan if v is None else float(values.index(v)) for v in row]
        for row in zip(*chosen, strict=True)
    ]
    theirs = krippendorff.alpha(np.array(rows), level_of_measurement="nominal")
    assert found["alpha", None].value == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_strength_of_candidates(seed: int) -> None:
    # Given choices between two to four of four models, some of them ties
    chance = random.Random(seed)
    names, worth = "abcd", (1.0, 2.0, 0.7, 1.5)
    choices: list[tuple[list[str], int | None]] = []
    for _ in range(150):
        some = chance.sample(names, chance.randint(2, 4))
        weights = [worth[names.index(name)] for name in some]
        place = chance.choices(range(len(some)), weights)[0]
        choices.append((some, None if chance.random() < 0.1 else place))
    won = preferences.wins(choices)
    found = {figure.part: figure for figure in preferences.strengths(won)}
    # I expect the strengths that choix finds; it knows no half a win, so that each counts double.
    data = [
        (names.index(one), names.index(other))
        for (one, other), count in won.items()
        for _ in range(round(2 * count))
    ]
    theirs = choix.mm_pairwise(4, data, tol=1e-12, max_iter=100_000)
    for place, name in enumerate(names):
        assert found[name].value == pytest.approx(theirs[place], abs=1e-5)
    assert [figure.value for figure in preferences.strengths(won)] == sorted(
        (figure.value for figure in found.values()), reverse=True
    )


def test_of_two_candidates_the_strength_is_half_the_log_odds_with_its_known_error() -> None:
    first, second = preferences.strengths({("a", "b"): 60.0, ("b", "a"): 40.0})
    assert (first.part, second.part) == ("a", "b")
    assert first.value == pytest.approx(math.log(60 / 40) / 2)
    error = math.sqrt(1 / 60 + 1 / 40) / 2
    assert first.interval.high - first.value == pytest.approx(1.96 * error, rel=1e-4)


def test_who_never_lost_or_never_met_the_others_has_no_strength() -> None:
    assert preferences.strengths({}) == []
    assert preferences.strengths({("a", "b"): 10.0}) == []
    apart = {("a", "b"): 1.0, ("b", "a"): 1.0, ("c", "d"): 1.0, ("d", "c"): 1.0}
    assert preferences.strengths(apart) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_fields_and_equal_forms(seed: int) -> None:
    given = answers("form", seed)
    found = measured("form", given)

    def leaves(value: Any, path: str = "") -> dict[str, Any]:
        inner = (
            value.items()
            if isinstance(value, dict)
            else enumerate(value)
            if value and isinstance(value, list)
            else None
        )
        if inner is None:
            return {path: value}
        return {k: v for name, each in inner for k, v in leaves(each, f"{path}/{name}").items()}

    same = total = whole = 0
    for one, other in both(given):
        left, right = leaves(one["form"]), leaves(other["form"])
        paths = left.keys() | right.keys()
        equal = sum(path in left and path in right and left[path] == right[path] for path in paths)
        same, total, whole = same + equal, total + len(paths), whole + (equal == len(paths))
    assert found["equal_fields", None].value == pytest.approx(same / total)
    assert found["exact_match", None].value == pytest.approx(whole / len(both(given)))


@pytest.mark.parametrize("kind", MEASURED)
def test_nothing_to_compare_says_nothing_and_full_agreement_is_one(kind: Kind) -> None:
    assert MEASURED[kind]([]) == []
    given: list[Given] = [(one, one) for one, _ in answers(kind, 1) if one is not None]
    for figure in measured(kind, given).values():
        assert figure.value == pytest.approx(1.0)
        assert figure.interval.low < 1.0  # so few items do not prove it


def test_the_interval_of_a_ratio_holds_what_it_says() -> None:
    # Given items of very different sizes, each of its own mind about its fields
    chance, held, rounds = random.Random(7), 0, 600
    truth = 0.8
    for _ in range(rounds):
        items = []
        for _ in range(60):
            whole = chance.choice((1, 2, 10))
            own = chance.betavariate(4, 1)  # on average 0.8
            items.append((float(sum(chance.random() < own for _ in range(whole))), float(whole)))
        interval = ratio(items)
        assert interval is not None
        held += interval.low <= truth <= interval.high
    # I expect it to hold the truth in about 95 % of the cases.
    assert 0.925 <= held / rounds <= 0.985
    assert ratio([]) is None and ratio([(0.0, 0.0)]) is None
    assert ratio([(1.0, 1.0)] * 10) == wilson(10, 10)
    assert isinstance(ratio([(0.5, 1.0)]), Interval)
