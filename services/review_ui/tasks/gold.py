"""Gold items: how good each reviewer is where the right answer is known.

A gold item takes the place of one of the tasks just handed out, with that task's queue and
urgency, so that nothing on the card tells it from its neighbours. (Its task's id does, to who
computes those of ordinary tasks.) Each reviewer gets each gold item once.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    field_validator,
)
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.review_ui.tasks import claim
from services.review_ui.tasks.asked import kind_of
from services.review_ui.tasks.claim import Lease
from shared.answers.base import Action, AnswerError, AnswerSpec, Asked
from shared.answers.reading import read_answer
from shared.errors import HitlError
from shared.events.models import (
    ItemId,
    Label,
    Prediction,
    Probability,
    RouteReason,
    derive_id,
)
from shared.formats.json_lines import Line
from shared.formats.strict_json import Unclear, refuse_unclear
from shared.hashing import hash01
from shared.labels import known_as, spelled
from shared.storage.tables import KnownItem, ReviewTask
from shared.wording import compared
from shared.workflows.files import Workflow

# JSON can only bring it escaped; a backslash before may be one that is escaped itself.
_ASKED = {"draft", "candidates", "action", "expires_at"}
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class GoldError(HitlError):
    """The file of gold items cannot be used; the text says which line and why."""


class GoldLine(BaseModel):
    """One line of the file. With `distribution` (what the AI thinks) the item is shown as unsure as
    that says; without it, blind like an item of the audit panel."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: ItemId
    text: Annotated[str, StringConstraints(min_length=1)]
    label: Annotated[Label, BeforeValidator(lambda given: spelled(given) or given)]
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    distribution: dict[Label, Probability] | None = Field(default=None, min_length=1)

    @field_validator("distribution")
    @classmethod
    def _adds_up(cls, shares: dict[str, float] | None) -> dict[str, float] | None:
        if shares is not None and abs(sum(shares.values()) - 1) > 0.01:
            raise ValueError("the shares must sum to 1")
        return shares


class GoldAnswer(BaseModel):
    """One line of the file of a workflow that asks for more than a label: with what its items bring
    to be decided on. It is shown blind, or, where nothing was predicted of its neighbour, so, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: ItemId
    text: Annotated[str, StringConstraints(min_length=1)]
    answer: dict[str, JsonValue]
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    draft: str | None = None
    candidates: tuple[str, ...] | None = None
    action: Action | None = None
    _brief: str = PrivateAttr(default="")

    @property
    def brief(self) -> str:
        """The answer in a short line, once it was read."""
        return self._brief

    @property
    def asked(self) -> Asked:
        """What its answer hangs on."""
        return Asked(self.text, self.draft, self.candidates or (), self.action)


def read(lines: Iterable[Line], workflow: Workflow) -> list[GoldLine | GoldAnswer]:
    """The gold items of a JSONL file.

    Raises:
        GoldError: a line is wrong, or its answer is none to what the workflow asks.
    """
    labelled = workflow.answer == "label"
    found: list[GoldLine | GoldAnswer] = []
    for number, line in lines:
        try:
            known = (GoldLine if labelled else GoldAnswer).model_validate_json(line)
            refuse_unclear(line)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, wrong["loc"])) or "the line"
            raise GoldError(f"line {number}: {place}: {wrong['msg']}") from None
        except Unclear as error:
            raise GoldError(f"line {number}: {error}") from None
        if isinstance(known, GoldAnswer):
            known = _in_normal_form(known, workflow.spec, number)
        elif workflow.labels:
            known = _in_the_workflows_words(known, workflow.labels, number)
        if _NUL.search(line):
            raise GoldError(f"line {number}: contains a NUL character, which Postgres cannot store")
        found.append(known)
    return found


def _in_the_workflows_words(known: GoldLine, labels: Sequence[str], number: int) -> GoldLine:
    """The line with each label as the workflow spells it."""

    def word(label: str) -> str:
        found = known_as(label, labels)
        if found is None:
            raise GoldError(f"line {number}: label {label!r} is none of {', '.join(labels)}")
        return found

    shares = known.distribution
    if shares is not None:
        named = {word(label): share for label, share in shares.items()}
        if len(named) < len(shares):
            raise GoldError(f"line {number}: distribution: a label is given twice")
        shares = named
    return known.model_copy(update={"label": word(known.label), "distribution": shares})


def _in_normal_form(known: GoldAnswer, spec: AnswerSpec, number: int) -> GoldAnswer:
    """The line with its answer as a reviewer's would be."""
    try:
        answer = read_answer(known.answer, spec, known.asked)
    except AnswerError as error:
        raise GoldError(f"line {number}: {error}") from None
    missing = {"text": not known.draft, "preference": len(known.candidates or ()) < 2}
    missing["approval"] = known.action is None
    if missing.get(spec.kind):
        needs = {"text": "draft", "preference": "candidates", "approval": "action"}[spec.kind]
        raise GoldError(f"line {number}: {needs}: missing, and the answer hangs on it")
    read_as = known.model_copy(update={"answer": answer.value})
    read_as._brief = answer.brief
    return read_as


def add(
    session: Session, workflow: str, known: Sequence[GoldLine | GoldAnswer], now: datetime
) -> int:
    """Adds gold items; how many were new. An existing one stays as it is."""
    if not known:
        return 0
    rows = [
        {
            "workflow": workflow,
            "item_id": each.id,
            "text": each.text,
            "metadata": each.metadata,
            "added_at": now,
            **_known(each),
        }
        for each in known
    ]
    table = KnownItem.__table__
    statement = insert(KnownItem).values(rows).on_conflict_do_nothing().returning(table.c.item_id)
    return len(session.execute(statement).all())


