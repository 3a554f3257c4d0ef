"""Claims: who works on which task, and for how long.

A claim is a lease in Postgres: a row, a token that only grows, an end. Rows that somebody else is
claiming are stepped over (`FOR UPDATE SKIP LOCKED`), so that no two reviewers get the same task.

    open ──claim──► open, leased ──accept | correct──► decided ──undo──► open, leased
     ▲                  │   └────────flag────────────► flagged ──undo──► open, leased
     ├─release, expiry, skip                             └──claim of a lead──► open, leased
     └─an answer that another round checks (rounds.py)

Nobody is given a task again that they have answered or flagged.
"""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, or_, select, text, tuple_, update
from sqlalchemy.orm import Session

from services.review_ui.tasks.filters import EVERYTHING, LAST_IS_A_FLAG, Only, TaskFilter
from shared.storage.tables import BY_URGENCY, ReviewTask
from shared.storage.time_limit import time_limit
from shared.storage.waiting_tasks import FOR_LEADS, OPEN_TO_ALL, URGENCY

MAX_CLAIM = 50
SEARCH_SECONDS = 3.0
"""For one of up to four statements; the card waits 15 s for an answer."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A reviewer's hold on a task: worth something only while the task still has this token."""

    task_id: UUID
    token: int


# Each workflow's head is read from a partial index (`review_task_next`, `review_task_leads`; with a
# label `review_task_label`), whatever the backlog; the LATERAL keeps that so for several workflows.
# MATERIALIZED: a subquery that locks must run once; inside `WHERE id IN (…)` a plan may run it for
# every row and claim too many.
_CLAIM = """
    WITH next AS MATERIALIZED (
        SELECT head.id
        FROM unnest(CAST(:workflows AS text[])) AS wanted(name)
        CROSS JOIN LATERAL (
            SELECT * FROM review_task
            WHERE workflow = wanted.name AND {pool} AND {matches}
              AND (leased_by IS NULL OR lease_expires_at <= :now)
              AND (:skipped_too OR NOT skipped_by @> CAST(:me AS jsonb))
              AND NOT answers @> CAST(:answered AS jsonb)
            ORDER BY {urgency}
            LIMIT :count
            FOR UPDATE SKIP LOCKED
        ) AS head
        ORDER BY {urgency}
        LIMIT :count
    )
    UPDATE review_task
    SET status = 'open', lease_token = lease_token + 1, leased_by = :reviewer, leased_at = :now,
        lease_expires_at = :until
    FROM next WHERE review_task.id = next.id
    RETURNING review_task.id
    """
_WAITS = f"""workflow = ANY(:workflows) AND {FOR_LEADS}
      AND (leased_by IS NULL OR lease_expires_at <= :now)"""
# What a lead flagged or answered does not come to them by itself, but they may take it up.
_COUNT_FOR_LEADS = text(
    f"""
    SELECT count(*) FILTER (
               WHERE NOT {LAST_IS_A_FLAG} AND NOT answers @> CAST(:answered AS jsonb)
           ) AS disputed,
           count(*) FILTER (WHERE {LAST_IS_A_FLAG}) AS flagged
    FROM review_task WHERE {_WAITS}
    """  # noqa: S608 - put together from constants
)
_FLAGGED = text(
    f"""
    SELECT id FROM review_task WHERE {_WAITS} AND {LAST_IS_A_FLAG}
    ORDER BY {URGENCY} LIMIT :limit
    """  # noqa: S608 - put together from constants
)


def claim(
    session: Session,
    reviewer: str,
    *,
    workflows: Sequence[str],
    count: int,
    now: datetime,
    lease_seconds: float,
    wanted: TaskFilter = EVERYTHING,
    lead: bool = False,
) -> list[ReviewTask]:
    """The next tasks, most urgent first, leased to `reviewer`; empty when nothing is left.

    Order: due time, priority, uncertainty (of blind tasks a random number), age. What this reviewer
    skipped comes back only when nothing else is left. A lead gets what waits for leads first:
    disputes and flagged tasks.

    Raises:
        TooLong: a search through the texts took too long.
    """
    matches, values = wanted.where()
    given = {
        "reviewer": reviewer,
        "me": json.dumps([reviewer]),
        "answered": json.dumps([{"reviewer": reviewer}]),
        "now": now,
        "until": now + timedelta(seconds=lease_seconds),
        "workflows": list(workflows),
        **values,
    }
    pools = [FOR_LEADS, OPEN_TO_ALL] if lead else [OPEN_TO_ALL]
    if wanted.only is not None:
        pools.remove(OPEN_TO_ALL)
    claimed: list[UUID] = []
    for skipped_too in (False, True):
        for pool in pools:
            missing = min(count, MAX_CLAIM) - len(claimed)
            if missing:
                statement = text(_CLAIM.format(pool=pool, matches=matches, urgency=URGENCY))
                asked = {**given, "skipped_too": skipped_too, "count": missing}
                with time_limit(session, SEARCH_SECONDS) if wanted.search else nullcontext():
                    claimed += session.scalars(statement, asked).all()
        if claimed:
            break
    return list(session.scalars(_CLAIMED, {"ids": claimed}))


