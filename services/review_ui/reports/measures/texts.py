"""Texts: how alike they are by edit distance, and how many are the same. Pure."""

from collections.abc import Sequence

from services.review_ui.reports.measures.figures import Figure, Pair, figures, mean
from shared.answers.text import TextAnswer
from shared.intervals import ratio, wilson

MAX_CHARACTERS = 20_000  # of what differs; of longer ones words are compared


def measured(pairs: Sequence[Pair]) -> list[Figure]:
    """1 less the edit distance as a share of the longer text, on average; and exact matches."""
    texts = [(_text(pair.one), _text(pair.other)) for pair in pairs]
    same = sum(one == other for one, other in texts)
    return figures(
        ("edit_similarity", ratio(mean([1 - normalised(*each) for each in texts]))),
        ("exact_match", wilson(same, len(texts))),
    )


def normalised(one: str, other: str) -> float:
    """The edit distance as a share of the longer text, 0..1."""
    longest = max(len(one), len(other))
    if longest <= MAX_CHARACTERS:
        return distance(one, other) / longest if longest else 0.0
    words = one.split(), other.split()
    return distance(*words) / max(1, *map(len, words))


def distance(one: Sequence[str], other: Sequence[str]) -> int:
    """The least number of insertions, deletions and substitutions that make one the other
    (Levenshtein), a column of the table at a time as the bits of two whole numbers.

    Hyyrö (2003), "A bit-vector algorithm for computing Levenshtein and Damerau edit distances".
    """
    if not one or not other:
        return max(len(one), len(other))
    places: dict[str, int] = {}
    for place, sign in enumerate(one):
        places[sign] = places.get(sign, 0) | 1 << place
    full, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    more, less, found = full, 0, len(one)
    for sign in other:
        equal = places.get(sign, 0)
        diagonal = (((equal & more) + more) ^ more) | equal | less
        up, down = less | (full & ~(diagonal | more)), diagonal & more
        found += bool(up & last) - bool(down & last)
        up = (up << 1) | 1
        less = full & up & diagonal
        more = full & ((down << 1) | ~(diagonal | up))
    return found


def _text(answer: object) -> str:
    if not isinstance(answer, TextAnswer):
        raise TypeError(f"no text: {type(answer).__name__}")
    return answer.text
