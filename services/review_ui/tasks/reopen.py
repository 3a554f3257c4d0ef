"""Reopens for a lead what was decided, flagged or disputed, or waits for a second person."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from services.review_ui.tasks.claim import lease
from services.review_ui.tasks.decide import Refused, locked
from shared.storage.tables import ReviewTask


def reopen(
    session: Session, lead: str, task_id: UUID, *, now: datetime, lease_seconds: float
) -> ReviewTask:
    """Leases the task to the lead, who settles it: their answer is final and a new revision, and
    until then what was decided stands. It may be one that they have answered before.

    Raises:
        Refused: `no_such_task`, `in_hand` (somebody is working on it) or `still_open` (it waits
            for an answer that any reviewer may give).
    """
    task = locked(session, task_id)
    if task.seeded_for is not None:
        raise Refused("no_such_task", "There is no such task.")
    expires = task.lease_expires_at
    if task.leased_by not in (None, lead) and expires is not None and expires > now:
        raise Refused("in_hand", "Somebody else is working on this item; try again later.")
    if task.status == "open" and task.round == "first":
        raise Refused("still_open", "This item still waits for an answer; nothing to reopen.")
    task.status = "open"
    task.round = "adjudication"
    task.decided_at = None
    lease(task, lead, now, lease_seconds)
    return task
