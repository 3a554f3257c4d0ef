"""The numbers behind the dashboard.

Everything is counted from the decisions of a period, found by an index, and from what waits. What
was decided blind never counts towards the agreement with the AI: it would tell what the AI said.
What was accepted unread, with a list, is work done, but says nothing of agreement or time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.storage.labels_in_answers import labels_of, same_of_label

RATE_HOURS = 1.0
_BINS = 20

# A decision took what its author worked on it. Of older rows that is not known: the time since
# their last one, or since the item was handed out, whichever is later, as items are handed out a
# few ahead. GREATEST ignores NULL.
_MADE = """
    SELECT d.task_id, d.reviewer, d.action, d.decided_at, d.label, d.answer,
           d.ai_label_shown AND d.batch IS NULL AS shown,
           CASE WHEN d.batch IS NULL THEN coalesce(d.seconds, extract(epoch FROM
               d.decided_at - greatest(
                   d.assigned_at,
                   lag(d.decided_at) OVER (PARTITION BY d.reviewer ORDER BY d.decided_at, d.id)
               ))) END AS seconds
    FROM review_decision d
    WHERE d.decided_at >= :since AND d.effective AND d.undone_at IS NULL
      AND (CAST(:reviewer AS text) IS NULL OR d.reviewer = :reviewer)
"""
_COUNTED = """
    count(*) FILTER (WHERE action IN ('accept', 'correct')) AS decided,
    count(*) FILTER (WHERE action = 'skip') AS skipped,
    count(*) FILTER (WHERE action = 'flag') AS flagged,
    count(*) FILTER (WHERE action IN ('accept', 'correct') AND shown) AS shown,
    count(*) FILTER (WHERE {kept} AND shown) AS kept,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds)
        FILTER (WHERE action IN ('accept', 'correct')) AS seconds
"""
# Of an answer that is not one label, each label that is in it is counted; the AI's is kept where it
# said the same of this label. Nobody skips or flags with a label.
_SAME = same_of_label("named.label", "made.answer", "task.prediction -> 'answer'")
_WORK = text(
    f"""
    WITH made AS ({_MADE})
    SELECT date_trunc('hour', decided_at AT TIME ZONE 'UTC') AS hour, reviewer,
           CAST(NULL AS text) AS label, {_COUNTED.format(kept="action = 'accept'")}
    FROM made
    GROUP BY GROUPING SETS ((date_trunc('hour', decided_at AT TIME ZONE 'UTC')), (reviewer))
    UNION ALL
    SELECT NULL, NULL, named.label,
           {_COUNTED.format(kept=f"(action = 'accept' OR {_SAME})")}
    FROM made
         LEFT JOIN review_task task ON made.answer IS NOT NULL AND task.id = made.task_id
         CROSS JOIN LATERAL ({labels_of("made.label", "made.answer")}) AS named(label)
    WHERE action IN ('accept', 'correct')
    GROUP BY named.label
    ORDER BY 1, 2, 3
    """  # noqa: S608 - put together from constants
)
_CONFIDENCE = text(
    """
    SELECT least(floor((1 - task.uncertainty) * :bins), :bins - 1) / :bins AS bin,
           count(*) FILTER (WHERE made.action = 'accept') AS kept,
           count(*) FILTER (WHERE made.action = 'correct') AS changed
    FROM review_decision made JOIN review_task task ON task.id = made.task_id
    WHERE made.decided_at >= :since AND made.effective AND made.undone_at IS NULL
      AND made.ai_label_shown AND made.batch IS NULL AND made.action IN ('accept', 'correct')
      AND (CAST(:reviewer AS text) IS NULL OR made.reviewer = :reviewer)
    GROUP BY 1 ORDER BY 1
    """
)
# What arrived is what still waits or has left since: both are found by an index. Gold items only
# measure: to count them would tell when one is handed out.
_FLOW = text(
    """
    WITH left_since AS (
        SELECT DISTINCT task.id, task.workflow, task.created_at
        FROM review_decision made JOIN review_task task ON task.id = made.task_id
        WHERE made.decided_at >= :since AND made.effective AND made.undone_at IS NULL
          AND made.action <> 'skip' AND task.status <> 'open' AND NOT made.seeded
    )
    SELECT wanted.name AS workflow,
           (SELECT count(*) FROM review_task
            WHERE workflow = wanted.name AND status = 'open' AND seeded_for IS NULL) AS open,
           (SELECT count(*) FROM left_since WHERE workflow = wanted.name) AS decided,
           (SELECT count(*) FROM review_task
            WHERE workflow = wanted.name AND status = 'open' AND seeded_for IS NULL
              AND created_at >= :since)
           + (SELECT count(*) FROM left_since
              WHERE workflow = wanted.name AND created_at >= :since) AS arrived
    FROM unnest(CAST(:workflows AS text[])) AS wanted(name)
    """
)


@dataclass(frozen=True, slots=True)
class Work:
    """What was done in an hour, by a reviewer, or with a label: `name` says which."""

    name: str
    decided: int
    skipped: int
    flagged: int
    shown: int
    kept: int
    seconds: float | None

    @property
    def agreement(self) -> float | None:
        """Share of the decisions that kept the AI's label, where it was shown; 0 to 1."""
        return self.kept / self.shown if self.shown else None


@dataclass(frozen=True, slots=True)
class Bin:
    """Decisions on items whose confidence is in [low, low + 0.05)."""

    low: float
    kept: int
    changed: int


@dataclass(frozen=True, slots=True)
class Flow:
    """One workflow's backlog and how it moves, per hour, judged by the last hour."""

    workflow: str
    open: int
    arrived: float
    decided: float

    @property
    def hours_to_drain(self) -> float | None:
        """Until nothing waits, at this pace; None: it does not get less."""
        if self.open == 0:
            return 0.0
        pace = self.decided - self.arrived
        return self.open / pace if pace > 0 else None


@dataclass(frozen=True, slots=True)
class Figures:
    """The dashboard's numbers. Hours are UTC."""

    hours: list[tuple[datetime, Work]]
    reviewers: list[Work]
    labels: list[Work]
    confidence: list[Bin]


def read(session: Session, *, since: datetime, reviewer: str | None = None) -> Figures:
    """The figures from `since` on, of everybody or of one reviewer."""
    given = {"since": since, "reviewer": reviewer}
    rows = session.execute(_WORK, given).all()
    bins = session.execute(_CONFIDENCE, {**given, "bins": float(_BINS)})
    return Figures(
        hours=[(row.hour, _work(str(row.hour), row)) for row in rows if row.hour is not None],
        reviewers=[_work(row.reviewer, row) for row in rows if row.reviewer is not None],
        labels=[_work(row.label, row) for row in rows if row.label is not None],
        confidence=[Bin(float(row.bin), row.kept, row.changed) for row in bins],
    )


def flows(session: Session, workflows: Sequence[str], now: datetime) -> list[Flow]:
    """Backlog, pace and forecast of each workflow."""
    since = now - timedelta(hours=RATE_HOURS)
    rows = session.execute(_FLOW, {"since": since, "workflows": list(workflows)})
    return [
        Flow(row.workflow, row.open, row.arrived / RATE_HOURS, row.decided / RATE_HOURS)
        for row in rows
    ]


def _work(name: str, row: Any) -> Work:
    seconds = None if row.seconds is None else float(row.seconds)
    return Work(name, row.decided, row.skipped, row.flagged, row.shown, row.kept, seconds)
