"""Reads the prediction that a producer brings with an item."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from shared.answers.base import AnswerError, AnswerSpec, Asked
from shared.answers.label import known_label
from shared.answers.reading import read_answer
from shared.answers.spans import SpansAnswer
from shared.events.answered import AnswerPrediction
from shared.events.models import Prediction, Probability
from shared.labels import label_key


class GivenPrediction(BaseModel):
    """An answer with how sure its scorer is. Fields that it does not name are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    answer: dict[str, JsonValue]
    confidence: Annotated[Probability, Field(strict=True, description="that all of it is right")]
    model_version: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    parts: dict[str, Probability] | list[Probability] | None = Field(
        default=None, description="by label, by field path, or of the spans in their order"
    )


def read_prediction(
    given: GivenPrediction, spec: AnswerSpec, asked: Asked
) -> Prediction | AnswerPrediction:
    """The prediction, checked against what the workflow asks for.

    Raises:
        AnswerError: it is no answer to that, or its parts are not those of the answer.
    """
    answer = read_answer(given.answer, spec, asked)
    if spec.kind == "label":
        label = answer.brief
        spread = {label: given.confidence, **(_by_name(given, spec) or {})}
        return Prediction(
            label=label,
            confidence=given.confidence,
            distribution=spread,
            model_version=given.model_version,
        )
    parts: dict[str, float] | tuple[float, ...] | None
    if isinstance(answer, SpansAnswer):
        parts = _of_spans(given, spec, asked)
    elif spec.kind in ("labels", "form"):
        parts = _by_name(given, spec)
    else:
        parts = None
    return AnswerPrediction(
        kind=spec.kind,
        answer=answer.value,
        confidence=given.confidence,
        parts=parts,
        model_version=given.model_version,
    )


def _by_name(given: GivenPrediction, spec: AnswerSpec) -> dict[str, float] | None:
    if given.parts is None:
        return None
    if not isinstance(given.parts, dict):
        raise AnswerError("parts", "must be an object: a confidence by name")
    if spec.kind == "form":
        return given.parts
    named = {known_label("parts", name, spec): p for name, p in given.parts.items()}
    if len(set(map(label_key, named))) < len(given.parts):
        raise AnswerError("parts", "two names are the same label")
    return named


def _of_spans(given: GivenPrediction, spec: AnswerSpec, asked: Asked) -> tuple[float, ...] | None:
    """In the order of the checked answer."""
    if given.parts is None:
        return None
    spans = given.answer["spans"]
    if not isinstance(given.parts, list) or not isinstance(spans, list):
        raise AnswerError("parts", "must be a list: a confidence for each span")
    if len(given.parts) != len(spans):
        raise AnswerError("parts", f"{len(given.parts)} confidences for {len(spans)} spans")
    alone = [read_answer({"spans": [span]}, spec, asked) for span in spans]
    order = [each.spans[0].order for each in alone if isinstance(each, SpansAnswer)]
    return tuple(p for _, p in sorted(zip(order, given.parts, strict=True)))
