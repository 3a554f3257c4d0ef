"""What has been decided, and how is a decision taken back?"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.review_ui import decisions, stats
from services.review_ui.access import Here
from services.review_ui.desk import Desk
from services.review_ui.schemas import ErrorAnswer, Recent, RecentDecision, Undone, shown_action
from services.review_ui.stats import Stats
from shared.tables import ReviewDecision, ReviewTask


def routes(desk: Desk) -> APIRouter:
    """List, undo, count."""
    api = APIRouter()

    @api.get("/decisions", tags=["decisions"])
    def recent(account: Here, limit: Annotated[int, Query(ge=1, le=200)] = 20) -> Recent:
        """Your last decisions."""
        with desk.transaction() as session:
            rows = decisions.recent(session, account.name, limit)
        return Recent(decisions=[_recent(row, task) for row, task in rows])

    @api.post(
        "/decisions/{key}/undo",
        tags=["decisions"],
        responses={404: {"model": ErrorAnswer}, 409: {"model": ErrorAnswer}},
    )
    def undo(key: UUID, account: Here) -> Undone:
        """Takes your own decision back and leases its task to you again."""
        with desk.transaction() as session:
            undone = decisions.undo(
                session,
                account.name,
                key,
                now=desk.clock(),
                lease_seconds=desk.lease_seconds,
            )
            return Undone(
                task=desk.view(undone.task) if undone.task else None, published=undone.published
            )

    @api.get("/stats", tags=["statistics"])
    def statistics(account: Here) -> Stats:
        """What waits in each queue (some seconds old at most), and your own day."""
        now = desk.clock()
        with desk.transaction() as session:
            my = stats.mine(session, account.name, now)
        return Stats(queues=desk.backlog.read(now), me=my)

    return api


def _recent(row: ReviewDecision, task: ReviewTask) -> RecentDecision:
    return RecentDecision(
        key=row.idempotency_key,
        task_id=row.task_id,
        workflow=task.workflow,
        item_id=task.item_id,
        action=shown_action(row),
        label=row.label,
        effective=row.effective,
        undone=row.undone_at is not None,
        decided_at=row.decided_at,
    )
