"""What a reviewer finds who looks up a gold item: what they would find of any other.

Nothing is recorded about a gold item, and an answer that there is no such item would tell it. So
its task tells the story that an item in review has.
"""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.review_ui.tasks.asked import item_of, kind_of, prediction_of, same_answer
from services.review_ui.tasks.reviewed_event import reviewed
from shared.events.answered import AnswerReviewRequested, AnswerScored
from shared.events.models import (
    ItemEvent,
    ItemReviewRequested,
    ItemScored,
    Prediction,
    Routing,
)
from shared.events.recorded import recorded
from shared.events.traceparent import trace_id
from shared.storage.tables import EventRow, ItemRow, ReviewDecision, ReviewTask


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
    item, opinion = item_of(task), prediction_of(task)
    routing = Routing.model_validate(task.routing)
    at = routing.routed_at
    known: dict[str, Any] = {"workflow": workflow, "occurred_at": at, "item": item}
    told: list[ItemEvent]
    if isinstance(opinion, Prediction):
        known["prediction"] = opinion
        told = [ItemScored(**known), ItemReviewRequested(**known, routing=routing)]
    else:
        known |= {"prediction": opinion, "kind": kind_of(task)}
        told = [AnswerScored(**known), AnswerReviewRequested(**known, routing=routing)]
    events = [_recorded(*each) for each in zip(told, ("inference", "router"), strict=True)]
    row = ItemRow(
        workflow=workflow,
        id=item_id,
        text=item.text,
        metadata_=item.metadata,
        ai_label=opinion and opinion.brief,
        confidence=opinion and opinion.confidence,
        distribution=opinion.distribution if isinstance(opinion, Prediction) else None,
        status="HUMAN_REVIEW",
        model_version=opinion and opinion.model_version,
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
        given = answer.label
        kept = given is not None and opinion is not None and same_answer(task, given, opinion.brief)
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
        data=json.loads(recorded(event)),
    )
