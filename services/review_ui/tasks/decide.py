"""Decisions: what the reviewer decided, and whether it still counts.

The decision and its event commit together; the event only once no further round is to come. The
same idempotency key again answers the same and does nothing. A decision that comes too late (stale
lease) is recorded and changes nothing. How it is taken back: undo.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, assert_never, cast
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from services.review_ui.tasks.asked import (
    answer_to,
    kind_of,
    predicted_brief,
    prediction_of,
    same_answer,
)
from services.review_ui.tasks.reviewed_event import reviewed
from services.review_ui.tasks.rounds import Answer, Final, after, drawn
from services.review_ui.tasks.views import blind_for, labels_of
from services.review_ui.webhooks import store as webhook_store
from shared.answers.base import AnswerError, AnswerSpec
from shared.errors import HitlError
from shared.events.models import Round
from shared.labels import known_as, spelled
from shared.storage import outbox
from shared.storage.tables import ReviewDecision, ReviewTask
from shared.workflows.files import ReviewRules

Action = Literal["accept", "correct", "skip", "flag"]
NOBODY = ""
"""Holds a task between two rounds."""


class Refused(HitlError):
    """The request is refused: `code` for programs, the text for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """What the reviewer asks for. `seconds`: how long they worked on the item, `idle_seconds`: how
    long it was on their screen without a sign of them, where known; `batch`: accepted unread, with
    others."""

    key: UUID
    task_id: UUID
    lease_token: int
    action: Action
    label: str | None = None
    answer: Mapping[str, Any] | None = None
    reason: str | None = None
    note: str | None = None
    seconds: float | None = None
    idle_seconds: float | None = None
    batch: UUID | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision counts; until `undo_until` it can be taken back before anybody hears of it."""

    row: ReviewDecision
    task: ReviewTask
    undo_until: datetime
    replayed: bool


@dataclass(frozen=True, slots=True)
class StaleLease:
    """The decision came too late: somebody else has the task, or it is decided. It is on record."""

    replayed: bool
    text = (
        "Your lease on this item has expired, and it has been leased again or decided since. Your "
        "decision is kept on record but does not count; take the next item."
    )


def decide(
    session: Session,
    reviewer: str,
    request: DecisionRequest,
    *,
    spec: AnswerSpec,
    review: ReviewRules,
    now: datetime,
    undo_seconds: float,
) -> Decided | StaleLease:
    """Records the decision in the session's transaction. `spec`: what its workflow asks for;
    `review`: the workflow's rules for second reviews.

    Raises:
        Refused: `no_such_task`, `key_reused`, `label_required`, `unknown_label`, `answer_required`,
            `bad_answer`, `no_prediction`, `blind` or `reason_required`.
    """
    task = locked(session, request.task_id)
    window = timedelta(seconds=undo_seconds)
    earlier = session.scalar(by_key(reviewer, request.key))
    predicted = task.prediction is not None
    shown = earlier.ai_label_shown if earlier else predicted and not blind_for(task, reviewer)
    label, answer, action = _answer_and_action(task, request, spec, shown)
    if earlier is not None:
        if (earlier.task_id, earlier.action, earlier.label) != (task.id, action, label):
            raise Refused("key_reused", "This idempotency key was used for another decision.")
        if earlier.effective:
            return Decided(earlier, task, earlier.decided_at + window, replayed=True)
        return StaleLease(replayed=True)
    holds = (
        task.status == "open"
        and task.leased_by == reviewer
        and task.lease_token == request.lease_token
    )
    seconds, idle = _time_spent(session, task, reviewer, request, now) if holds else (None, None)
    row = ReviewDecision(
        idempotency_key=request.key,
        task_id=task.id,
        reviewer=reviewer,
        action=action,
        label=label,
        answer=answer,
        reason=request.reason,
        note=request.note,
        lease_token=request.lease_token,
        effective=holds,
        ai_label_shown=shown,
        assigned_at=task.leased_at if holds else None,
        decided_at=now,
        undo_until=now + window,
        round=task.round,
        seeded=task.seeded_for is not None,
        batch=request.batch,
        seconds=seconds,
        idle_seconds=idle,
    )
    session.add(row)
    if not holds:
        return StaleLease(replayed=False)
    _update_task(session, task, row, review)
    return Decided(row, task, now + window, replayed=False)


def locked(session: Session, task_id: UUID) -> ReviewTask:
    """The task, held against every other decision and undo until the end of the transaction.

    Raises:
        Refused: `no_such_task`.
    """
    statement = select(ReviewTask).where(ReviewTask.id == task_id).with_for_update()
    task = session.scalar(statement.execution_options(populate_existing=True))
    if task is None:
        raise Refused("no_such_task", "There is no such task.")
    return task


def _time_spent(
    session: Session, task: ReviewTask, reviewer: str, request: DecisionRequest, now: datetime
) -> tuple[float, float | None]:
    """Seconds of work on the task, and of idleness: as the reviewer says, else since it was handed
    out or, as several are at once, since their last decision. All time after the end of a lease is
    idle."""
    if request.seconds is not None:
        return request.seconds, request.idle_seconds
    last = session.scalar(
        select(func.max(ReviewDecision.decided_at)).where(
            ReviewDecision.reviewer == reviewer, ReviewDecision.decided_at <= now
        )
    )
    handed_out = task.leased_at or now
    began = handed_out if last is None else max(handed_out, last)
    heard_of = max(began, min(now, task.lease_expires_at or now))
    worked = (min(heard_of, now) - min(began, now)).total_seconds()
    return worked, max(0.0, (now - heard_of).total_seconds())


def by_key(reviewer: str, key: UUID) -> Select[ReviewDecision]:
    """The reviewer's own decision with this key."""
    return select(ReviewDecision).where(
        ReviewDecision.reviewer == reviewer, ReviewDecision.idempotency_key == key
    )


