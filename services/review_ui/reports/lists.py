"""Items, tasks and decisions, a page at a time.

A cursor names the last row that was read, not a number of rows: what is added meanwhile neither
repeats a row nor hides one. Filters look at what the reader may see, so that a blind item cannot be
found by what the AI thinks of it.
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    false,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from services.review_ui.auth.accounts import Account
from services.review_ui.reports.items import ai_side_hidden, with_task
from services.review_ui.tasks.decide import Action
from shared.errors import HitlError
from shared.storage.labels_in_answers import answers_with
from shared.storage.tables import BY_URGENCY, ItemRow, ReviewDecision, ReviewTask
from shared.storage.time_limit import SEARCH_SECONDS, time_limit
from shared.storage.waiting_tasks import DESCENDING

TaskState = Literal["waiting", "leased", "decided", "flagged"]
ItemStatus = Literal[
    "SCORED", "AI_ACCEPTED", "HUMAN_REVIEW", "HUMAN_ACCEPTED", "HUMAN_CORRECTED", "FAILED"
]
Key = TypeVar("Key")
Time = InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None]
MAX_PAGE = 200
_EVER: ColumnElement[datetime] = literal_column("'-infinity'::timestamptz")


def _utc(given: datetime) -> datetime:
    """The same moment; Postgres reads no zone of 16 hours or more, which Python allows."""
    try:
        return given.astimezone(UTC)
    except OverflowError:
        raise ValueError("the year must be from 1 to 9999 in UTC") from None


def _no_number(given: object) -> object:
    """A year alone ("2024") would be read as that many seconds after 1970."""
    if isinstance(given, str) and re.fullmatch(r"[+-]?[\d._]+", given.strip()):
        raise ValueError("not a time: write 2024-05-01T00:00:00Z")
    return given


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number), AfterValidator(_utc)]
_Plain = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
_ITEM_KEY = TypeAdapter(tuple[Moment | None, _Plain, _Plain])
_TASK_KEY = TypeAdapter(tuple[UUID])
_DECISION_KEY = TypeAdapter(tuple[Moment, Annotated[int, Field(ge=0, le=2**63 - 1)]])


class BadCursor(HitlError):
    """The cursor is not one that this list gave out."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` on, until just before `until`; None: open."""

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, column: Time) -> ColumnElement[bool]:
        """Whether the column's time lies within."""
        since = true() if self.since is None else column >= self.since
        return and_(since, true() if self.until is None else column < self.until)


@dataclass(frozen=True, slots=True)
class Page:
    """How many rows, and after which."""

    limit: int
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """What to look for; None: anything. `labels`: how the final one, or one of several in the final
    answer, else the AI's, is spelled."""

    workflows: Sequence[str]
    status: ItemStatus | None = None
    labels: Sequence[str] | None = None
    min_confidence: float | None = None
    max_confidence: float | None = None
    search: str | None = None
    received: Period = Period()


def items(
    session: Session, account: Account, wanted: ItemFilter, page: Page
) -> tuple[list[tuple[ItemRow, bool]], str | None]:
    """A page of items, each with whether it is hidden from the reader, the newest received first;
    and the cursor of the next page.

    Raises:
        BadCursor, TooLong: see there.
    """
    hidden = ai_side_hidden(account)
    statement = with_task(select(ItemRow, hidden.label("hidden"))).where(
        ItemRow.workflow.in_(wanted.workflows), wanted.received.holds(ItemRow.received_at)
    )
    # Spelled out where an index can help: among ten million items a rare status is found by one.
    if wanted.status == "HUMAN_REVIEW":
        statement = statement.where(or_(hidden, ItemRow.status == "HUMAN_REVIEW"))
    elif wanted.status is not None:
        statement = statement.where(~hidden, ItemRow.status == wanted.status)
    if wanted.labels is not None:
        label = case((hidden, null()), else_=func.coalesce(ItemRow.final_label, ItemRow.ai_label))
        answer = func.coalesce(ItemRow.answer, ItemRow.ai_answer)
        among = or_(*(answer.contains(part) for part in answers_with(wanted.labels)))
        statement = statement.where(or_(label.in_(wanted.labels), and_(~hidden, among)))
    confidence = case((hidden, null()), else_=ItemRow.confidence)
    if wanted.min_confidence is not None:
        statement = statement.where(confidence >= wanted.min_confidence)
    if wanted.max_confidence is not None:
        statement = statement.where(confidence <= wanted.max_confidence)
    if wanted.search:
        statement = statement.where(
            or_(
                ItemRow.text.icontains(wanted.search, autoescape=True),
                ItemRow.id.icontains(wanted.search, autoescape=True),
            )
        )
    received = func.coalesce(ItemRow.received_at, _EVER)
    if page.cursor is not None:
        at, workflow, item_id = _read(page.cursor, _ITEM_KEY)
        place = tuple_(received, ItemRow.workflow, ItemRow.id)
        then = _EVER if at is None else literal(at)
        statement = statement.where(place < tuple_(then, literal(workflow), literal(item_id)))
    statement = statement.order_by(received.desc(), ItemRow.workflow.desc(), ItemRow.id.desc())
    with time_limit(session, SEARCH_SECONDS):
        found = [(row, here) for row, here in session.execute(statement.limit(page.limit))]
    if len(found) < page.limit:
        return found, None
    end = found[-1][0]
    return found, _write(end.received_at, end.workflow, end.id)