def lease(task: ReviewTask, reviewer: str, now: datetime, seconds: float) -> None:
    """Leases this task to `reviewer`, whoever held it; the caller has it locked."""
    task.lease_token += 1
    task.leased_by, task.leased_at = reviewer, now
    task.lease_expires_at = now + timedelta(seconds=seconds)


def heartbeat(
    session: Session,
    reviewer: str,
    leases: Sequence[Lease],
    *,
    now: datetime,
    lease_seconds: float,
) -> dict[UUID, datetime]:
    """Extends what the reviewer still holds: task → new end. What is missing there is lost.

    A lease that ran out while nobody else wanted the task is taken up again.
    """
    until = now + timedelta(seconds=lease_seconds)
    given = {**_held(reviewer, leases), "until": until}
    return dict.fromkeys(session.scalars(_EXTEND, given), until)


def release(session: Session, reviewer: str, leases: Sequence[Lease]) -> int:
    """Gives back what the reviewer still holds, at once; how many."""
    return len(session.scalars(_RELEASE, _held(reviewer, leases)).all())


def upcoming(
    session: Session,
    reviewer: str,
    *,
    workflow: str,
    now: datetime,
    limit: int,
    queue: str | None = None,
    lead: bool = False,
) -> list[ReviewTask]:
    """The tasks that this reviewer would get next, in order, without claiming them."""
    statement = (
        select(ReviewTask)
        .where(
            ReviewTask.workflow == workflow,
            text(OPEN_TO_ALL),
            ~ReviewTask.answers.contains([{"reviewer": reviewer}]),
            or_(ReviewTask.leased_by.is_(None), ReviewTask.lease_expires_at <= now),
        )
        .order_by(*BY_URGENCY)
        .limit(limit)
    )
    if queue is not None:
        statement = statement.where(ReviewTask.queue == queue)
    if not lead:
        # A blind item that waits again tells that the first answer was not the AI's.
        statement = statement.where(~(ReviewTask.blind & (ReviewTask.round != "first")))
    return list(session.scalars(statement))


def for_leads(
    session: Session, lead: str, *, workflows: Sequence[str], now: datetime, limit: int
) -> tuple[dict[Only, int], list[ReviewTask]]:
    """What waits for leads: how many of each, and the flagged ones in the order of claims."""
    given = {
        "workflows": list(workflows),
        "now": now,
        "answered": json.dumps([{"reviewer": lead}]),
        "limit": limit,
    }
    row = session.execute(_COUNT_FOR_LEADS, given).one()
    counts: dict[Only, int] = {"disputed": row.disputed, "flagged": row.flagged}
    ids = session.scalars(_FLAGGED, given).all()
    flagged = select(ReviewTask).where(ReviewTask.id.in_(ids)).order_by(*BY_URGENCY)
    return counts, list(session.scalars(flagged))


# Built once: `in_` leaves cycles of objects to Python's collector wherever it is written down anew.
_CLAIMED = (
    select(ReviewTask)
    .where(ReviewTask.id.in_(bindparam("ids", expanding=True)))
    .order_by((ReviewTask.round != "adjudication"), *BY_URGENCY)
    .execution_options(populate_existing=True)
)
_OF_THOSE_HELD = (
    update(ReviewTask)
    .where(
        ReviewTask.status == "open",
        ReviewTask.leased_by == bindparam("reviewer"),
        tuple_(ReviewTask.id, ReviewTask.lease_token).in_(bindparam("held", expanding=True)),
    )
    .returning(ReviewTask.id)
    .execution_options(synchronize_session=False)
)
_EXTEND = _OF_THOSE_HELD.values(lease_expires_at=bindparam("until"))
_RELEASE = _OF_THOSE_HELD.values(leased_by=None, leased_at=None, lease_expires_at=None)


def _held(reviewer: str, leases: Sequence[Lease]) -> dict[str, object]:
    return {"reviewer": reviewer, "held": [(lease.task_id, lease.token) for lease in leases]}