def _answer_and_action(
    task: ReviewTask, request: DecisionRequest, spec: AnswerSpec, shown: bool
) -> tuple[str | None, dict[str, Any] | None, Action]:
    """The answer given, short and whole (None of a label: the short one is all there is), and the
    action it amounts to: giving the predicted answer is accepting it."""
    predicted = predicted_brief(task)
    match request.action:
        case "accept":
            if task.prediction is None or predicted is None:
                raise Refused("no_prediction", "Nothing was predicted here: give an answer.")
            if not shown:
                raise Refused("blind", "This item is blind: give an answer yourself.")
            return predicted, task.prediction.get("answer"), "accept"
        case "correct":
            label, answer = _given(task, request, spec)
            same = predicted is not None and same_answer(task, label, predicted)
            return label, answer, "accept" if same else "correct"
        case "skip":
            return None, None, "skip"
        case "flag":
            if not request.reason:
                raise Refused("reason_required", "Give a reason for the flag.")
            return None, None, "flag"
        case unreachable:
            assert_never(unreachable)


def _given(
    task: ReviewTask, request: DecisionRequest, spec: AnswerSpec
) -> tuple[str, dict[str, Any] | None]:
    if kind_of(task) == "label":
        given = request.label
        if given is None and request.answer is not None:
            given = spelled(request.answer.get("label"))
        if given is None:
            raise Refused("label_required", "Give the right label.")
        known = labels_of(spec.labels, prediction_of(task))
        label = known_as(given, known)
        if label is None:
            raise Refused("unknown_label", f"No such label; choose one of {', '.join(known)}.")
        return label, None
    if request.answer is None:
        raise Refused("answer_required", f"Give the right answer, of kind {spec.kind}.")
    try:
        answer = answer_to(task, request.answer, spec)
    except AnswerError as error:
        raise Refused("bad_answer", str(error)) from None
    return answer.brief, answer.value


def _update_task(
    session: Session, task: ReviewTask, row: ReviewDecision, review: ReviewRules
) -> None:
    """What a decision that counts does to its task; the event, where the label is final."""
    if row.action == "skip":
        task.skipped_by = sorted({*task.skipped_by, row.reviewer})
    else:
        answer = {
            "key": str(row.idempotency_key),
            "reviewer": row.reviewer,
            "round": row.round,
            "label": row.label,
            **({} if row.answer is None else {"answer": row.answer}),
            "reason": row.reason,
            "note": row.note,
        }
        task.answers = [*task.answers, answer]
    if row.action == "flag":
        task.status = "flagged"
        task.round = "adjudication"
        task.decided_at = row.decided_at
    elif row.label is not None:
        following = _label_or_next_round(task, review)
        if isinstance(following, Final):
            _close_and_publish(session, task, row)
        else:
            task.round = following
    task.leased_by = task.leased_at = task.lease_expires_at = None
    if blindly(task, row) and task.status == "open":
        # Nobody gets it for the next round before its answer can no longer be undone: a refused
        # undo would tell that there is a next round, so that the answer was not the AI's.
        task.leased_by, task.lease_expires_at = NOBODY, row.undo_until


def blindly(task: ReviewTask, row: ReviewDecision) -> bool:
    """Whether the reviewer gave the label without having seen the AI's."""
    predicted = task.prediction is not None
    return predicted and row.label is not None and not row.ai_label_shown


def _label_or_next_round(task: ReviewTask, review: ReviewRules) -> Final | Round:
    """The label that stands, or the round that comes next. A gold item has one round."""
    given = [Answer(cast(Round, a["round"]), a["label"]) for a in task.answers if a["label"]]
    if task.seeded_for is not None:
        return Final(given[-1].label)
    if task.round == "first":
        task.drawn = drawn(task.workflow, task.item_id, review.second_review_share)
    checked = task.blind and review.adjudicate_panel_disagreements
    return after(
        given,
        drawn=task.drawn,
        unlike_ai=predicted_brief(task) if checked else None,
        same=partial(same_answer, task),
    )


def _close_and_publish(session: Session, task: ReviewTask, row: ReviewDecision) -> None:
    task.status = "decided"
    task.decided_at = row.decided_at
    task.revision += 1
    row.revision = task.revision
    if task.seeded_for is None:
        event, not_before = reviewed(task, row), row.undo_until or row.decided_at
        outbox.append(
            session, event, source="review-ui", traceparent=task.traceparent, not_before=not_before
        )
        webhook_store.enqueue(session, event, not_before)