def _known(each: GoldLine | GoldAnswer) -> dict[str, Any]:
    """The columns of what is known."""
    if isinstance(each, GoldLine):
        of_label = {"label": each.label, "distribution": each.distribution}
        return {**of_label, "answer": None, "asked": None}
    asked = each.model_dump(mode="json", include=_ASKED, exclude_none=True)
    of_answer = {"label": each.brief, "distribution": None}
    return {**of_answer, "answer": each.answer, "asked": asked or None}


def mix_in(
    session: Session,
    reviewer: str,
    claimed: Sequence[ReviewTask],
    workflows: Mapping[str, Workflow],
    *,
    now: datetime,
    lease_seconds: float,
) -> list[ReviewTask]:
    """What the reviewer gets: `claimed`, where a small share has given way to gold items.

    The draw is a hash of task, lease and reviewer. A task that gave way is free again at once.
    """
    given: list[ReviewTask] = []
    for task in claimed:
        disputed = task.round == "adjudication"
        share = 0.0 if disputed else workflows[task.workflow].review.seeded_share
        lot = hash01(None, "known item", reviewer, str(task.id), str(task.lease_token))
        known = _next(session, reviewer, task, now) if lot < share else None
        if known is None:
            given.append(task)
            continue
        claim.release(session, reviewer, [Lease(task.id, task.lease_token)])
        claim.lease(known, reviewer, now, lease_seconds)
        session.flush()
        given.append(known)
    return given


def _next(session: Session, reviewer: str, like: ReviewTask, now: datetime) -> ReviewTask | None:
    """One that the reviewer released unanswered, else one they never had; None: no more."""
    mine = ReviewTask.seeded_for == reviewer, ReviewTask.workflow == like.workflow
    free = (ReviewTask.leased_by.is_(None)) | (ReviewTask.lease_expires_at <= now)
    left = session.scalar(
        select(ReviewTask)
        .where(*mine, ReviewTask.status == "open", free)
        .order_by(ReviewTask.created_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if left is not None:
        return left
    had = select(ReviewTask.item_id).where(*mine)
    whole = (
        KnownItem.answer.is_(None) if kind_of(like) == "label" else KnownItem.answer.is_not(None)
    )
    known = session.scalar(
        select(KnownItem)
        .where(KnownItem.workflow == like.workflow, KnownItem.item_id.not_in(had), whole)
        .order_by(KnownItem.added_at, KnownItem.item_id)
        .limit(1)
    )
    if known is None:
        return None
    made = session.scalar(
        insert(ReviewTask)
        .values(_task(known, reviewer, like, now))
        .on_conflict_do_nothing()  # the reviewer's other tab was quicker
        .returning(ReviewTask.id)
    )
    return session.get(ReviewTask, made) if made is not None else None


def _task(known: KnownItem, reviewer: str, like: ReviewTask, now: datetime) -> dict[str, Any]:
    """The row of a task that looks as its neighbour does."""
    item = {**like.item, "id": known.item_id, "text": known.text, "metadata": known.metadata_}
    row = {
        "id": derive_id("known", known.workflow, known.item_id, reviewer),
        "workflow": known.workflow,
        "item_id": known.item_id,
        "queue": like.queue,
        "priority": like.priority,
        "uncertainty": like.uncertainty,
        # Copied in the database: an infinite time has no Python equal.
        "due_at": select(ReviewTask.due_at).where(ReviewTask.id == like.id).scalar_subquery(),
        "item": item,
        "traceparent": like.traceparent,
        "created_at": now,
        "seeded_for": reviewer,
        "known_label": known.label,
        "kind": like.kind,
    }
    return row | (_labelled if like.kind is None else _answered)(known, like)


def _answered(known: KnownItem, like: ReviewTask) -> dict[str, Any]:
    """What is told of another answer than a label: nothing. Where something was predicted of the
    neighbour it is blind, and the prediction that is not shown is the known answer."""
    hidden = like.prediction and {**like.prediction, "answer": known.answer, "label": known.label}
    rest = {name: part for name, part in like.item.items() if name not in _ASKED}
    item = {**rest, "id": known.item_id, "text": known.text, "metadata": known.metadata_}
    return {
        "blind": hidden is not None,
        "item": item | (known.asked or {}),
        "prediction": hidden and {**hidden, "parts": None, "truncated": False},
        "routing": like.routing,
        "known_answer": known.answer,
    }


def _labelled(known: KnownItem, like: ReviewTask) -> dict[str, Any]:
    """What the AI is said to think of it, or, blind, nothing."""
    opinion = Prediction.model_validate(like.prediction)
    shown = _shown(known.distribution, like.routing.get("threshold"))
    # Blind: the labels to choose from must be the neighbour's, and nobody sees the numbers.
    distribution = shown or dict.fromkeys(opinion.distribution, 1 / len(opinion.distribution))
    label = max(distribution, key=distribution.__getitem__) if shown else known.label
    confidence = distribution.get(label, 0.0)
    seen = {"label": label, "confidence": confidence, "distribution": distribution}
    prediction = opinion.model_copy(update={**seen, "truncated": False})
    if shown:
        text = compared(confidence, "is below", like.routing["threshold"])
        reasons = [RouteReason(code="below_threshold", text=text).model_dump()]
    else:
        reasons = like.routing["reasons"]
    return {
        "uncertainty": 1 - confidence,
        "blind": shown is None,
        "prediction": prediction.model_dump(mode="json"),
        "routing": {**like.routing, "reasons": reasons},
    }


def _shown(distribution: Any, threshold: Any) -> dict[str, float] | None:
    """The AI's opinion, where it would have brought the item to a person; else it stays blind."""
    if distribution is None or threshold is None or max(distribution.values()) >= threshold:
        return None
    return dict(distribution)
