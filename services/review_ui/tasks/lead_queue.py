"""The tasks that wait for a lead: flagged ones, disputed ones, and those taken up again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from services.review_ui.tasks.views import EarlierAnswer
from shared.storage.tables import BY_URGENCY, ReviewDecision, ReviewTask
from shared.storage.waiting_tasks import FOR_LEADS

MAX_FOUND = 200
Why = Literal["flagged", "disputed", "taken_up"]


@dataclass(frozen=True, slots=True)
class LeadTask:
    """A task that only a lead settles. `since`: the time of the last answer; `held_by`: who has it
    in hand."""

    task_id: UUID
    item_id: str
    text: str
    why: Why
    since: datetime | None
    answers: tuple[EarlierAnswer, ...]
    held_by: str | None


def waiting(session: Session, workflows: Sequence[str], now: datetime) -> list[LeadTask]:
    """In the order in which leads are given them, `MAX_FOUND` at most, found by an index. What the
    AI thinks is not among it: a lead sees that with the task in hand."""
    last = (
        select(func.max(ReviewDecision.decided_at))
        .where(ReviewDecision.task_id == ReviewTask.id, ReviewDecision.effective)
        .correlate(ReviewTask)
        .scalar_subquery()
    )
    found = (
        select(ReviewTask, last)
        .where(ReviewTask.workflow.in_(workflows), text(FOR_LEADS))
        .order_by(*BY_URGENCY)
        .limit(MAX_FOUND)
    )
    return [_waiting(task, since, now) for task, since in session.execute(found)]


def _waiting(task: ReviewTask, since: datetime | None, now: datetime) -> LeadTask:
    answers = tuple(EarlierAnswer.model_validate(each) for each in task.answers)
    labels = {each.label for each in answers}
    held = task.lease_expires_at is not None and task.lease_expires_at > now
    return LeadTask(
        task_id=task.id,
        item_id=task.item_id,
        text=str(task.item["text"]),
        why="flagged" if None in labels else "disputed" if len(labels) > 1 else "taken_up",
        since=since,
        answers=answers,
        held_by=task.leased_by if held else None,
    )
