"""The events of workflows whose answer is not one label: version 2 of the facts in `models`.

The value of an answer stands in `answer`, its kind beside it in `kind`. A `label` workflow sends
version 1, but for an item that has no prediction, which version 1 cannot say.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, JsonValue, model_validator

from shared.answers.base import Action, Answer, AnswerError, Asked, Kind
from shared.answers.reading import parsed
from shared.clock import as_utc
from shared.events.models import (
    Content,
    Fact,
    Item,
    ItemEvent,
    ItemSubmitted,
    Prediction,
    Probability,
    Review,
    RouteReason,
    Routing,
    Sampling,
)

NO_MODEL = "none"
"""The model version of a decision about an item that nothing predicted."""


def _absent(value: object) -> bool:
    return value is None


class AnswerItem(Item):
    """An item, and what else its producer brought to be decided on."""

    draft: str | None = Field(default=None, exclude_if=_absent)
    candidates: tuple[str, ...] | None = Field(default=None, exclude_if=_absent)
    action: Action | None = Field(default=None, exclude_if=_absent)
    expires_at: datetime | None = Field(default=None, exclude_if=_absent)

    @classmethod
    def of(cls, item: Item) -> Self:
        """An item that brought nothing else."""
        return cls(**dict(item))

    @property
    def content(self) -> Content:
        """With all that is decided on."""
        text, metadata = super().content
        more = (self.draft, self.candidates, self.action and self.action.model_dump_json())
        return Content(hash((text, more)) if any(more) else text, metadata)

    def expired(self, now: datetime) -> bool:
        """Whether an answer comes too late for who asked."""
        return self.expires_at is not None and as_utc(self.expires_at) <= now

    @property
    def asked(self) -> Asked:
        """What an answer hangs on."""
        return Asked(self.text, self.draft, self.candidates or (), self.action)


class _Typed(Fact):
    """An answer of some kind. Its value was checked where it entered the pipeline; here its shape
    is."""

    kind: Kind
    answer: dict[str, JsonValue]

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        try:
            parsed(self.kind, self.answer)
        except AnswerError as error:
            raise ValueError(str(error)) from None
        return self

    @cached_property
    def read(self) -> Answer:
        """The answer as an object of its kind."""
        return parsed(self.kind, self.answer)

    @property
    def brief(self) -> str:
        """The answer in a short line."""
        return self.read.brief


class AnswerPrediction(_Typed):
    """A scorer's answer. `confidence`: that the whole of it is right; `parts`: by label or field
    path, of spans in their order."""

    confidence: Probability
    parts: dict[str, Probability] | tuple[Probability, ...] | None = None
    model_version: str
    tokens: int = Field(ge=0, default=0)
    windows: int = Field(ge=1, default=1)
    truncated: bool = Field(default=False, description="part of the text was not scored")

    @property
    def names(self) -> tuple[str, ...]:
        """What a policy calls it, or parts of it, by."""
        return self.read.names

    @cached_property
    def certainties(self) -> Mapping[str, float] | None:
        """How sure each named part is; None where nothing was said of parts."""
        if self.parts is None:
            return None
        if isinstance(self.parts, dict):
            if self.kind == "labels":  # a label that is surely absent is as sure
                return {name: max(p, 1.0 - p) for name, p in self.parts.items()}
            return self.parts
        least: dict[str, float] = {}
        spans: Any = self.answer.get("spans", ())
        for span, p in zip(spans, self.parts, strict=False):
            least[span["label"]] = min(p, least.get(span["label"], 1.0))
        return least

    def stored(self) -> dict[str, Any]:
        """As tables keep it: `label` holds the short line, as the columns beside it do."""
        return self.model_dump(mode="json") | {"label": self.brief}


class AnswerDecision(_Typed):
    """An answer that downstream may act on, who gave it, and why."""

    label: str | None = Field(default=None, exclude_if=_absent, description="of kind label only")
    decided_by: Literal["ai", "human"]
    confidence: Probability | None
    model_version: str
    policy_version: str
    reasons: tuple[RouteReason, ...] = Field(min_length=1)
    decided_at: datetime
    threshold: Probability | None = None
    certificate_version: str | None = None
    sampling: Sampling | None = None
    ai_answer: dict[str, JsonValue] | None = None
    reviewer: str | None = None
    action: Literal["accepted", "corrected"] | None = None


class AnswerEvent(ItemEvent):
    """An event about an item of such a workflow."""

    version: ClassVar[int] = 2
    item: AnswerItem
    kind: Annotated[Kind, Field(description="of the answer that the workflow asks for")]
    prediction: AnswerPrediction | None = Field(description="null: nobody predicted anything")


class AnswerSubmitted(ItemSubmitted):
    """A producer's message was read, with what it predicts. Recorded by the logger; never
    published."""

    version: ClassVar[int] = 2
    item: AnswerItem
    prediction: Prediction | AnswerPrediction | None = None


class AnswerScored(AnswerEvent):
    """A model answered, or the item brought an answer."""

    type: ClassVar[str] = "item.scored"


class AnswerAccepted(AnswerEvent):
    """The machine decided."""

    type: ClassVar[str] = "item.accepted"
    decision: AnswerDecision


class AnswerReviewRequested(AnswerEvent):
    """A person has to decide."""

    type: ClassVar[str] = "item.review_requested"
    routing: Routing


class AnswerReviewed(AnswerEvent):
    """A person decided."""

    type: ClassVar[str] = "item.reviewed"
    decision: AnswerDecision
    review: Review

    @property
    def identity(self) -> tuple[str, ...]:
        return (*super().identity, str(self.review.revision))
