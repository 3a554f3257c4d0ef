"""What a reviewer finds who looks up a gold item: what they would find of any other.

Nothing is recorded about a gold item, and an answer that there is no such item would tell it. So
its task tells the story that an item in review has.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.review_ui.tasks.reviewed_event import reviewed
from shared.events.models import (
    Item,
    ItemEvent,
    ItemReviewRequested,
    ItemScored,
    Prediction,
    Routing,
)
from shared.events.traceparent import trace_id
from shared.labels import same_label
from shared.storage.tables import EventRow, ItemRow, ReviewDecision, ReviewTask

_TEXT = {"item": {"text": True, "metadata": True}}


def story(
    session: Session, reader: str, workflow: str, item_id: str, now: datetime
) -> tuple[ItemRow, bool, list[EventRow]] | None:
    """The reader's own gold item as an item, whether it is blind, and its events; else None."""
    task = session.scalar(
        select(ReviewTask).where(
            ReviewTask.seeded_for == reader,
            ReviewTask.workflow == workflow,
            ReviewTask.item_id == item_id,
        )
    )
    if task is None:
        return None
    item = Item.model_validate(task.item)
    opinion = Prediction.model_validate(task.prediction)
    routing = Routing.model_validate(task.routing)
    at = routing.routed_at
    known: dict[str, Any] = {"workflow": workflow, "occurred_at": at, "item": item}
    events = [
        _recorded(ItemScored(**known, prediction=opinion), "inference"),
        _recorded(ItemReviewRequested(**known, prediction=opinion, routing=routing), "router"),
    ]
    row = ItemRow(
        workflow=workflow,
        id=item_id,
        text=item.text,
        metadata_=item.metadata,
        ai_label=opinion.label,
        confidence=opinion.confidence,
        distribution=opinion.distribution,
        status="HUMAN_REVIEW",
        model_version=opinion.model_version,
        policy_version=routing.policy_version,
        reasons=task.routing["reasons"],
        trace_id=trace_id(task.traceparent),
        received_at=item.received_at,
        routed_at=at,
        updated_at=at,
    )
    answer = session.scalar(
        select(ReviewDecision).where(
            ReviewDecision.task_id == task.id,
            ReviewDecision.revision == task.revision,
            ReviewDecision.undone_at.is_(None),
            ReviewDecision.undo_until <= now,
        )
    )
    if answer is not None and task.status == "decided":
        kept = answer.label is not None and same_label(answer.label, opinion.label)
        row.status = "HUMAN_ACCEPTED" if kept else "HUMAN_CORRECTED"
        row.final_label, row.reviewer = answer.label, answer.reviewer
        row.reviewed_at = row.updated_at = answer.decided_at
        events.append(_recorded(reviewed(task, answer), "review-ui"))
    return row, task.blind, events


def _recorded(event: ItemEvent, source: str) -> EventRow:
    return EventRow(
        type=event.type,
        occurred_at=event.occurred_at,
        source=source,
        data=event.model_dump(mode="json", exclude=_TEXT),
    )