def tasks(
    session: Session,
    account: Account,
    *,
    workflows: Sequence[str],
    queue: str | None,
    state: TaskState,
    now: datetime,
    page: Page,
) -> tuple[list[ReviewTask], str | None]:
    """A page of tasks, the most urgent first, and the cursor of the next page.

    The cursor is the last task's id alone: its urgency could tell what the AI thinks of it.

    Raises:
        BadCursor: see there.
    """
    free = or_(ReviewTask.leased_by.is_(None), ReviewTask.lease_expires_at <= now)
    states: dict[TaskState, ColumnElement[bool]] = {
        "waiting": and_(ReviewTask.status == "open", free),
        "leased": and_(ReviewTask.status == "open", ~free),
        "decided": ReviewTask.status == "decided",
        "flagged": ReviewTask.status == "flagged",
    }
    statement = select(ReviewTask).where(
        ReviewTask.workflow.in_(workflows), ReviewTask.seeded_for.is_(None), states[state]
    )
    if not account.is_lead:  # what waits for others must not tell what became of theirs
        answered = ReviewTask.answers.contains([{"reviewer": account.name}])
        # A blind item that waits again tells that the first answer was not the AI's.
        again = and_(ReviewTask.blind, ReviewTask.round != "first")
        statement = statement.where(ReviewTask.round != "adjudication", ~answered, ~again)
    if queue is not None:
        statement = statement.where(ReviewTask.queue == queue)
    if page.cursor is not None:
        last = session.get(ReviewTask, _read(page.cursor, _TASK_KEY)[0])
        if last is None:
            raise BadCursor("This cursor is not from this list; start again without one.")
        statement = statement.where(_less_urgent(last))
    statement = statement.order_by(*BY_URGENCY, ReviewTask.id)
    rows = list(session.scalars(statement.limit(page.limit)))
    return rows, _write(str(rows[-1].id)) if len(rows) == page.limit else None


def decisions(
    session: Session,
    account: Account,
    *,
    everybodys: bool,
    workflows: Sequence[str],
    action: Action | None,
    decided: Period,
    page: Page,
) -> tuple[list[tuple[ReviewDecision, ReviewTask]], str | None]:
    """A page of decisions, the newest first, and the cursor of the next page. Everybody's are for
    leads; decisions about gold items, which only measure, are among one's own alone.

    Raises:
        BadCursor: see there.
    """
    statement = (
        select(ReviewDecision, ReviewTask)
        .join(ReviewTask, ReviewTask.id == ReviewDecision.task_id)
        .where(ReviewTask.workflow.in_(workflows), decided.holds(ReviewDecision.decided_at))
    )
    if everybodys:
        statement = statement.where(~ReviewDecision.seeded)
    else:
        statement = statement.where(ReviewDecision.reviewer == account.name)
    if action in ("accept", "correct"):
        # Of a blind item it may not be told which of the two it was.
        statement = statement.where(ReviewDecision.ai_label_shown)
    if action is not None:
        statement = statement.where(ReviewDecision.action == action)
    if page.cursor is not None:
        at, number = _read(page.cursor, _DECISION_KEY)
        place = tuple_(ReviewDecision.decided_at, ReviewDecision.id)
        statement = statement.where(place < tuple_(literal(at), literal(number)))
    statement = statement.order_by(ReviewDecision.decided_at.desc(), ReviewDecision.id.desc())
    rows = [(row, task) for row, task in session.execute(statement.limit(page.limit))]
    if len(rows) < page.limit:
        return rows, None
    end = rows[-1][0]
    return rows, _write(end.decided_at, end.id)


def _less_urgent(last: ReviewTask) -> ColumnElement[bool]:
    """Whether a task comes after `last`. Compared with the row itself in the database: a due time
    may be infinite, which Python's datetime is not."""
    other = select(ReviewTask).where(ReviewTask.id == last.id).subquery()
    ahead: ColumnElement[bool] = false()
    same: ColumnElement[bool] = true()
    for name, descending in {**DESCENDING, "id": False}.items():
        column = getattr(ReviewTask, name)
        theirs = select(other.c[name]).scalar_subquery()
        after = column < theirs if descending else column > theirs
        ahead = or_(ahead, and_(same, after))
        same = and_(same, column == theirs)
    return and_(ReviewTask.due_at >= select(other.c.due_at).scalar_subquery(), ahead)


def _write(*key: object) -> str:
    plain = [part.isoformat() if isinstance(part, datetime) else part for part in key]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def _read(cursor: str, key: TypeAdapter[Key]) -> Key:
    try:
        found = key.validate_json(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_"))
    except (ValidationError, binascii.Error, ValueError):
        raise BadCursor("This cursor is not from this list; start again without one.") from None
    return found
