"""The projection: what events say about their item becomes its row.

Pure. `merge` is commutative and associative over an item's events, so that the order in which they
arrive, the batches they fall into and the loggers that take them do not show in the row.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.clock import as_utc
from shared.events.answered import (
    AnswerAccepted,
    AnswerDecision,
    AnswerEvent,
    AnswerPrediction,
    AnswerReviewed,
    AnswerReviewRequested,
    AnswerScored,
)
from shared.events.models import (
    Decision,
    Event,
    ItemAccepted,
    ItemEvent,
    ItemExplained,
    ItemFailed,
    ItemReviewed,
    ItemReviewRequested,
    ItemScored,
    ItemShadowScored,
    ItemSubmitted,
    Prediction,
    RouteReason,
)
from shared.labels import same_label
from shared.topology import ROUTER_QUEUE

ASKED = {"draft", "candidates", "action", "expires_at"}
# How far an item has come. A failure ranks below the stage that it kept the item from, so that a
# replay that succeeds outranks it; a reopened decision outranks the one before.
FAILED_AT_INFERENCE = 0
SCORED = 10
FAILED_AT_ROUTER = 15
HUMAN_REVIEW = 20
AI_ACCEPTED = 21  # above the other route: downstream has it, and the intake makes no task for it
FAILED_AT_REVIEW = 25
REVIEWED = 30

# The columns that change together: all of them say what the event of the highest rank says.
STATUS_COLUMNS = (
    "status",
    "progress",
    "status_at",
    "final_label",
    "reviewer",
    "failure",
    "reviewed_at",
)
# The answer, and what it hangs on: a person's words may be in them, so that they can be erased.
ANSWER_COLUMNS = ("asked", "ai_answer", "answer")
# The columns that an event may not mention: then they say what a lower-ranked one says.
KNOWN_COLUMNS = (
    "ai_label",
    "confidence",
    "distribution",
    "model_version",
    "policy_version",
    "reasons",
    "trace_id",
    "scored_at",
    "routed_at",
    "kind",
)


@dataclass(slots=True)
class ItemFacts:
    """A row of `item`, as far as it is known. Without `metadata` the text is only an excerpt."""

    workflow: str
    id: str
    status: str
    progress: int
    status_at: datetime
    final_label: str | None = None
    reviewer: str | None = None
    failure: str | None = None
    reviewed_at: datetime | None = None
    text: str | None = None
    metadata: dict[str, Any] | None = None
    ai_label: str | None = None
    confidence: float | None = None
    distribution: dict[str, float] | None = None
    model_version: str | None = None
    policy_version: str | None = None
    reasons: list[dict[str, str]] | None = None
    trace_id: str | None = None
    received_at: datetime | None = None
    scored_at: datetime | None = None
    routed_at: datetime | None = None
    kind: str | None = None
    asked: dict[str, Any] | None = None
    ai_answer: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None

    @property
    def rank(self) -> tuple[int, str, str]:
        """Progress; the rest only decides, always in the same way, between equals."""
        return self.progress, self.status, self.failure or ""


def fold(events: Iterable[tuple[Event, str | None]]) -> list[ItemFacts]:
    """One row per item from events with their trace ids."""
    rows: dict[tuple[str, str], ItemFacts] = {}
    for event, trace_id in events:
        new = facts(event, trace_id)
        if new is not None:
            known = rows.get(key := (new.workflow, new.id))
            rows[key] = new if known is None else merge(known, new)
    return list(rows.values())


def facts(event: Event, trace_id: str | None) -> ItemFacts | None:
    """What one event says; None for `item.submitted`: no status says that nothing has happened yet,
    and every later event brings the text again. None also for `item.explained` and
    `item.shadow_scored`: they move nothing.
    """
    match event:
        case ItemSubmitted() | ItemExplained() | ItemShadowScored():
            return None
        case ItemFailed():
            return ItemFacts(
                workflow=event.workflow,
                id=event.item_id,
                status="FAILED",
                progress=_failure_rank(event.queue),
                status_at=as_utc(event.occurred_at),
                failure=f"{event.reason} at {event.queue}: {event.detail}",
                text=event.text,
                trace_id=trace_id,
            )
        case ItemScored() | AnswerScored():
            row = _item_facts(event, "SCORED", SCORED, event.prediction, trace_id)
            row.scored_at = row.status_at
        case ItemAccepted() | AnswerAccepted():
            row = _item_facts(event, "AI_ACCEPTED", AI_ACCEPTED, event.prediction, trace_id)
            row.status_at = row.routed_at = as_utc(event.decision.decided_at)
            _decided(row, event.decision)
        case ItemReviewRequested() | AnswerReviewRequested():
            row = _item_facts(event, "HUMAN_REVIEW", HUMAN_REVIEW, event.prediction, trace_id)
            row.status_at = row.routed_at = as_utc(event.routing.routed_at)
            row.policy_version = event.routing.policy_version
            row.reasons = _plain(event.routing.reasons)
        case ItemReviewed() | AnswerReviewed():
            status = "HUMAN_ACCEPTED" if _agreed(event) else "HUMAN_CORRECTED"
            rank = REVIEWED + event.review.revision - 1
            row = _item_facts(event, status, rank, event.prediction, trace_id)
            row.status_at = row.reviewed_at = as_utc(event.decision.decided_at)
            _decided(row, event.decision)
            row.reviewer = event.decision.reviewer
        case _:
            raise AssertionError(f"no projection for {event.type}")
    return row


def merge(one: ItemFacts, other: ItemFacts) -> ItemFacts:
    """What two rows about the same item say together: that of the higher rank, completed in place.
    `services.logger.store` says it in SQL."""
    high, low = (other, one) if other.rank > one.rank else (one, other)
    if high.metadata is None and (low.metadata is not None or high.text is None):
        high.text, high.metadata = low.text, low.metadata
    for column in (*KNOWN_COLUMNS, "asked", "ai_answer"):
        if getattr(high, column) is None:
            setattr(high, column, getattr(low, column))
    high.received_at = _earlier(high.received_at, low.received_at)
    return high


def _item_facts(
    event: ItemEvent,
    status: str,
    progress: int,
    prediction: Prediction | AnswerPrediction | None,
    trace_id: str | None,
) -> ItemFacts:
    item = event.item
    row = ItemFacts(
        workflow=event.workflow,
        id=item.id,
        status=status,
        progress=progress,
        status_at=as_utc(event.occurred_at),
        text=item.text,
        metadata=item.metadata,
        trace_id=trace_id,
        received_at=as_utc(item.received_at),
    )
    if prediction is not None:
        row.ai_label = prediction.brief
        row.confidence = prediction.confidence
        row.model_version = prediction.model_version
    if isinstance(prediction, Prediction):
        row.distribution = prediction.distribution
    if isinstance(event, AnswerEvent):
        row.kind = event.kind
        row.asked = event.item.model_dump(mode="json", include=ASKED) or None
        if event.prediction is not None:
            row.ai_answer = event.prediction.answer
    return row


def _decided(row: ItemFacts, decision: Decision | AnswerDecision) -> None:
    row.final_label = decision.brief
    row.policy_version = decision.policy_version
    row.reasons = _plain(decision.reasons)
    if isinstance(decision, AnswerDecision):
        row.answer = decision.answer


def _agreed(event: ItemReviewed | AnswerReviewed) -> bool:
    if isinstance(event, ItemReviewed):
        return same_label(event.decision.label, event.prediction.label)
    return event.decision.action == "accepted"


def _failure_rank(queue: str) -> int:
    if queue == ROUTER_QUEUE:
        return FAILED_AT_ROUTER
    return FAILED_AT_REVIEW if queue.endswith(".review") else FAILED_AT_INFERENCE


def _plain(reasons: Iterable[RouteReason]) -> list[dict[str, str]]:
    return [{"code": reason.code, "text": reason.text} for reason in reasons]


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return min(one, other)
