"""REST routes of tasks: claim, heartbeat, release, list, look up, decide."""

from typing import Annotated
from uuid import UUID

from anyio import from_thread
from fastapi import APIRouter, Query, Request

from services.review_ui.api.access import Here
from services.review_ui.api.context import RequestContext
from services.review_ui.api.errors import ApiError
from services.review_ui.api.schemas import (
    Claim,
    Claimed,
    Cursor,
    Decide,
    Extended,
    Leases,
    Limit,
    Outcome,
    Released,
    ShortText,
    TaskList,
    Upcoming,
    errors,
    shown_action,
)
from services.review_ui.reports import lists
from services.review_ui.reports.lists import Page, TaskState
from services.review_ui.tasks import claim, decide, gold, holders
from services.review_ui.tasks.decide import DecisionRequest, StaleLease
from services.review_ui.tasks.views import TaskView
from shared.answers.base import PLAIN
from shared.service.metrics import REVIEW_DURATION, REVIEWS
from shared.workflows.files import ReviewRules


def routes(context: RequestContext) -> APIRouter:
    api = APIRouter()

    @api.post("/tasks/claim", name="claim", tags=["tasks"], responses=errors(409))
    def claim_tasks(given: Claim, account: Here, request: Request) -> Claimed:
        """Leases the next tasks to you: by due time, priority, uncertainty, age. No gold items are
        among filtered ones: they would stand out. A disconnected client gets no lease. At the
        limit of tasks in hand the answer is 409 `holds_enough`."""
        now = context.clock()
        lead = account.is_lead
        if given.only is not None and not lead:
            raise ApiError(403, "role_required", "Only leads may claim disputed and flagged items.")
        wanted = given.filter(
            context.known_labels(given.workflow),
            among=context.several_labels(given.workflow),
            only=given.only,
        )
        with context.transaction() as session:
            count = holders.may_claim(
                session, account.name, given.count, context.max_held_tasks, now
            )
            claimed = claim.claim(
                session,
                account.name,
                workflows=context.chosen(given.workflow, account),
                wanted=wanted,
                count=count,
                now=now,
                lease_seconds=context.lease_seconds,
                lead=lead,
            )
            if not wanted.narrows:
                claimed = gold.mix_in(
                    session,
                    account.name,
                    claimed,
                    context.workflows,
                    now=now,
                    lease_seconds=context.lease_seconds,
                )
            answer = Claimed(tasks=context.views(session, claimed, account.name))
            # A page that was closed meanwhile would hold them, unseen, until its lease ends.
            if from_thread.run(request.is_disconnected):
                session.rollback()
            return answer

    @api.post("/tasks/heartbeat", tags=["tasks"])
    def heartbeat(given: Leases, account: Here) -> Extended:
        """Extends your leases."""
        with context.transaction() as session:
            held = claim.heartbeat(
                session,
                account.name,
                given.all(),
                now=context.clock(),
                lease_seconds=context.lease_seconds,
            )
        return Extended(held=held, lost=[h.task_id for h in given.leases if h.task_id not in held])

    @api.post("/tasks/release", tags=["tasks"])
    def release(given: Leases, account: Here) -> Released:
        """Gives tasks back at once; a page that is closed sends this by `sendBeacon`."""
        with context.transaction() as session:
            return Released(released=claim.release(session, account.name, given.all()))

    @api.get("/tasks", tags=["tasks"], responses=errors(404))
    def listed(
        account: Here,
        workflow: Annotated[ShortText | None, Query(description="unset: all")] = None,
        queue: Annotated[ShortText | None, Query()] = None,
        state: Annotated[TaskState, Query()] = "waiting",
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> TaskList:
        """Tasks, the most urgent first. Reviewers list what waits; leads also what is leased,
        decided or flagged."""
        if state != "waiting" and not account.is_lead:
            raise ApiError(403, "role_required", "Reviewers may list only waiting tasks.")
        with context.transaction() as session:
            found, following = lists.tasks(
                session,
                account,
                workflows=context.chosen(workflow, account),
                queue=queue,
                state=state,
                now=context.clock(),
                page=Page(limit, cursor),
            )
            return TaskList(
                tasks=context.views(session, found, account.name), next_cursor=following
            )

    @api.get("/tasks/next", tags=["tasks"])
    def upcoming(
        account: Here,
        workflow: Annotated[ShortText, Query()],
        queue: Annotated[ShortText | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Upcoming:
        """What would be claimed next, in order."""
        name = context.known_workflow(workflow, account)
        with context.transaction() as session:
            found = claim.upcoming(
                session,
                account.name,
                workflow=name,
                queue=queue,
                now=context.clock(),
                limit=limit,
                lead=account.is_lead,
            )
            return Upcoming(tasks=context.views(session, found, account.name))

    @api.get("/tasks/{task_id}", tags=["tasks"], responses=errors(404))
    def task(task_id: UUID, account: Here) -> TaskView:
        """One task, whoever holds it."""
        with context.transaction() as session:
            found = context.task(session, task_id, account)
            return context.views(session, [found], account.name)[0]

    @api.post(
        "/tasks/{task_id}/decision", name="decide", tags=["tasks"], responses=errors(404, 409)
    )
    def decide_task(task_id: UUID, given: Decide, account: Here) -> Outcome:
        """Accept the AI's answer, give another, skip or flag. A decision that comes after the lease
        has gone to somebody else is recorded and answered with 409 `stale_lease`."""
        request = DecisionRequest(task_id=task_id, **given.model_dump())
        with context.transaction() as session:
            flow = context.workflows.get(context.task(session, task_id, account).workflow)
            outcome = decide.decide(
                session,
                account.name,
                request,
                spec=flow.spec if flow else PLAIN,
                review=flow.review if flow else ReviewRules(),
                now=context.clock(),
                undo_seconds=context.undo_seconds,
            )
        if isinstance(outcome, StaleLease):
            raise ApiError(409, "stale_lease", outcome.text)
        row, task = outcome.row, outcome.task
        # The metric is public too: of a blind item it must not tell what the answer amounts to.
        action = shown_action(row)
        if not outcome.replayed:
            REVIEWS.labels(task.workflow, action).inc()
            if row.seconds is not None:
                REVIEW_DURATION.observe(row.seconds)
            context.trace(task, row)
        return Outcome(
            key=given.key,
            task_id=task_id,
            action=action,
            label=row.label,
            answer=row.answer,
            effective=True,
            decided_at=row.decided_at,
            undo_until=outcome.undo_until,
        )

    return api
