"""Forms: the share of fields that are equal, and of forms that are equal as a whole. Pure."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from services.review_ui.reports.measures.figures import Figure, Pair, figures
from shared.answers.base import digest
from shared.answers.form import FormAnswer, fields
from shared.intervals import ratio, wilson


def measured(pairs: Sequence[Pair]) -> list[Figure]:
    """Of all fields that one of the two filled in; and of all forms."""
    counts = [equal_fields(_form(pair.one), _form(pair.other)) for pair in pairs]
    whole = sum(same == total for same, total in counts)
    return figures(
        ("equal_fields", ratio([(float(same), float(total)) for same, total in counts])),
        ("exact_match", wilson(whole, len(counts))),
    )


def equal_fields(one: Mapping[str, JsonValue], other: Mapping[str, JsonValue]) -> tuple[int, int]:
    """How many fields (leaves by path) have the same value in both, of how many in either."""
    left, right = ({path: digest(value) for path, value in fields(form)} for form in (one, other))
    same = sum(right.get(path) == value for path, value in left.items())
    return same, len(left.keys() | right.keys())


def _form(answer: object) -> Mapping[str, JsonValue]:
    if not isinstance(answer, FormAnswer):
        raise TypeError(f"no form: {type(answer).__name__}")
    return answer.form
