"""The requests and answers of `/api/v1`."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from services.review_ui.api.submit import MAX_ITEMS
from services.review_ui.auth.accounts import MAX_PASSWORD_CHARACTERS, Role
from services.review_ui.reports.items import ItemSummary
from services.review_ui.reports.lists import MAX_PAGE, Moment
from services.review_ui.tasks.claim import MAX_CLAIM, Lease
from services.review_ui.tasks.decide import Action
from services.review_ui.tasks.filters import Only, TaskFilter
from services.review_ui.tasks.views import TaskView
from shared.answers.base import Kind
from shared.labels import spellings
from shared.storage.tables import ReviewDecision

# NUL: Postgres stores none.
Text = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00]*$")]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


ShownAction = Literal["accept", "correct", "label", "skip", "flag"]


def shown_action(row: ReviewDecision) -> ShownAction:
    """Accept or correct would tell the reviewer of a blind item what the AI had said."""
    blind = not row.ai_label_shown and row.label is not None
    return "label" if blind else cast(ShownAction, row.action)  # the table's CHECK allows no other


Cursor = Annotated[
    ShortText | None, Query(description="where the page before ended: its `next_cursor`")
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="rows a page")]
# A time without a zone could be any of 26 hours.
When = Annotated[Moment | None, Query(description="a time with its zone")]


class Asked(BaseModel):
    """Requests name nothing that this API does not know, so that a typing error is noticed."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Login(Asked):
    name: ShortText
    password: Annotated[str, StringConstraints(min_length=1, max_length=MAX_PASSWORD_CHARACTERS)]


class WorkflowInfo(BaseModel):
    name: str
    answer: Kind
    labels: list[str]
    form_schema: dict[str, JsonValue] | None = Field(
        alias="schema", description="JSON Schema of a form or of an action's arguments"
    )
    overlap: bool = Field(description="spans may overlap")
    guideline: str


class Me(BaseModel):
    """Who is logged in, and what the screen has to know."""

    name: str
    role: Role
    workflows: list[WorkflowInfo]
    lease_seconds: float
    undo_seconds: float


class Wanted(Asked):
    """A filter by label, confidence or text leaves blind tasks out: what it found, and what not,
    would tell what the AI thinks."""

    workflow: ShortText | None = Field(default=None, description="unset: all")
    queue: ShortText | None = Field(default=None, description="unset: all")
    label: ShortText | None = Field(
        default=None, description="the AI's, or one of several (of spans) that are"
    )
    min_confidence: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    max_confidence: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    q: ShortText | None = Field(default=None, description="part of the text or the id")

    def filter(
        self, known_labels: Iterable[str], *, among: bool, only: Only | None = None
    ) -> TaskFilter:
        """`among`: the workflows have answers of several labels."""
        return TaskFilter(
            queue=self.queue,
            labels=None if self.label is None else spellings(self.label, known_labels),
            among=among,
            min_confidence=self.min_confidence,
            max_confidence=self.max_confidence,
            search=self.q,
            only=only,
        )


class Claim(Wanted):
    count: int = Field(ge=1, le=MAX_CLAIM, default=1)
    only: Only | None = Field(default=None, description="for leads: of what waits for them")


class Claimed(BaseModel):
    tasks: list[TaskView] = Field(description="leased to you, the most urgent first")


class Held(Asked):
    task_id: UUID
    lease_token: int = Field(ge=0, le=2**63 - 1)


class Leases(Asked):
    leases: list[Held] = Field(max_length=200)

    def all(self) -> list[Lease]:
        return [Lease(each.task_id, each.lease_token) for each in self.leases]


class Extended(BaseModel):
    held: dict[UUID, datetime] = Field(description="task → new end of the lease")
    lost: list[UUID] = Field(description="no longer yours: drop them")


class Released(BaseModel):
    released: int


class Decide(Asked):
    """`key` is a UUID of your making: sending the same request again is safe."""

    key: UUID
    lease_token: int = Field(ge=0, le=2**63 - 1)
    action: Action
    label: ShortText | None = Field(
        default=None, description="with action correct, where the workflow asks for a label"
    )
    answer: dict[str, JsonValue] | None = Field(
        default=None,
        description="with action correct: the whole answer, as the workflow asks for it",
        examples=[{"labels": ["insult", "toxic"]}],
    )
    reason: Text | None = Field(default=None, description="with action flag")
    note: Text | None = None
    seconds: float | None = Field(
        default=None,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="of work on it, idle time apart; unset: since you got it or decided another",
    )
    idle_seconds: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="with `seconds`: it was on your screen while you were idle",
    )


class Outcome(BaseModel):
    """Your decision as recorded. For a blind item `action` never says whether the AI agreed."""

    key: UUID
    task_id: UUID
    action: ShownAction
    label: str | None = Field(description="of another kind a short line")
    answer: dict[str, JsonValue] | None = Field(
        exclude_if=lambda answer: answer is None,
        description="of another kind than a label, the whole of it; else it is not there",
    )
    effective: bool
    decided_at: datetime
    undo_until: datetime = Field(description="until then an undo leaves no trace downstream")


class Undone(BaseModel):
    task: TaskView | None = Field(description="leased to you again; null: somebody else has it")
    published: bool = Field(description="downstream had heard: the next decision is a new revision")


class RecentDecision(BaseModel):
    key: UUID
    reviewer: str
    task_id: UUID
    workflow: str
    item_id: str
    action: ShownAction
    label: str | None
    effective: bool
    undone: bool
    decided_at: datetime


class NewItems(Asked):
    """Items as any producer sends them: `{"text": "…", "id"?: "…", "metadata"?: {…}}`."""

    workflow: ShortText
    items: list[dict[str, JsonValue]] = Field(
        min_length=1,
        max_length=MAX_ITEMS,
        examples=[[{"id": "review-17", "text": "A quiet, generous film."}]],
    )


class Listed(BaseModel):
    """A page of a list."""

    next_cursor: str | None = Field(description="send as `cursor` for the next page; null: the end")


class DecisionList(Listed):
    decisions: list[RecentDecision] = Field(description="the newest first")


class ItemList(Listed):
    items: list[ItemSummary] = Field(description="the newest received first")


class TaskList(Listed):
    tasks: list[TaskView] = Field(description="the most urgent first")


class Upcoming(BaseModel):
    tasks: list[TaskView] = Field(description="next in line, not leased")


class Problem(BaseModel):
    code: str
    message: str


class ErrorAnswer(BaseModel):
    """Every error: a code for programs, and for people what to do."""

    error: Problem


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's `responses`: the statuses that it answers errors with."""
    return {status: {"model": ErrorAnswer} for status in statuses}
