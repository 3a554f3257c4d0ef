"""The events: the facts that travel.

One frozen pydantic model per fact and version, a registry from type to model, and ids that
are a pure function of the fact, so that a replay carries the same id and is recognised.
"""

from abc import abstractmethod
from collections.abc import Hashable
from datetime import datetime
from functools import lru_cache
from hashlib import sha1
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from shared.answers.base import Kind
from shared.errors import Reason

if TYPE_CHECKING:
    from hashlib import _Hash

NAMESPACE = UUID("6f1c2f0a-0f5e-5c1e-9c55-0b7b3f6f2a10")
MAX_ID_CHARACTERS = 200  # an AMQP short string holds 255 bytes; ids also travel in headers

ItemId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARACTERS)]
WORKFLOW_NAME = r"^[a-z][a-z0-9_-]{0,62}$"
WorkflowName = Annotated[str, StringConstraints(pattern=WORKFLOW_NAME)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Round = Literal["first", "second", "adjudication"]
Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class Fact(BaseModel):
    """Frozen; unknown fields are ignored, so that a newer writer does not break an older reader.
    NaN and infinity in metadata are written as texts: JSON has no other place for them."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", ser_json_inf_nan="strings", hide_input_in_errors=True
    )


class Item(Fact):
    """What a producer submitted, after reading: never empty, never with NUL characters."""

    id: ItemId
    text: Annotated[str, StringConstraints(min_length=1)]
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    received_at: datetime

    @property
    def content(self) -> "Content":
        """What is decided on."""
        return Content(hash(self.text), hash(_frozen(self.metadata)) if self.metadata else 0)


class Content(NamedTuple):
    """A text and its metadata, each as a number of this process. Metadata are compared as JSON has
    them: 1 is 1.0, and keys have no order. An id stands for one text (docs/decisions/0022)."""

    text: int
    metadata: int


def _frozen(value: JsonValue) -> Hashable:
    if isinstance(value, dict):
        return frozenset((key, _frozen(entry)) for key, entry in value.items())
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return (bool, value) if isinstance(value, bool) else value  # true is not 1


class Prediction(Fact):
    """The model's answer: a whole calibrated distribution, not only the winner."""

    label: Label
    confidence: Probability
    distribution: dict[Label, Probability] = Field(min_length=1)
    model_version: str
    tokens: int = Field(ge=0, default=0)
    windows: int = Field(
        ge=1, default=1, description="passes of the model; > 1 for a text longer than its window"
    )
    truncated: bool = Field(default=False, description="part of the text was not scored")

    @property
    def kind(self) -> Kind:
        """Of the answer."""
        return "label"

    @property
    def names(self) -> tuple[str, ...]:
        """What a policy calls it by."""
        return (self.label,)

    @property
    def certainties(self) -> None:
        """A label has no parts."""
        return None

    @property
    def brief(self) -> str:
        """The answer in a short line."""
        return self.label

    def stored(self) -> dict[str, Any]:
        """As tables keep it."""
        return self.model_dump(mode="json")


class RouteReason(Fact):
    """Why an item went where it went: `code` for programs, `text` for people."""

    code: Annotated[str, StringConstraints(pattern=r"^[a-z_]+$", max_length=40)]
    text: str


class Sampling(Fact):
    """The audit panel's draw: a permanent random number `u` of the item against the rate `q`."""

    u: float = Field(ge=0.0, lt=1.0)
    q: Probability
    salt_version: str
    on_panel: bool


class Decision(Fact):
    """A label that downstream may act on, who gave it, and why."""

    label: Label
    decided_by: Literal["ai", "human"]
    confidence: Probability | None
    model_version: str
    policy_version: str
    reasons: tuple[RouteReason, ...] = Field(min_length=1)
    decided_at: datetime
    threshold: Probability | None = None
    certificate_version: str | None = None
    sampling: Sampling | None = None
    ai_label: Label | None = None
    reviewer: str | None = None
    action: Literal["accepted", "corrected"] | None = None

    @property
    def brief(self) -> str:
        """The answer in a short line."""
        return self.label


class Routing(Fact):
    """What the router decided for an item that goes to a person."""

    reasons: tuple[RouteReason, ...] = Field(min_length=1)
    policy_version: str
    threshold: Probability | None
    certificate_version: str | None = None
    sampling: Sampling | None = None
    would_accept: bool = Field(description="the score alone would have accepted it")
    blind: bool = Field(description="the reviewer must not see the AI's label")
    queue: Annotated[str, StringConstraints(min_length=1, max_length=60)] = "default"
    priority: int = Field(ge=0, le=9, default=0, description="9 first")
    due_at: datetime | None = None
    routed_at: datetime


class Review(Fact):
    """How the human decision came about. `round`: the answer that made it final. A second review
    agreed with the first; where it did not, an adjudication settled it."""

    task_id: UUID
    revision: int = Field(ge=1, description="1, then one more for each reopened decision")
    assigned_at: datetime
    seconds: float = Field(
        ge=0.0, allow_inf_nan=False, description="of work on it, without idle_seconds"
    )
    idle_seconds: float | None = Field(
        ge=0.0,
        allow_inf_nan=False,
        default=None,
        description="before a reviewer who gave no sign; null: unknown, and part of seconds",
    )
    ai_label_shown: bool
    note: str | None = None
    round: Round = "first"


class Event(Fact):
    """Base of all events. `occurred_at` is when it became true, not when it was written."""

    type: ClassVar[str]
    version: ClassVar[int] = 1
    workflow: WorkflowName
    occurred_at: datetime

    @property
    @abstractmethod
    def item_id(self) -> str:
        """Whose fact this is."""

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes it this fact and no other."""
        return (self.type, self.workflow, self.item_id)

    @property
    def event_id(self) -> UUID:
        """Deterministic (RFC 9562 UUIDv5): the same fact about the same item has the same id."""
        return derive_id(*self.identity)

    @property
    def message_id(self) -> str:
        """The same id as text, at half the price."""
        return derive_text(*self.identity)

    @property
    def routing_key(self) -> str:
        return f"{self.type}.{self.workflow}"


class ItemEvent(Event):
    """An event about an item that could be read."""

    item: Item

    @property
    def item_id(self) -> str:
        return self.item.id


class ItemSubmitted(ItemEvent):
    """A producer's message was read. Recorded by the logger; never published."""

    type: ClassVar[str] = "item.submitted"


class ItemScored(ItemEvent):
    """The model answered."""

    type: ClassVar[str] = "item.scored"
    prediction: Prediction


class ItemAccepted(ItemEvent):
    """The machine decided."""

    type: ClassVar[str] = "item.accepted"
    prediction: Prediction
    decision: Decision


class ItemReviewRequested(ItemEvent):
    """A person has to decide."""

    type: ClassVar[str] = "item.review_requested"
    prediction: Prediction
    routing: Routing


class ItemReviewed(ItemEvent):
    """A person decided. A reopened decision is a new revision, with an id of its own."""

    type: ClassVar[str] = "item.reviewed"
    prediction: Prediction
    decision: Decision
    review: Review

    @property
    def identity(self) -> tuple[str, ...]:
        return (*super().identity, str(self.review.revision))


class ItemFailed(Event):
    """A message was dead-lettered: at which queue, why, and what could still be read of it."""

    type: ClassVar[str] = "item.failed"
    failed_item_id: str
    queue: str
    reason: Reason
    detail: str
    text: str | None = None
    attempts: int = Field(ge=1, default=1)

    @property
    def item_id(self) -> str:
        return self.failed_item_id

    @property
    def identity(self) -> tuple[str, ...]:
        return (*super().identity, self.queue, self.reason)


class WordWeight(Fact):
    """One word of the item's text: `text[start:end]`, counted in Unicode code points."""

    start: int = Field(ge=0)
    end: int = Field(gt=0)
    weight: float = Field(
        allow_inf_nan=False,
        description="the label's log-odds with the word less those without it: above 0 it speaks "
        "for the label, below 0 against it",
    )


class ItemExplained(Event):
    """Which words speak for the model's label, and which against. Only of items that a person
    decides with the AI's label before them; best effort. No text: places in it."""

    type: ClassVar[str] = "item.explained"
    explained_item_id: ItemId
    label: Label
    model_version: str
    method: Literal["occlusion"] = Field(
        "occlusion", description="the text is scored again without each word in turn"
    )
    words: tuple[WordWeight, ...] = Field(description="in reading order, every word of the text")

    @property
    def item_id(self) -> str:
        return self.explained_item_id

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.type, self.workflow, self.item_id, self.model_version, self.label)


