"""What is known about one item, as far as this reader may know it yet."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Select, and_, case, select, true
from sqlalchemy.orm import Session

from services.review_ui.auth.accounts import Account
from services.review_ui.tasks import gold_lookup
from shared.events.models import ItemReviewed
from shared.storage.tables import EventRow, ItemRow, ReviewTask

MAX_EVENTS = 200


class ItemEventView(BaseModel):
    """One recorded fact; `data` is null while the item is blind for the reader."""

    type: str
    occurred_at: datetime
    source: str
    data: dict[str, Any] | None


class ItemSummary(BaseModel):
    """An item as it stands; what the AI thinks is null while it is blind for the reader."""

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


class ItemView(ItemSummary):
    """An item with its history."""

    events: list[ItemEventView]


def look_up(
    session: Session, account: Account, workflow: str, item_id: str, now: datetime
) -> ItemView | None:
    """The item, or None where no event of it has been recorded yet."""
    statement = with_task(select(ItemRow, ai_side_hidden(account)))
    found = session.execute(
        statement.where(ItemRow.workflow == workflow, ItemRow.id == item_id)
    ).one_or_none()
    if found is None:
        known = gold_lookup.story(session, account.name, workflow, item_id, now)
        if known is None:
            return None
        row, blind, told = known
        hidden = blind and (not account.is_lead or row.final_label is None)
        told = [each for each in told if not hidden or each.type != ItemReviewed.type]
        return _with_history(row, hidden, told)
    row, hidden = found
    recorded = (
        select(EventRow)
        .where(EventRow.workflow == workflow, EventRow.item_id == item_id)
        .order_by(EventRow.occurred_at, EventRow.seq)
        .limit(MAX_EVENTS)
    )
    if hidden:
        # That a first answer was final says that it was the AI's label; others are checked.
        recorded = recorded.where(EventRow.type != ItemReviewed.type)
    return _with_history(row, hidden, session.scalars(recorded))


def _with_history(row: ItemRow, hidden: bool, events: Iterable[EventRow]) -> ItemView:
    return ItemView(
        **dict(summary(row, hidden)),
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


def summary(row: ItemRow, hidden: bool) -> ItemSummary:
    """The item for a reader from whom it is `hidden` or not."""
    return ItemSummary(
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
        updated_at=(row.routed_at or row.scored_at or row.updated_at) if hidden else row.updated_at,
        hidden=hidden,
    )


def ai_side_hidden(account: Account) -> ColumnElement[bool]:
    """Whether an item, joined with its task, keeps the AI's side to itself: until a blind item is
    decided, from reviewers for ever, since they may undo. What is not routed yet may become so."""
    still_blind = true() if not account.is_lead else ReviewTask.status != "decided"
    blind = and_(ReviewTask.blind, still_blind)
    return case(
        (ReviewTask.id.is_(None), ItemRow.status.in_(("SCORED", "HUMAN_REVIEW"))), else_=blind
    )


def with_task(statement: Select[ItemRow, bool]) -> Select[ItemRow, bool]:
    """Items joined with their tasks; a gold item's copies are not the item's own."""
    return statement.outerjoin(
        ReviewTask,
        and_(
            ReviewTask.workflow == ItemRow.workflow,
            ReviewTask.item_id == ItemRow.id,
            ReviewTask.seeded_for.is_(None),
        ),
    )
