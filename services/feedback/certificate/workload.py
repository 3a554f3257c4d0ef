"""Workload of the reviewers, and the relief when open tasks cannot be done by their due times.

Pure but for the queries. Tasks are handed out by due time, so that the n-th of them is done when n
have been: that is compared with what people really did in the last hour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.storage.waiting_tasks import COUNT_FOR_LEADS, OPEN_TO_ALL

PACE_WINDOW = timedelta(hours=1)
SHORTEST = timedelta(minutes=10)  # once loosened, for at least so long
RELIEVED_PACE = 0.7  # tightened again when all would be in time at this share of the pace
_MAX_TASKS = 10_000
_DUE = text(
    f"""
    SELECT due_at FROM review_task
    WHERE workflow = :workflow AND {OPEN_TO_ALL} AND due_at < 'infinity'
    ORDER BY due_at LIMIT :most
    """  # noqa: S608 - put together from constants
)
_FOR_LEADS = text(COUNT_FOR_LEADS)
_DONE = text(
    """
    SELECT count(*) FROM review_decision JOIN review_task ON review_task.id = task_id
    WHERE workflow = :workflow AND review_decision.decided_at > :since AND effective
      AND undone_at IS NULL AND action IN ('accept', 'correct')
    """
)


@dataclass(frozen=True, slots=True)
class Workload:
    """The due times of the open tasks, earliest first, and decisions a second."""

    due: Sequence[datetime]
    pace: float

    def late(self, now: datetime, share_of_pace: float = 1.0) -> int:
        """How many tasks will not be done by their due time."""
        pace = self.pace * share_of_pace
        if pace <= 0:
            return len(self.due)
        return sum(
            now + timedelta(seconds=place / pace) > due
            for place, due in enumerate(self.due, start=1)
        )


def measure(session: Session, workflow: str, now: datetime) -> Workload:
    """The load of the people of this workflow."""
    due = session.scalars(_DUE, {"workflow": workflow, "most": _MAX_TASKS}).all()
    done = session.scalar(_DONE, {"workflow": workflow, "since": now - PACE_WINDOW})
    return Workload(due, int(done or 0) / PACE_WINDOW.total_seconds())


def for_leads(session: Session, workflow: str, now: datetime) -> tuple[int, float]:
    """How many tasks wait for a lead, and for how many seconds the first of them has."""
    for name, waiting, since in session.execute(_FOR_LEADS):
        if name == workflow:
            return waiting, max((now - since).total_seconds(), 0.0)
    return 0, 0.0


class Relief:
    """Loosened or not; with hysteresis, so that the threshold does not swing with every task."""

    def __init__(self, shortest: timedelta = SHORTEST) -> None:
        self._shortest = shortest
        self._since: datetime | None = None

    def loosened(self, workload: Workload, now: datetime) -> bool:
        """Whether the threshold is relaxed from now on, because people would not keep up."""
        if self._since is None:
            if workload.late(now):
                self._since = now
        elif now - self._since >= self._shortest and not workload.late(now, RELIEVED_PACE):
            self._since = None
        return self._since is not None


def operating_threshold(levels: Sequence[float], wished: float, *, loosened: bool) -> float:
    """The certified level to operate at; `levels` are all certified ones, at least one.

    The loosest one where people cannot keep up. Else the loosest that is no looser than wished;
    where every certified level is looser, the strictest of them: the wish is a preference, and
    what is promised is promised at a certified level only. Between two of them nothing is.
    """
    if loosened:
        return min(levels)
    return min((level for level in levels if level >= wished), default=max(levels))
