"""A question of every kind, the answer that is predicted, and answers that differ by a hair."""

from dataclasses import dataclass, field
from typing import Any

from shared.answers.base import Answer, AnswerSpec, Kind
from shared.answers.reading import read_answer
from shared.events.answered import AnswerItem, AnswerPrediction
from tests.support.item_events import START

TEXT = "Peter of ACME owes 120 euros."


@dataclass(frozen=True)
class Sample:
    """`near` are wrong wherever an answer is compared exactly."""

    spec: AnswerSpec
    predicted: dict[str, Any]
    near: tuple[dict[str, Any], ...]
    brings: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return self.spec.kind

    def item(self, name: str, text: str = TEXT) -> AnswerItem:
        """An item that asks it."""
        known = {"id": name, "text": text, "received_at": START, **self.brings}
        return AnswerItem.model_validate(known)

    def read(self, value: dict[str, Any]) -> Answer:
        """An answer to it, in its normal form."""
        return read_answer(value, self.spec, self.item("any").asked)

    def prediction(self, confidence: float, model: str = "m1") -> AnswerPrediction:
        """Somebody is so sure of the predicted answer."""
        return AnswerPrediction(
            kind=self.kind,
            answer=self.read(self.predicted).value,
            confidence=confidence,
            model_version=model,
        )


def _spec(kind: Kind, *labels: str) -> AnswerSpec:
    return AnswerSpec(kind=kind, labels=labels, predictions=True)


def _span(start: int, end: int, label: str = "PER") -> dict[str, Any]:
    return {"start": start, "end": end, "label": label}


SAMPLES = (
    Sample(
        _spec("labels", "toxic", "insult", "threat"),
        {"labels": ["insult", "toxic"]},
        ({"labels": ["insult"]}, {"labels": ["insult", "toxic", "threat"]}, {"labels": []}),
    ),
    Sample(
        _spec("spans", "PER", "ORG"),
        {"spans": [_span(0, 5)]},
        ({"spans": [_span(0, 4)]}, {"spans": [_span(0, 5, "ORG")]}, {"spans": []}),
    ),
    Sample(
        _spec("form"),
        {"form": {"total": 120, "paid": True}},
        (
            {"form": {"total": 120.01, "paid": True}},
            {"form": {"total": "120", "paid": True}},
            {"form": {"total": 120}},
        ),
    ),
    Sample(
        _spec("text"),
        {"text": "Dear Peter, please pay."},
        ({"text": "dear Peter, please pay."}, {"text": "Dear Peter,\nplease pay."}),
        {"draft": "Peter pay now"},
    ),
    Sample(
        _spec("preference"),
        {"preferred": 0},
        ({"preferred": 1}, {"preferred": None}),
        {"candidates": ("Pay!", "Please pay.")},
    ),
    Sample(
        _spec("approval"),
        {"verdict": "approve", "arguments": {"amount": 30}},
        (
            {"verdict": "approve", "arguments": {"amount": 31}},
            {"verdict": "reject", "arguments": {"amount": 30}},
        ),
        {"action": {"name": "refund", "arguments": {"amount": 30}}},
    ),
)
