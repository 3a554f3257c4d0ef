"""The event that tells everybody what a person decided."""

from typing import Any, cast

from services.review_ui.tasks.asked import kind_of, predicted_brief, prediction_of, same_answer
from shared.events.answered import (
    NO_MODEL,
    AnswerDecision,
    AnswerItem,
    AnswerPrediction,
    AnswerReviewed,
)
from shared.events.models import Decision, Item, ItemReviewed, Prediction, Review, Round, Routing
from shared.storage.tables import ReviewDecision, ReviewTask


def reviewed(task: ReviewTask, row: ReviewDecision) -> ItemReviewed | AnswerReviewed:
    """The event for everybody downstream: complete, so that nobody has to look anything up."""
    if row.label is None or row.revision is None:
        raise ValueError("only a decision with a label is an event")
    prediction = prediction_of(task)
    routing = Routing.model_validate(task.routing)
    predicted = predicted_brief(task)
    agreed = predicted is not None and same_answer(task, row.label, predicted)
    decided: dict[str, Any] = {
        "decided_by": "human",
        "confidence": None,
        "model_version": prediction.model_version if prediction else NO_MODEL,
        "policy_version": routing.policy_version,
        "reasons": routing.reasons,
        "decided_at": row.decided_at,
        "threshold": routing.threshold,
        "certificate_version": routing.certificate_version,
        "sampling": routing.sampling,
        "reviewer": row.reviewer,
        "action": "accepted" if agreed else "corrected",
    }
    review = Review(
        task_id=task.id,
        revision=row.revision,
        assigned_at=row.assigned_at or row.decided_at,
        seconds=row.seconds or 0.0,
        idle_seconds=row.idle_seconds,
        ai_label_shown=row.ai_label_shown,
        note=row.note,
        round=cast(Round, row.round),  # the table's CHECK allows no other
    )
    if isinstance(prediction, Prediction):
        return ItemReviewed(
            workflow=task.workflow,
            occurred_at=row.decided_at,
            item=Item.model_validate(task.item),
            prediction=prediction,
            decision=Decision(label=row.label, ai_label=prediction.label, **decided),
            review=review,
        )
    return AnswerReviewed(
        workflow=task.workflow,
        occurred_at=row.decided_at,
        item=AnswerItem.model_validate(task.item),
        kind=kind_of(task),
        prediction=prediction,
        decision=_answer(task, row, prediction, decided),
        review=review,
    )


def _answer(
    task: ReviewTask,
    row: ReviewDecision,
    prediction: AnswerPrediction | None,
    decided: dict[str, Any],
) -> AnswerDecision:
    kind = kind_of(task)
    return AnswerDecision(
        kind=kind,
        answer=row.answer or {"label": row.label},
        label=row.label if kind == "label" else None,
        ai_answer=prediction and prediction.answer,
        **decided,
    )
