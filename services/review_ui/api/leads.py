"""REST routes for leads: reopen tasks, take leases back, measure the quality of the work."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.review_ui.api.access import Here
from services.review_ui.api.context import RequestContext
from services.review_ui.api.schemas import Asked, Limit, Released, ShortText, errors
from services.review_ui.reports import quality
from services.review_ui.reports.quality import Accuracy, Agreement, SecondReviews, WithAi
from services.review_ui.tasks import claim, holders
from services.review_ui.tasks.holders import Holder
from services.review_ui.tasks.reopen import reopen
from services.review_ui.tasks.views import TaskView
from shared.storage.tables import ReviewTask


class Quality(BaseModel):
    """Rates are 0 to 1, with 95 % intervals (Wilson); null where there is nothing to count."""

    agreement: Agreement = Field(description="two people on the same items, those drawn by hash")
    accuracy: list[Accuracy] = Field(description="each reviewer on gold items")
    second_reviews: SecondReviews
    with_ai: WithAi = Field(description="first answers like the AI's label: in sight of it, blind")


class Flag(BaseModel):
    """A flagged item, and why it is one."""

    task_id: UUID
    workflow: str
    item_id: str
    text: str
    reason: str | None
    note: str | None


class Disputes(BaseModel):
    """What waits for leads and is not leased."""

    disputed: int = Field(description="two answers that differ, or taken up and left; not yours")
    flagged: int
    flags: list[Flag] = Field(description="the first of those flagged, the most urgent first")


class Holders(BaseModel):
    holders: list[Holder] = Field(description="who has most first")


class TakeBack(Asked):
    reviewer: ShortText


def routes(context: RequestContext) -> APIRouter:
    api = APIRouter()

    @api.post("/tasks/{task_id}/reopen", tags=["tasks"], responses=errors(404, 409))
    def take_up(task_id: UUID, account: Here) -> TaskView:
        """Leases a task that is decided, flagged, disputed or waits for a second person to you:
        your answer settles it."""
        with context.transaction() as session:
            task = reopen(
                session,
                account.name,
                task_id,
                now=context.clock(),
                lease_seconds=context.lease_seconds,
            )
            return context.view(task, account.name)

    @api.get("/holders", tags=["tasks"])
    def in_hand(account: Here) -> Holders:
        """Who has how many tasks in hand."""
        with context.transaction() as session:
            found = holders.holders(session, context.chosen(None, account), context.clock())
        return Holders(holders=found)

    @api.post("/holders/release", tags=["tasks"])
    def take_back(given: TakeBack, account: Here) -> Released:
        """Gives all that this reviewer or program has in hand back to everybody. What they decide
        about one of these later is on record and does not count."""
        with context.transaction() as session:
            found = holders.take_back(session, given.reviewer, context.chosen(None, account))
        return Released(released=found)

    @api.get("/disputes", tags=["tasks"], responses=errors(404))
    def disputes(
        account: Here,
        workflow: Annotated[ShortText | None, Query(description="unset: all")] = None,
        limit: Limit = 50,
    ) -> Disputes:
        """What people disagree about, and what they flagged, with their reasons. To work on them,
        claim with `only`, or take one up with `/tasks/{task_id}/reopen`."""
        with context.transaction() as session:
            counts, flagged = claim.for_leads(
                session,
                account.name,
                workflows=context.chosen(workflow, account),
                now=context.clock(),
                limit=limit,
            )
            return Disputes(
                disputed=counts["disputed"],
                flagged=counts["flagged"],
                flags=[_flag(task) for task in flagged],
            )

    @api.get("/quality", tags=["statistics"], responses=errors(404))
    def measured(
        account: Here,
        workflow: Annotated[ShortText, Query()],
        days: Annotated[int, Query(ge=1, le=3_650)] = 30,
    ) -> Quality:
        """How people agree with each other, with the AI and with known labels."""
        name = context.known_workflow(workflow, account)
        since = context.clock() - timedelta(days=days)
        with context.transaction() as session:
            return Quality(
                agreement=quality.agreement(session, name, since),
                accuracy=quality.accuracy(session, name, since),
                second_reviews=quality.second_reviews(session, name, since),
                with_ai=quality.with_ai(session, name, since),
            )

    return api


def _flag(task: ReviewTask) -> Flag:
    why = task.answers[-1] if task.answers else {}
    return Flag(
        task_id=task.id,
        workflow=task.workflow,
        item_id=task.item_id,
        text=task.item["text"],
        reason=why.get("reason"),
        note=why.get("note"),
    )
