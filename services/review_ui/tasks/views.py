"""What a reviewer may see of a task.

The one place where a blind item loses everything that the AI thinks of it: its label, the
distribution, the reasons, the queue and urgency that a rule may have set because of the label, and
what became of an answer: a second review may say that it differed from the AI's.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field, JsonValue

from services.review_ui.tasks.asked import item_of, kind_of, prediction_of
from services.review_ui.tasks.highlights import Piece, pieces
from shared.answers.base import Action, Kind
from shared.events.answered import AnswerItem, AnswerPrediction
from shared.events.models import Prediction, Round, RouteReason, Routing
from shared.labels import known_as
from shared.storage.tables import Highlight, ReviewTask

BLIND_REASON = RouteReason(
    code="blind", text="A random check: please decide without the AI's suggestion."
)


class Suggestion(BaseModel):
    """What the model thinks; absent from blind tasks."""

    label: str
    confidence: float = Field(description="calibrated, 0 to 1")
    distribution: dict[str, float]
    model_version: str
    threshold: float | None = Field(description="accepted without a person from here on")


class Predicted(BaseModel):
    """What was predicted, of any kind; absent from blind tasks."""

    answer: dict[str, JsonValue]
    brief: str = Field(description="the answer in a short line")
    confidence: float = Field(description="that all of it is right, 0 to 1")
    parts: dict[str, float] | list[float] | None = Field(
        description="confidences by label or field path, of spans in their order"
    )
    model_version: str
    threshold: float | None = Field(description="accepted without a person from here on")


class EarlierAnswer(BaseModel):
    """What somebody answered in an earlier round; only who settles a dispute sees it."""

    reviewer: str
    round: Round
    label: str | None = Field(
        description="of another kind a short line; null: flagged, for the reason given"
    )
    answer: dict[str, JsonValue] | None = Field(
        default=None, description="of another kind than a label, the whole of it"
    )
    reason: str | None
    note: str | None


class TaskView(BaseModel):
    """A task as its reviewer sees it. `lease_token` must come back with the decision."""

    id: UUID
    workflow: str
    item_id: str
    text: str
    metadata: dict[str, JsonValue]
    details: list[tuple[str, str]] = Field(
        description="the metadata as text, for whoever reads JSON's numbers as doubles, as "
        "browsers do: 9007199254740993 would be …992 there"
    )
    received_at: datetime
    labels: list[str]
    kind: Kind = Field(description="of the answer that is asked for")
    draft: str | None = Field(description="what kind text corrects")
    candidates: list[str] | None = Field(description="what kind preference chooses from")
    action: Action | None = Field(description="what kind approval is asked for")
    blind: bool
    suggestion: Suggestion | None = Field(description="of kind label: what the model thinks")
    prediction: Predicted | None
    highlights: list[Piece] | None = Field(
        description="the text in pieces; null: blind, not weighed yet, or never (a long text)"
    )
    truncated: bool = Field(description="the model did not read the whole text")
    reasons: list[RouteReason]
    queue: str | None
    priority: int | None = Field(description="0 to 9, 9 first")
    due_at: datetime | None
    status: str
    revision: int = Field(description="decisions made so far")
    lease_token: int
    lease_expires_at: datetime | None
    answers: list[EarlierAnswer] = Field(description="in an adjudication, to who settles it")


def settles(task: ReviewTask, reader: str | None) -> bool:
    """Whether the reader has the task to settle it: sees what others answered."""
    return task.round == "adjudication" and task.leased_by is not None and task.leased_by == reader


def labels_of(
    configured: Sequence[str], prediction: Prediction | AnswerPrediction | None
) -> list[str]:
    """The labels to choose from: those configured, then what else the model knows.

    The model's are sorted: their own order could give the winner away.
    """
    if isinstance(prediction, Prediction):
        known = prediction.distribution
    elif prediction is not None and prediction.kind == "labels":
        known = dict(prediction.certainties or {})
    else:
        return list(configured)
    others = {label for label in known if known_as(label, configured) is None}
    return [*configured, *sorted(others)]


def blind_for(task: ReviewTask, reader: str | None) -> bool:
    """Whether the reader must see nothing of what the AI thinks. Who settles a blind task sees it
    once somebody has given a label; where it was only flagged, theirs is the first."""
    answered = any(answer["label"] for answer in task.answers)
    return task.blind and not (answered and settles(task, reader))


def highlighted(
    task: ReviewTask, weighed: Highlight | None, reader: str | None = None
) -> list[Piece] | None:
    """The words that speak for the label that the reader sees, and against it; None: not known, or
    not for the reader. A gold item has none: the words would be those of another text."""
    if weighed is None or task.seeded_for is not None or blind_for(task, reader):
        return None
    opinion = task.prediction
    if opinion is None or (weighed.label, weighed.model_version) != (
        opinion["label"],
        opinion["model_version"],
    ):
        return None
    return pieces(task.item["text"], weighed.words)


def view(
    task: ReviewTask,
    labels: Mapping[str, Sequence[str]],
    reader: str | None = None,
    weighed: Highlight | None = None,
) -> TaskView:
    """`task` for the reader of this name; `labels` are the configured ones by workflow."""
    settling = settles(task, reader)
    blind = blind_for(task, reader)
    held = reader is None or task.leased_by == reader
    item = item_of(task)
    more = item if isinstance(item, AnswerItem) else None
    prediction = prediction_of(task)
    routing = Routing.model_validate(task.routing)
    return TaskView(
        id=task.id,
        workflow=task.workflow,
        item_id=task.item_id,
        text=item.text,
        metadata=item.metadata,
        details=[(name, _as_text(value)) for name, value in item.metadata.items()],
        received_at=item.received_at,
        labels=labels_of(labels.get(task.workflow, ()), prediction),
        kind=kind_of(task),
        draft=more and more.draft,
        candidates=list(more.candidates) if more and more.candidates else None,
        action=more and more.action,
        blind=blind,
        suggestion=None if blind else _suggestion(prediction, routing.threshold),
        prediction=None if blind else _predicted(prediction, routing.threshold),
        highlights=highlighted(task, weighed, reader),
        truncated=prediction is not None and prediction.truncated,
        reasons=[BLIND_REASON] if blind else list(routing.reasons),
        queue=None if blind else task.queue,
        priority=None if blind else task.priority,
        due_at=None if blind else routing.due_at,
        status=_blind_status(task, reader) if blind else task.status,
        revision=0 if blind else task.revision,
        # Who once had a blind item must not see that it goes to somebody else as well.
        lease_token=0 if blind and not held else task.lease_token,
        lease_expires_at=None if blind and not held else task.lease_expires_at,
        answers=[EarlierAnswer.model_validate(each) for each in task.answers] if settling else [],
    )


def _suggestion(
    prediction: Prediction | AnswerPrediction | None, threshold: float | None
) -> Suggestion | None:
    if not isinstance(prediction, Prediction):
        return None
    return Suggestion(
        label=prediction.label,
        confidence=prediction.confidence,
        distribution=prediction.distribution,
        model_version=prediction.model_version,
        threshold=threshold,
    )


def _predicted(
    prediction: Prediction | AnswerPrediction | None, threshold: float | None
) -> Predicted | None:
    if prediction is None:
        return None
    parts: dict[str, float] | list[float] | None
    if isinstance(prediction, Prediction):
        answer: dict[str, JsonValue] = {"label": prediction.label}
        parts = prediction.distribution
    else:
        answer, given = prediction.answer, prediction.parts
        parts = list(given) if isinstance(given, tuple) else given
    return Predicted(
        answer=answer,
        brief=prediction.brief,
        confidence=prediction.confidence,
        parts=parts,
        model_version=prediction.model_version,
        threshold=threshold,
    )


def _as_text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _blind_status(task: ReviewTask, reader: str | None) -> str:
    """Whether an answer was final would say that it was the AI's; so any answer looks final."""
    answered = task.status != "open" or bool(task.answers)
    return "decided" if answered and (reader is None or task.leased_by != reader) else "open"
