"""The event that tells everybody what a person decided."""

from typing import cast

from shared.events.models import Decision, Item, ItemReviewed, Prediction, Review, Round, Routing
from shared.labels import same_label
from shared.storage.tables import ReviewDecision, ReviewTask


def reviewed(task: ReviewTask, row: ReviewDecision) -> ItemReviewed:
    """The event for everybody downstream: complete, so that nobody has to look anything up."""
    if row.label is None or row.revision is None:
        raise ValueError("only a decision with a label is an event")
    prediction = Prediction.model_validate(task.prediction)
    routing = Routing.model_validate(task.routing)
    return ItemReviewed(
        workflow=task.workflow,
        occurred_at=row.decided_at,
        item=Item.model_validate(task.item),
        prediction=prediction,
        decision=Decision(
            label=row.label,
            decided_by="human",
            confidence=None,
            model_version=prediction.model_version,
            policy_version=routing.policy_version,
            reasons=routing.reasons,
            decided_at=row.decided_at,
            threshold=routing.threshold,
            certificate_version=routing.certificate_version,
            sampling=routing.sampling,
            ai_label=prediction.label,
            reviewer=row.reviewer,
            action="accepted" if same_label(row.label, prediction.label) else "corrected",
        ),
        review=Review(
            task_id=task.id,
            revision=row.revision,
            assigned_at=row.assigned_at or row.decided_at,
            seconds=row.seconds or 0.0,
            idle_seconds=row.idle_seconds,
            ai_label_shown=row.ai_label_shown,
            note=row.note,
            round=cast(Round, row.round),  # the table's CHECK allows no other
        ),
    )
