"""The request context: what all requests of the review service share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.api.errors import ApiError
from services.review_ui.api.submit import Publish
from services.review_ui.auth import accounts, tokens
from services.review_ui.auth.accounts import Account, Accounts
from services.review_ui.auth.sessions import LoginThrottle, Sessions
from services.review_ui.auth.tokens import Token
from services.review_ui.reports.stats import Backlog
from services.review_ui.tasks import highlights
from services.review_ui.tasks.views import TaskView, view
from shared.answers.base import PLAIN, AnswerSpec
from shared.clock import Clock
from shared.storage.database import database_errors
from shared.storage.tables import ReviewDecision, ReviewTask
from shared.workflows.files import Workflow

if TYPE_CHECKING:
    from shared.service.otel import Spans

Respond = Callable[[str], tuple[int, str, bytes]]


@dataclass(frozen=True)
class RequestContext:
    """Put together once, at the start. `respond` answers /metrics, /healthz and /readyz;
    `publish` returns once the broker has confirmed, or raises `Overloaded`."""

    engine: Engine
    clock: Clock
    workflows: Mapping[str, Workflow]
    accounts: Accounts
    sessions: Sessions
    throttle: LoginThrottle
    backlog: Backlog
    respond: Respond
    publish: Publish
    lease_seconds: float
    undo_seconds: float
    max_body_bytes: int
    max_held_tasks: int
    webhook_private: bool = False
    spans: "Spans | None" = None

    def trace(self, task: ReviewTask, row: ReviewDecision) -> None:
        """Shows a decision to the collector of traces, where there is one."""
        if self.spans is not None:
            end = int(row.decided_at.timestamp() * 1e9)
            start = end if row.assigned_at is None else int(row.assigned_at.timestamp() * 1e9)
            self.spans.reviewed(task.traceparent, task.workflow, (min(start, end), end))

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """The configured labels by workflow."""
        return {name: workflow.labels for name, workflow in self.workflows.items()}

    def spec(self, workflow: str) -> AnswerSpec:
        """What a workflow asks for; a plain label where it is not served here."""
        served = self.workflows.get(workflow)
        return PLAIN if served is None else served.spec

    def known_labels(self, workflow: str | None) -> set[str]:
        """The configured labels of this workflow, or of all."""
        names = self.labels if workflow is None else [workflow]
        return {label for name in names for label in self.labels.get(name, ())}

    def several_labels(self, workflow: str | None) -> bool:
        """Whether an answer may have several labels: of this workflow, or of any."""
        names = self.workflows if workflow is None else [workflow]
        kinds = {self.workflows[name].spec.kind for name in names if name in self.workflows}
        return not kinds.isdisjoint(("labels", "spans"))

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits at the end of the block.

        Raises:
            Overloaded: the database is unreachable.
        """
        with (
            database_errors(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def account(self, cookie: str | None) -> Account | None:
        """Whose session the cookie is; None where it has ended."""
        ticket = self.sessions.read(cookie)
        if ticket is None:
            return None
        with self.transaction() as session:
            found = accounts.find(session, ticket.name)
        if found is None or found.disabled or found.session_epoch != ticket.epoch:
            return None
        return found

    def token(self, secret: str) -> Token | None:
        """What the bearer token stands for; None: it opens nothing."""
        with self.transaction() as session:
            return tokens.find(session, secret, self.clock())

    def seen_by(self, account: Account) -> list[str]:
        """The workflows that this account may see."""
        return [name for name in self.workflows if account.sees(name)]

    def known_workflow(self, name: str, account: Account) -> str:
        """The name itself.

        Raises:
            ApiError: 404, there is no such workflow here for this account.
        """
        seen = self.seen_by(account)
        if name not in seen:
            raise ApiError(
                404, "no_such_workflow", f"No such workflow; yours are {', '.join(seen)}."
            )
        return name

    def chosen(self, name: str | None, account: Account) -> list[str]:
        """The workflow of this name alone, or all of the account's; see `known_workflow`."""
        return self.seen_by(account) if name is None else [self.known_workflow(name, account)]

    def task(self, session: Session, task_id: UUID, account: Account) -> ReviewTask:
        """The task.

        Raises:
            ApiError: 404, there is no such task for this account.
        """
        found = session.get(ReviewTask, task_id)
        if found is None or not account.sees(found.workflow):
            raise ApiError(404, "no_such_task", "There is no such task.")
        return found

    def view(self, task: ReviewTask, reader: str) -> TaskView:
        """The task as the reader of this name may see it."""
        return view(task, self.labels, reader)

    def views(self, session: Session, tasks: Sequence[ReviewTask], reader: str) -> list[TaskView]:
        """The tasks as the reader of this name may see them, with the words that speak for the
        AI's labels."""
        weighed = highlights.find(session, tasks)
        return [
            view(task, self.labels, reader, weighed.get((task.workflow, task.item_id)))
            for task in tasks
        ]

    def session_ok(self, cookie: str | None, thorough: bool) -> bool:
        """For the guard: is this cookie good? `thorough` also asks the database."""
        if thorough:
            return self.account(cookie) is not None
        return self.sessions.read(cookie) is not None
