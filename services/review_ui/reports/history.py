"""The search of the history page: which decisions were made, and by whom.

Reviewers find their own, leads and admins everybody's. For what was decided blind the action says
no more than "label": accept or correct would tell what the AI had said.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from services.review_ui.auth.accounts import Account
from shared.storage.tables import ReviewDecision, ReviewTask

MAX_FOUND = 200


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; None or empty: anything. `text` is part of an item's text or id."""

    text: str = ""
    label: str | None = None
    reviewer: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class PastDecision:
    """One decision as its readers may see it."""

    key: UUID
    task_id: UUID
    decided_at: datetime
    item_id: str
    text: str
    label: str | None
    action: str
    reviewer: str
    note: str
    effective: bool
    undone: bool


def find(session: Session, account: Account, wanted: Search) -> list[PastDecision]:
    """The newest decisions that match, `MAX_FOUND` at most."""
    found = select(ReviewDecision, ReviewTask).join(
        ReviewTask, ReviewTask.id == ReviewDecision.task_id
    )
    # Leads review too: the answer before theirs stays hidden until they settle the dispute.
    found = found.where(
        or_(
            ReviewDecision.reviewer == account.name,
            and_(
                # A gold item that others had, too, would be known to a lead who reviews.
                ~ReviewDecision.seeded,
                or_(ReviewTask.status == "decided", ReviewTask.round == "adjudication"),
            ),
        )
    )
    reviewer = wanted.reviewer if account.is_lead else account.name
    if reviewer:
        found = found.where(ReviewDecision.reviewer == reviewer)
    if wanted.label:
        found = found.where(ReviewDecision.label == wanted.label)
    if wanted.since is not None:
        found = found.where(ReviewDecision.decided_at >= wanted.since)
    looked_for = wanted.text.replace("\0", "").strip()
    if looked_for:
        found = found.where(
            or_(
                ReviewTask.item_id.icontains(looked_for, autoescape=True),
                ReviewTask.item["text"].astext.icontains(looked_for, autoescape=True),
            )
        )
    found = found.order_by(ReviewDecision.decided_at.desc(), ReviewDecision.id.desc())
    return [_past(row, task) for row, task in session.execute(found.limit(MAX_FOUND))]


def labels_and_reviewers(session: Session, account: Account) -> tuple[list[str], list[str]]:
    """What the filters offer, from the newest decisions that the account may see."""
    newest = select(ReviewDecision.label, ReviewDecision.reviewer)
    if not account.is_lead:
        newest = newest.where(ReviewDecision.reviewer == account.name)
    newest = newest.order_by(ReviewDecision.decided_at.desc()).limit(5_000)
    rows = session.execute(newest).all()
    return sorted({row.label for row in rows if row.label}), sorted({row.reviewer for row in rows})


def _past(row: ReviewDecision, task: ReviewTask) -> PastDecision:
    return PastDecision(
        key=row.idempotency_key,
        task_id=task.id,
        decided_at=row.decided_at,
        item_id=task.item_id,
        text=str(task.item["text"]),
        label=row.label,
        action=row.action if row.ai_label_shown or row.label is None else "label",
        reviewer=row.reviewer,
        note=row.note or row.reason or "",
        effective=row.effective,
        undone=row.undone_at is not None,
    )
