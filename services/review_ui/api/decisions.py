"""REST routes of decisions: list them, undo one, count."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from services.review_ui.api.access import Here
from services.review_ui.api.context import RequestContext
from services.review_ui.api.errors import ApiError
from services.review_ui.api.schemas import (
    Cursor,
    DecisionList,
    Limit,
    RecentDecision,
    ShortText,
    Undone,
    When,
    errors,
    shown_action,
)
from services.review_ui.reports import lists, stats
from services.review_ui.reports.lists import Page, Period
from services.review_ui.reports.stats import Stats
from services.review_ui.tasks import undo
from services.review_ui.tasks.decide import Action


def routes(context: RequestContext) -> APIRouter:
    api = APIRouter()

    @api.get("/decisions", tags=["decisions"], responses=errors(404))
    def listed(
        account: Here,
        of: Annotated[Literal["me", "everybody"], Query(description="everybody: for leads")] = "me",
        workflow: Annotated[ShortText | None, Query(description="unset: all")] = None,
        action: Annotated[
            Action | None, Query(description="accept, correct: those not made blind")
        ] = None,
        since: When = None,
        until: When = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> DecisionList:
        """Decisions, the newest first: those undone and those that came too late as well."""
        if of == "everybody" and not account.is_lead:
            raise ApiError(403, "role_required", "Only leads may list what others decided.")
        with context.transaction() as session:
            rows, following = lists.decisions(
                session,
                account,
                everybodys=of == "everybody",
                workflows=context.chosen(workflow, account),
                action=action,
                decided=Period(since, until),
                page=Page(limit, cursor),
            )
        return DecisionList(
            decisions=[
                RecentDecision(
                    key=row.idempotency_key,
                    reviewer=row.reviewer,
                    task_id=row.task_id,
                    workflow=task.workflow,
                    item_id=task.item_id,
                    action=shown_action(row),
                    label=row.label,
                    effective=row.effective,
                    undone=row.undone_at is not None,
                    decided_at=row.decided_at,
                )
                for row, task in rows
            ],
            next_cursor=following,
        )

    @api.post("/decisions/{key}/undo", name="undo", tags=["decisions"], responses=errors(404, 409))
    def undo_decision(key: UUID, account: Here) -> Undone:
        """Takes your own decision back and leases its task to you again."""
        with context.transaction() as session:
            undone = undo.undo(
                session,
                account.name,
                key,
                now=context.clock(),
                lease_seconds=context.lease_seconds,
            )
            return Undone(
                task=context.view(undone.task, account.name) if undone.task else None,
                published=undone.published,
            )

    @api.get("/stats", tags=["statistics"])
    def statistics(account: Here) -> Stats:
        """What waits in each queue (some seconds old at most), and your own day."""
        now = context.clock()
        with context.transaction() as session:
            my = stats.mine(session, account.name, now)
        counts = context.backlog.read(now)
        my.for_others = counts.for_others(
            account.name, context.seen_by(account), blind_too=account.is_lead
        )
        return Stats(queues=[q for q in counts.queues if account.sees(q.workflow)], me=my)

    return api
