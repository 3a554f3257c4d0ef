"""How do the review screen and other programs talk to the review service? REST under `/api/v1`."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from services.review_ui import accounts, decisions, stats, tasks
from services.review_ui.accounts import Account
from services.review_ui.decisions import Decided, StaleLease, Verdict
from services.review_ui.desk import Desk
from services.review_ui.items import ItemView, look_up
from services.review_ui.schemas import (
    Claim,
    Claimed,
    Decide,
    ErrorAnswer,
    Extended,
    Leases,
    Login,
    Me,
    Outcome,
    Recent,
    RecentDecision,
    Released,
    ShortText,
    Undone,
    Upcoming,
    WorkflowInfo,
)
from services.review_ui.security import problem
from services.review_ui.sessions import COOKIE
from services.review_ui.stats import Stats
from services.review_ui.views import TaskView, view
from shared.metrics import REVIEW_DURATION, REVIEWS
from shared.tables import ReviewDecision, ReviewTask


class ApiError(Exception):
    """An error answer: see `security.problem`."""

    def __init__(
        self, status: int, code: str, message: str, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def response(self) -> JSONResponse:
        answer = problem(self.status, self.code, self.message)
        if self.retry_after is not None:
            answer.headers["Retry-After"] = str(self.retry_after)
        return answer


def routes(desk: Desk) -> APIRouter:
    """All of `/api/v1`, bound to `desk`. Each route but login asks who is there."""

    def current(request: Request) -> Account:
        account = desk.account(request.cookies.get(COOKIE))
        if account is None:
            raise ApiError(401, "login_required", "Log in: POST /api/v1/login, or open /login.")
        return account

    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer} for status in (401, 403, 422, 503)
    }
    api = APIRouter(prefix="/api/v1", responses=errors)
    Here = Annotated[Account, Depends(current)]

    def seen(task: ReviewTask) -> TaskView:
        return view(task, desk.labels)

    def known_workflow(name: str) -> str:
        if name not in desk.workflows:
            raise ApiError(
                404, "no_such_workflow", f"The workflows here are {', '.join(desk.workflows)}."
            )
        return name

    def me(account: Account) -> Me:
        return Me(
            name=account.name,
            role=account.role,
            workflows=[
                WorkflowInfo(name=name, labels=list(each.labels), guideline=each.guideline)
                for name, each in desk.workflows.items()
            ],
            lease_seconds=desk.lease_seconds,
            undo_seconds=desk.undo_seconds,
        )

    @api.post("/login", tags=["session"], responses={429: {"model": ErrorAnswer}})
    def login(given: Login, request: Request, response: Response) -> Me:
        """Starts a session: sets the cookie that every other call needs."""
        address = request.client.host if request.client else "unknown"
        wait = desk.throttle.begin(given.name, address)
        if wait is not None:
            raise ApiError(
                429, "too_many_logins", f"Too many failed logins; wait {wait} seconds.", wait
            )
        with desk.transaction() as session:
            account = desk.accounts.verify(session, given.name, given.password)
        if account is None:
            raise ApiError(
                401, "wrong_login", "Name or password is wrong, or the account is closed."
            )
        desk.throttle.succeeded(given.name, address)
        response.set_cookie(
            COOKIE,
            desk.sessions.issue(account),
            max_age=desk.sessions.seconds,
            path="/",
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return me(account)

    @api.post("/logout", status_code=204, tags=["session"])
    def logout(account: Here, response: Response) -> None:
        """Ends every open session of yours."""
        with desk.transaction() as session:
            accounts.end_sessions(session, account.name)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")

    @api.get("/me", tags=["session"])
    def who_am_i(account: Here) -> Me:
        """Who is logged in, the workflows, their labels and guidelines."""
        return me(account)

    @api.post("/tasks/claim", tags=["tasks"])
    def claim(given: Claim, account: Here) -> Claimed:
        """Leases the next tasks to you: by due time, priority, uncertainty, age."""
        wanted = [known_workflow(given.workflow)] if given.workflow else list(desk.workflows)
        with desk.transaction() as session:
            claimed = tasks.claim(
                session,
                account.name,
                workflows=wanted,
                queue=given.queue,
                count=given.count,
                now=desk.clock(),
                lease_seconds=desk.lease_seconds,
            )
            return Claimed(tasks=[seen(task) for task in claimed])

    @api.post("/tasks/heartbeat", tags=["tasks"])
    def heartbeat(given: Leases, account: Here) -> Extended:
        """Extends your leases."""
        with desk.transaction() as session:
            held = tasks.heartbeat(
                session,
                account.name,
                given.all(),
                now=desk.clock(),
                lease_seconds=desk.lease_seconds,
            )
        return Extended(held=held, lost=[h.task_id for h in given.leases if h.task_id not in held])

    @api.post("/tasks/release", tags=["tasks"])
    def release(given: Leases, account: Here) -> Released:
        """Gives tasks back at once; a page that goes away sends this by `sendBeacon`."""
        with desk.transaction() as session:
            return Released(released=tasks.release(session, account.name, given.all()))

    @api.get("/tasks", tags=["tasks"])
    def upcoming(
        account: Here,
        workflow: Annotated[ShortText, Query()],
        queue: Annotated[ShortText | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Upcoming:
        """What would be claimed next, in order."""
        name = known_workflow(workflow)
        with desk.transaction() as session:
            found = tasks.upcoming(
                session, workflow=name, queue=queue, now=desk.clock(), limit=limit
            )
            return Upcoming(tasks=[seen(task) for task in found])

    @api.get("/tasks/{task_id}", tags=["tasks"], responses={404: {"model": ErrorAnswer}})
    def task(task_id: UUID, account: Here) -> TaskView:
        """One task, whoever holds it."""
        with desk.transaction() as session:
            found = tasks.get(session, task_id)
            if found is None:
                raise ApiError(404, "no_such_task", "There is no such task.")
            return seen(found)

    @api.post(
        "/tasks/{task_id}/decision",
        tags=["tasks"],
        responses={404: {"model": ErrorAnswer}, 409: {"model": ErrorAnswer}},
    )
    def decide(task_id: UUID, given: Decide, account: Here) -> Outcome:
        """Accept the AI's label, give another, skip or flag. A decision that comes after the lease
        has gone to somebody else is recorded and answered with 409 `stale_lease`."""
        verdict = Verdict(task_id=task_id, **given.model_dump())
        with desk.transaction() as session:
            found = tasks.get(session, task_id)
            outcome = decisions.decide(
                session,
                account.name,
                verdict,
                labels=desk.labels.get(found.workflow, ()) if found else (),
                now=desk.clock(),
                undo_seconds=desk.undo_seconds,
            )
        if isinstance(outcome, StaleLease):
            raise ApiError(409, "stale_lease", outcome.text)
        _measure(outcome)
        return Outcome(
            key=given.key,
            task_id=task_id,
            action=_shown_action(outcome.row),
            label=outcome.row.label,
            effective=True,
            decided_at=outcome.row.decided_at,
            undo_until=outcome.undo_until,
        )

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
                task=seen(undone.task) if undone.task else None, published=undone.published
            )

    @api.get("/stats", tags=["statistics"])
    def statistics(account: Here) -> Stats:
        """What waits in each queue (some seconds old at most), and your own day."""
        now = desk.clock()
        with desk.transaction() as session:
            my = stats.mine(session, account.name, now)
        return Stats(queues=desk.backlog.read(now), me=my)

    @api.get("/items/{workflow}/{item_id:path}", tags=["items"])
    def item(workflow: str, item_id: str, account: Here) -> ItemView:
        """An item and every event recorded about it."""
        known_workflow(workflow)
        found = None
        if "\0" not in item_id:
            with desk.transaction() as session:
                found = look_up(session, account, workflow, item_id)
        if found is None:
            raise ApiError(404, "no_such_item", "Nothing is recorded about this item (yet).")
        return found

    return api


def _measure(outcome: Decided) -> None:
    row, task = outcome.row, outcome.task
    if outcome.replayed:
        return
    REVIEWS.labels(task.workflow, row.action).inc()
    if row.assigned_at is not None:
        REVIEW_DURATION.observe(max(0.0, (row.decided_at - row.assigned_at).total_seconds()))


def _shown_action(row: ReviewDecision) -> str:
    """Accept or correct would tell the reviewer of a blind item what the AI had said."""
    return row.action if row.ai_label_shown or row.label is None else "label"


def _recent(row: ReviewDecision, task: ReviewTask) -> RecentDecision:
    return RecentDecision(
        key=row.idempotency_key,
        task_id=row.task_id,
        workflow=task.workflow,
        item_id=task.item_id,
        action=_shown_action(row),
        label=row.label,
        effective=row.effective,
        undone=row.undone_at is not None,
        decided_at=row.decided_at,
    )
