"""The backlog of each queue, and a reviewer's own day."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, Field
from sqlalchemy import Engine, Row, text
from sqlalchemy.orm import Session

from services.review_ui.reports.stale_cache import StaleCache


class QueueStats(BaseModel):
    """One workflow's review queue."""

    workflow: str
    queue: str
    open: int = Field(description="waiting for a decision, leased ones included")
    leased: int = Field(description="of these, leased to somebody now")


class MyStats(BaseModel):
    """The reader's own work since midnight UTC."""

    decided: int
    skipped: int
    flagged: int
    agreement: float | None = Field(
        description="share of decisions that kept the AI's answer; without blind items and lists "
        "accepted unread"
    )
    for_others: int = Field(
        default=0,
        description="tasks that you have answered and that wait for a second person; without blind "
        "ones, unless you are a lead",
    )


class Stats(BaseModel):
    queues: list[QueueStats]
    me: MyStats


_BACKLOG = text(
    """
    SELECT workflow, queue, count(*) AS open,
           count(*) FILTER (WHERE leased_by IS NOT NULL AND lease_expires_at > :now) AS leased
    FROM review_task
    WHERE status = 'open' AND seeded_for IS NULL AND workflow = ANY(:workflows)
    GROUP BY workflow, queue ORDER BY workflow, queue
    """
)
_SECOND = text(
    """
    SELECT workflow, answer ->> 'reviewer' AS reviewer, count(*) AS tasks,
           count(*) FILTER (WHERE NOT blind) AS seen
    FROM review_task CROSS JOIN LATERAL jsonb_array_elements(answers) AS answer
    WHERE status = 'open' AND round = 'second' AND seeded_for IS NULL
      AND workflow = ANY(:workflows)
    GROUP BY 1, 2
    """
)
_MINE = text(
    """
    SELECT count(*) FILTER (WHERE action IN ('accept', 'correct')) AS decided,
           count(*) FILTER (WHERE action = 'skip') AS skipped,
           count(*) FILTER (WHERE action = 'flag') AS flagged,
           count(*) FILTER (WHERE action = 'accept' AND judged) AS kept,
           count(*) FILTER (WHERE action IN ('accept', 'correct') AND judged) AS shown
    FROM (SELECT *, ai_label_shown AND batch IS NULL AS judged FROM review_decision) AS made
    WHERE reviewer = :reviewer AND decided_at >= :since AND effective AND undone_at IS NULL
    """
)


class Counts(NamedTuple):
    """What waits: by queue, and for a second person by who has answered (rows of `_SECOND`)."""

    queues: list[QueueStats]
    second: Sequence[Row[Any]]

    def for_others(self, reviewer: str, workflows: Collection[str], *, blind_too: bool) -> int:
        """What this reviewer has answered and a second person has not. That a blind item waits
        tells its first reviewer that the AI said something else."""
        return sum(
            row.tasks if blind_too else row.seen
            for row in self.second
            if row.reviewer == reviewer and row.workflow in workflows
        )


class Backlog:
    """Counts of what waits, the same for however many screens ask."""

    def __init__(self, engine: Engine, workflows: Collection[str]) -> None:
        """`workflows` may grow."""
        self._engine = engine
        self._workflows = workflows
        self._cache = StaleCache[Counts]()

    def read(self, now: datetime) -> Counts:
        """The counts, some seconds old at most; more where counting takes long."""

        def count() -> Counts:
            asked = {"now": now, "workflows": list(self._workflows)}
            with self._engine.connect() as connection:
                queues = connection.execute(_BACKLOG, asked).mappings()
                second = connection.execute(_SECOND, asked)
                return Counts([QueueStats(**row) for row in queues], second.all())

        return self._cache.get("all", count)


def mine(session: Session, reviewer: str, now: datetime) -> MyStats:
    """The reviewer's counts of today."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    row = session.execute(_MINE, {"reviewer": reviewer, "since": midnight}).one()
    return MyStats(
        decided=row.decided,
        skipped=row.skipped,
        flagged=row.flagged,
        agreement=row.kept / row.shown if row.shown else None,
    )
