"""Batches: many tasks accepted at once, and undone at once.

Only what the reviewer was shown in a preview: its ids travel with the request. Blind items, gold
items, those of the audit panel, second reviews and what somebody else holds are never among them.
Each decision carries its batch, so that measures of people and training can leave it out.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID, uuid5

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from services.review_ui.tasks import claim, decide
from services.review_ui.tasks.claim import Lease
from services.review_ui.tasks.decide import Decided, DecisionRequest, Refused
from services.review_ui.tasks.filters import TaskFilter
from services.review_ui.tasks.undo import undo
from shared.answers.base import PLAIN, Kind
from shared.storage.tables import ReviewDecision, ReviewTask
from shared.storage.time_limit import SEARCH_SECONDS, time_limit
from shared.storage.waiting_tasks import OPEN_TO_ALL, URGENCY
from shared.workflows.files import ReviewRules

BATCHED: frozenset[Kind] = frozenset(("label", "labels"))
"""Kinds of answers that a line of a list shows whole; others are read one by one."""
MAX_BATCH = 500
CHUNK = 50
"""Tasks in one request: each is one transaction, so that no lock is held for long."""


def _listed(kinds: frozenset[Kind]) -> str:
    return "({})".format(", ".join(f"'{kind}'" for kind in sorted(kinds)))


_MATCHING = """
    SELECT id FROM review_task WHERE workflow = ANY(:workflows) AND {may} AND {matches}
    ORDER BY {urgency} LIMIT :count
    """
_ELIGIBLE = f"""{OPEN_TO_ALL} AND NOT blind AND round = 'first'
      AND prediction IS NOT NULL AND coalesce(kind, 'label') IN {_listed(BATCHED)}
      AND NOT (routing -> 'sampling' ->> 'on_panel')::boolean
      AND (leased_by IS NULL OR leased_by = :me OR lease_expires_at <= :now)
      AND NOT skipped_by @> jsonb_build_array(CAST(:me AS text))"""


def preview(
    session: Session,
    reviewer: str,
    *,
    workflows: Sequence[str],
    wanted: TaskFilter,
    now: datetime,
) -> tuple[list[ReviewTask], bool]:
    """What would be accepted, the most urgent first, and whether there is more than `MAX_BATCH`.

    Raises:
        Refused: `filter_required`; accepting whatever waits is no review.
        TooLong: a search through the texts took too long.
    """
    if not wanted.narrows:
        raise Refused("filter_required", "A batch needs a filter: a label, a confidence or a text.")
    matches, given = wanted.where()
    statement = text(_MATCHING.format(may=_ELIGIBLE, matches=matches, urgency=URGENCY))
    asked = {**given, "workflows": list(workflows), "me": reviewer, "now": now}
    with time_limit(session, SEARCH_SECONDS):
        found = session.scalars(statement, {**asked, "count": MAX_BATCH + 1}).all()
    rows = session.scalars(select(ReviewTask).where(ReviewTask.id.in_(found)))
    by_id = {row.id: row for row in rows}
    return [by_id[each] for each in found[:MAX_BATCH]], len(found) > MAX_BATCH


def accept(
    session: Session,
    reviewer: str,
    batch: UUID,
    chosen: Sequence[UUID],
    *,
    rules: Callable[[str], ReviewRules],
    now: datetime,
    undo_seconds: float,
) -> tuple[list[UUID], list[Decided]]:
    """Accepts the AI's label of the chosen tasks: those that are no longer eligible, and what is
    newly decided. The same request again does nothing more.

    Raises:
        Refused: `batch_full`, or `key_reused` where the batch is somebody else's.
    """
    _alone(session, batch)
    earlier = session.scalars(select(ReviewDecision).where(ReviewDecision.batch == batch)).all()
    if any(row.reviewer != reviewer for row in earlier):
        raise Refused("key_reused", "This batch id was used by another account.")
    done = {row.task_id for row in earlier}
    if len(done | set(chosen)) > MAX_BATCH:
        raise Refused("batch_full", f"A batch has at most {MAX_BATCH} items.")
    free = (
        select(ReviewTask)
        .where(ReviewTask.id.in_(set(chosen) - done), text(_ELIGIBLE))
        .order_by(ReviewTask.id)
        .with_for_update(skip_locked=True)
    )
    fresh: list[Decided] = []
    for task in session.scalars(free, {"me": reviewer, "now": now}).all():
        claim.lease(task, reviewer, now, 0.0)
        outcome = decide.decide(
            session,
            reviewer,
            DecisionRequest(
                key=uuid5(batch, str(task.id)),
                task_id=task.id,
                lease_token=task.lease_token,
                action="accept",
                seconds=0.0,
                batch=batch,
            ),
            spec=PLAIN,
            review=rules(task.workflow),
            now=now,
            undo_seconds=undo_seconds,
        )
        if isinstance(outcome, Decided):
            done.add(task.id)
            fresh.append(outcome)
    return [each for each in chosen if each not in done], fresh


def undo_batch(
    session: Session, reviewer: str, batch: UUID, *, now: datetime, lease_seconds: float
) -> tuple[int, int, bool]:
    """Takes back up to `CHUNK` decisions of the reviewer's batch: how many, how many could not be
    taken back, and whether there are more.

    The tasks wait again for anybody. Those that have been decided again since stay as they are.

    Raises:
        Refused: `no_such_decision`; the reviewer has no such batch.
    """
    _alone(session, batch)
    mine = ReviewDecision.batch == batch, ReviewDecision.reviewer == reviewer
    total = session.scalar(select(func.count()).where(*mine))
    if not total:
        raise Refused("no_such_decision", "You have no such batch.")
    standing = (
        select(ReviewDecision)
        .where(*mine, ReviewDecision.undone_at.is_(None))
        .order_by(ReviewDecision.task_id)
    )
    done = missed = 0
    for row in session.scalars(standing).all():
        if done == CHUNK:
            return done, missed, True
        try:
            undone = undo(
                session, reviewer, row.idempotency_key, now=now, lease_seconds=lease_seconds
            )
        except Refused:
            missed += 1
            continue
        done += 1
        if undone.task is not None:
            claim.release(session, reviewer, [Lease(undone.task.id, undone.task.lease_token)])
    return done, missed, False


def _alone(session: Session, batch: UUID) -> None:
    """Makes the same request, sent twice at once, wait for the first one."""
    key = int.from_bytes(batch.bytes[:8], signed=True)
    session.execute(select(func.pg_advisory_xact_lock(key)))
