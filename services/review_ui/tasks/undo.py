"""Undoes a decision, before or after others have heard of it.

Before its event may leave, the event is withdrawn as if nothing had been; after that the task is
reopened and its next decision is a new revision.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from services.review_ui.tasks.claim import lease
from services.review_ui.tasks.decide import NOBODY, Refused, blindly, by_key, locked
from services.review_ui.tasks.reviewed_event import reviewed
from services.review_ui.webhooks import store as webhook_store
from shared.storage import outbox
from shared.storage.tables import ReviewDecision, ReviewTask


@dataclass(frozen=True, slots=True)
class Undone:
    """`task` is leased to the reviewer again, or None where it is somebody else's by now.
    `published`: the decision had left already, so the next one goes out as a new revision. Of a
    gold item it only says that the time to undo was over: that nothing left would tell it."""

    row: ReviewDecision
    task: ReviewTask | None
    published: bool


def undo(
    session: Session, reviewer: str, key: UUID, *, now: datetime, lease_seconds: float
) -> Undone:
    """Takes back the reviewer's own decision `key` and leases its task to them again. The same undo
    again changes nothing.

    Raises:
        Refused: `no_such_decision`, `did_not_count`, `undo_over` (of a blind item, whose next
            round begins then: a refusal must not tell that there is one) or `decided_since`.
    """
    row = session.scalar(by_key(reviewer, key))
    if row is None:
        raise Refused("no_such_decision", "You have no decision with this key.")
    task = locked(session, row.task_id)
    session.refresh(row)  # as it is under the lock
    if not row.effective:
        raise Refused("did_not_count", "This decision came too late to count; nothing to undo.")
    if row.undone_at is None:
        if blindly(task, row) and (row.undo_until is None or now >= row.undo_until):
            raise Refused("undo_over", "The time to undo a blind item's label is over.")
        if _superseded(task, row):
            raise Refused("decided_since", "This item has been decided again since.")
        left = _revert(session, task, row, now)
        row.undone_at = now
        # After a skip the task may be in another round, which is not for whoever was in that one.
        waits = task.status == "open" and task.round == row.round
        expired = task.lease_expires_at is None or task.lease_expires_at <= now
        if waits and (expired or task.leased_by in (None, NOBODY, reviewer)):
            lease(task, reviewer, now, lease_seconds)
    else:
        left = row.revision is not None
    if row.label is not None and row.seeded:
        left = row.undo_until is not None and row.undone_at >= row.undo_until
    mine = task.status == "open" and task.leased_by == reviewer
    return Undone(row, task if mine else None, left)


def _revert(session: Session, task: ReviewTask, row: ReviewDecision, now: datetime) -> bool:
    """Opens the task again in the decision's round; whether its event has left (or may have)."""
    if row.action == "skip":
        task.skipped_by = [name for name in task.skipped_by if name != row.reviewer]
        return False
    key = str(row.idempotency_key)
    task.answers = [answer for answer in task.answers if answer["key"] != key]
    task.status = "open"
    task.round = row.round
    task.decided_at = None
    if row.revision is None:
        return False
    if not row.seeded:
        event = reviewed(task, row)
        if not outbox.withdraw(session, event, now):
            return True
        webhook_store.withdraw(session, event)
    task.revision -= 1
    row.revision = None
    return False


def _superseded(task: ReviewTask, row: ReviewDecision) -> bool:
    """Whether the task has moved on, so that this decision is no longer the one that stands."""
    if row.action == "skip":
        return False
    if row.action == "flag":
        return task.status != "flagged" or task.decided_at != row.decided_at
    if row.revision is not None:
        return task.status != "decided" or task.revision != row.revision
    if task.status != "open" or task.answers[-1]["key"] != str(row.idempotency_key):
        return True
    # Who settles a dispute has seen the answers from the claim on.
    return task.round == "adjudication" and task.lease_token != row.lease_token
