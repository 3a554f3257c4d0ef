"""What is known about one item, and may this reader know it yet?"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.review_ui.accounts import Account
from shared.tables import EventRow, ItemRow, ReviewTask

MAX_EVENTS = 200


class ItemEventView(BaseModel):
    """One recorded fact; `data` is null while the item is blind for the reader."""

    type: str
    occurred_at: datetime
    source: str
    data: dict[str, Any] | None


class ItemView(BaseModel):
    """An item with its history; what the AI thinks is null while it is blind for the reader."""

    workflow: str
    id: str
    text: str | None
    metadata: dict[str, Any] | None
    status: str
    final_label: str | None
    reviewer: str | None
    ai_label: str | None
    confidence: float | None = Field(description="calibrated, 0 to 1")
    distribution: dict[str, Any] | None
    reasons: list[Any] | None
    model_version: str | None
    policy_version: str | None
    failure: str | None
    trace_id: str | None
    received_at: datetime | None
    reviewed_at: datetime | None
    updated_at: datetime
    hidden: bool = Field(description="blind: the AI's side is withheld")
    events: list[ItemEventView]


def look_up(session: Session, account: Account, workflow: str, item_id: str) -> ItemView | None:
    """The item, or None where no event of it has been recorded yet."""
    row = session.get(ItemRow, (workflow, item_id))
    if row is None:
        return None
    task = session.scalar(
        select(ReviewTask).where(ReviewTask.workflow == workflow, ReviewTask.item_id == item_id)
    )
    hidden = _hidden(row, task, account)
    events = session.scalars(
        select(EventRow)
        .where(EventRow.workflow == workflow, EventRow.item_id == item_id)
        .order_by(EventRow.occurred_at, EventRow.seq)
        .limit(MAX_EVENTS)
    )
    return ItemView(
        workflow=row.workflow,
        id=row.id,
        text=row.text,
        metadata=row.metadata_,
        # HUMAN_ACCEPTED and HUMAN_CORRECTED say what the AI's label was.
        status="HUMAN_REVIEW" if hidden else row.status,
        final_label=None if hidden else row.final_label,
        reviewer=None if hidden else row.reviewer,
        ai_label=None if hidden else row.ai_label,
        confidence=None if hidden else row.confidence,
        distribution=None if hidden else row.distribution,
        reasons=None if hidden else row.reasons,
        model_version=row.model_version,
        policy_version=row.policy_version,
        failure=row.failure,
        trace_id=row.trace_id,
        received_at=row.received_at,
        reviewed_at=None if hidden else row.reviewed_at,
        updated_at=row.updated_at,
        hidden=hidden,
        events=[
            ItemEventView(
                type=event.type,
                occurred_at=event.occurred_at,
                source=event.source,
                data=None if hidden else event.data,
            )
            for event in events
        ],
    )


def _hidden(row: ItemRow, task: ReviewTask | None, account: Account) -> bool:
    """A blind item stays blind for reviewers, who may undo; for leads and admins until decided.

    An item that is scored but not yet routed could still turn out to be on the panel.
    """
    if task is None:
        return row.status in ("SCORED", "HUMAN_REVIEW")
    return task.blind and (account.role == "reviewer" or task.status != "decided")
