"""Reads an answer from JSON, as a producer, a model or a reviewer sends it."""

import math
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from shared.answers.approval import ApprovalAnswer
from shared.answers.base import KINDS, Answer, AnswerError, AnswerSpec, Asked, Kind
from shared.answers.form import FormAnswer
from shared.answers.label import LabelAnswer
from shared.answers.labels import LabelsAnswer
from shared.answers.preference import PreferenceAnswer
from shared.answers.spans import SpansAnswer
from shared.answers.text import TextAnswer
from shared.errors import problems_of

ANSWERS: dict[Kind, type[Answer]] = {
    each.kind: each
    for each in (
        LabelAnswer,
        LabelsAnswer,
        SpansAnswer,
        FormAnswer,
        TextAnswer,
        PreferenceAnswer,
        ApprovalAnswer,
    )
}
QUOTING: tuple[Kind, ...] = tuple(kind for kind, model in ANSWERS.items() if model.quotes)
"""The kinds whose answers may hold words of a person."""
_LARGEST = 2**53 - 1
KIND_NAMES: dict[str, Kind] = {kind: kind for kind in KINDS}


def parsed(kind: Kind, value: Any) -> Answer:
    """The answer in a value of JSON, as it stands there.

    Raises:
        AnswerError: it has not the shape of this kind.
    """
    model = ANSWERS[kind]
    if not isinstance(value, dict):
        raise AnswerError("answer", f"must be an object with {' and '.join(model.model_fields)}")
    try:
        refuse_unclear_numbers(value)
        return model.model_validate_json(to_json(value))  # as JSON: a list is a tuple there
    except ValidationError as error:
        unknown = [name for name in value if name not in model.model_fields]
        if unknown and not set(value) & set(model.model_fields):
            raise AnswerError(
                "answer",
                f"a {kind} answer has {' and '.join(model.model_fields)}, not {unknown[0][:40]!r}",
            ) from None
        raise AnswerError("answer", problems_of(error, "answer")[:300]) from None


def refuse_unclear_numbers(value: Any, field: str = "answer") -> None:
    """Raises `AnswerError` for a number that not every reader of JSON reads alike: NaN, infinity,
    and what is beyond the whole numbers that a double keeps apart, as a page of JavaScript has
    nothing else (RFC 8259, section 6)."""
    if isinstance(value, dict):
        for name, entry in value.items():
            refuse_unclear_numbers(entry, f"{field}.{name}")
    elif isinstance(value, list | tuple):
        for place, entry in enumerate(value):
            refuse_unclear_numbers(entry, f"{field}[{place}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise AnswerError(field, "NaN and infinity are no numbers of JSON")
    elif isinstance(value, int | float) and abs(value) > _LARGEST:
        raise AnswerError(
            field,
            f"is beyond {_LARGEST}, the largest whole number that every program reads alike:"
            " let the schema ask for a text",
        )


def read_answer(value: Any, spec: AnswerSpec, asked: Asked) -> Answer:
    """The answer in a value of JSON, checked against what was asked, in its normal form.

    Raises:
        AnswerError: it is no answer to what was asked.
    """
    return parsed(spec.kind, value).checked(spec, asked)