class ItemShadowScored(Event):
    """What a candidate model would have answered, beside the live model's answer. Nobody decides
    by it; best effort, of a share of the items. No text."""

    type: ClassVar[str] = "item.shadow_scored"
    shadow_item_id: ItemId
    prediction: Prediction = Field(description="the candidate's")
    live_label: Label
    live_confidence: Probability
    live_model_version: str

    @property
    def item_id(self) -> str:
        return self.shadow_item_id

    @property
    def identity(self) -> tuple[str, ...]:
        return (*super().identity, self.prediction.model_version)


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def derive_id(*parts: str) -> UUID:
    """UUIDv5 over the parts; each is length-prefixed, so that no two lists of parts collide."""
    return UUID(derive_text(*parts))


def derive_text(*parts: str) -> str:
    """The same as text. (`uuid.uuid5` takes three times as long, most of it for the object.)"""
    hashed = _begun(*parts[:2]).copy()
    for part in parts[2:]:
        hashed.update(f"{len(part)}:{part}".encode())
    text = hashed.hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


@lru_cache(maxsize=256)  # an identity begins with the event's type and its workflow
def _begun(*parts: str) -> "_Hash":
    name = "".join([f"{len(part)}:{part}" for part in parts]).encode()
    return sha1(NAMESPACE.bytes + name, usedforsecurity=False)
