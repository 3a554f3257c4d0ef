"""What is the router's job, apart from the broker? The same few lines for every Python peer.

They leave out what the real router also does: the policy's rules, the audit panel, the memory of
earlier decisions, CloudEvents headers, metrics, dead letters, retries.
"""

import os
from datetime import UTC, datetime
from typing import NamedTuple

from shared.events.models import Decision, ItemAccepted, ItemScored, RouteReason

AMQP_URL = os.environ.get("AMQP_URL", "")
QUEUE = "hitl.router"
EXCHANGE = "hitl.events"
PREFETCH = int(os.environ.get("HITL_PREFETCH", "1000"))
_THRESHOLD = 0.85


class Decided(NamedTuple):
    """What to publish."""

    routing_key: str
    message_id: str
    body: bytes


def decide(body: bytes) -> Decided:
    """Validate, compare with the threshold, state the decision."""
    scored = ItemScored.model_validate_json(body)
    now = datetime.now(UTC)
    prediction = scored.prediction
    if prediction.confidence < _THRESHOLD:
        raise SystemExit("the benchmark sends sure items only")
    accepted = ItemAccepted(
        workflow=scored.workflow,
        occurred_at=now,
        item=scored.item,
        prediction=prediction,
        decision=Decision(
            label=prediction.label,
            decided_by="ai",
            confidence=prediction.confidence,
            model_version=prediction.model_version,
            policy_version="benchmark",
            reasons=(RouteReason(code="confident", text="the model is sure enough"),),
            decided_at=now,
            threshold=_THRESHOLD,
        ),
    )
    return Decided(
        accepted.routing_key, str(accepted.event_id), accepted.model_dump_json().encode()
    )
