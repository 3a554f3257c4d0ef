"""The search of the history page: which decisions were made, and by whom.

Reviewers find their own, leads and admins everybody's. For what was decided blind the action says
no more than "label": accept or correct would tell what the AI had said.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, or_, select, text
from sqlalchemy.orm import Session

from services.review_ui.auth.accounts import Account
from shared.storage.labels_in_answers import answers_with, labels_of
from shared.storage.tables import ReviewDecision, ReviewTask

MAX_FOUND = 200
_NEWEST = 5_000
_OF_NEWEST = """
    WITH newest AS (
        SELECT label, answer, reviewer FROM review_decision
        WHERE CAST(:reviewer AS text) IS NULL OR reviewer = :reviewer
        ORDER BY decided_at DESC LIMIT :newest
    )
"""
_REVIEWERS = text(f"{_OF_NEWEST} SELECT DISTINCT reviewer FROM newest")  # noqa: S608 - a constant
_LABELS = text(
    f"""{_OF_NEWEST} SELECT DISTINCT named.label
    FROM newest CROSS JOIN LATERAL ({labels_of("newest.label", "newest.answer")}) AS named(label)
    WHERE named.label <> ''"""  # noqa: S608 - put together from constants
)


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; None or empty: anything. `text` is part of an item's text or id;
    `label` may be one of several in the answer."""

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
        parts = answers_with([wanted.label])
        found = found.where(
            or_(
                ReviewDecision.label == wanted.label,
                *(ReviewDecision.answer.contains(part) for part in parts),
            )
        )
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
    reviewer = None if account.is_lead else account.name
    labels = session.scalars(_LABELS, {"reviewer": reviewer, "newest": _NEWEST})
    reviewers = session.scalars(_REVIEWERS, {"reviewer": reviewer, "newest": _NEWEST})
    return sorted(labels), sorted(reviewers)


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
