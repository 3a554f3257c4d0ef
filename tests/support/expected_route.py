"""What the router's event must say: the same route, stated by building the event's models."""

from datetime import datetime

from services.router.route import Route
from shared.events.models import (
    Decision,
    ItemAccepted,
    ItemReviewRequested,
    ItemScored,
    Routing,
    Sampling,
)


def sampling_of(chosen: Route) -> Sampling:
    """The panel's draw, as the model checks it."""
    return Sampling.model_validate(chosen.sampling._asdict())


def routed_event(
    scored: ItemScored, chosen: Route, now: datetime
) -> ItemAccepted | ItemReviewRequested:
    """The event that states the route, as the models check it."""
    if chosen.route == "accept":
        return ItemAccepted(
            workflow=scored.workflow,
            occurred_at=now,
            item=scored.item,
            prediction=scored.prediction,
            decision=Decision(
                label=scored.prediction.label,
                decided_by="ai",
                confidence=scored.prediction.confidence,
                model_version=scored.prediction.model_version,
                policy_version=chosen.policy_version,
                reasons=chosen.reasons,
                decided_at=now,
                threshold=chosen.threshold,
                certificate_version=chosen.certificate_version,
                sampling=sampling_of(chosen),
                ai_label=scored.prediction.label,
            ),
        )
    return ItemReviewRequested(
        workflow=scored.workflow,
        occurred_at=now,
        item=scored.item,
        prediction=scored.prediction,
        routing=Routing(
            reasons=chosen.reasons,
            policy_version=chosen.policy_version,
            threshold=chosen.threshold,
            certificate_version=chosen.certificate_version,
            sampling=sampling_of(chosen),
            would_accept=chosen.would_accept,
            blind=chosen.blind,
            queue=chosen.queue,
            priority=chosen.priority,
            due_at=chosen.due_at,
            routed_at=now,
        ),
    )
