"""What a failed message becomes: a delayed copy, or a dead letter and an `item.failed`.

Counts and logs it, and tells the circuit breaker of each dead letter.
"""

import logging
from collections.abc import Sequence

from shared.chance import CHANCE
from shared.clock import Clock
from shared.errors import Permanent, Retryable
from shared.events.envelope import encode
from shared.events.models import ItemFailed
from shared.events.submissions import excerpt, guess_id
from shared.events.traceparent import trace_id, traceparent_of
from shared.messages import Delivery, Outgoing
from shared.messaging.breaker import Breaker
from shared.messaging.retry import RetryPolicy, attempts, dead_letter
from shared.service.metrics import MESSAGES_CONSUMED, MESSAGES_DEAD_LETTERED, RETRIES
from shared.workflows.files import workflow_of

logger = logging.getLogger(__name__)


class Failures:
    """Says what to publish before a delivery that failed is acked."""

    def __init__(self, service: str, retries: RetryPolicy, breaker: Breaker, clock: Clock) -> None:
        self._service = service
        self._retries = retries
        self._breaker = breaker
        self._clock = clock

    def outputs(self, delivery: Delivery, error: Permanent | Retryable) -> Sequence[Outgoing]:
        """The delayed copy; where there is none left to try, the dead letter and its event."""
        if isinstance(error, Retryable):
            jitter = CHANCE.random()
            delayed = self._retries.after(delivery, error, jitter=jitter)
            if isinstance(delayed, Outgoing):
                RETRIES.labels(delivery.queue).inc()
                MESSAGES_CONSUMED.labels(delivery.queue, "retried").inc()
                return (delayed,)
            error = delayed
        return self._dead_letter(delivery, error)

    def _dead_letter(self, delivery: Delivery, error: Permanent) -> Sequence[Outgoing]:
        now = self._clock()
        failed = ItemFailed(
            workflow=workflow_of(delivery.queue, delivery.routing_key),
            occurred_at=now,
            failed_item_id=guess_id(delivery),
            queue=delivery.queue,
            reason=error.reason,
            detail=error.detail,
            text=excerpt(delivery),
            attempts=attempts(delivery),
        )
        MESSAGES_CONSUMED.labels(delivery.queue, "dead_lettered").inc()
        MESSAGES_DEAD_LETTERED.labels(delivery.queue, error.reason).inc()
        logger.warning(
            "dead-lettered",
            extra={**about(delivery), "reason": error.reason, "detail": error.detail},
        )
        self._breaker.failed(delivery, error)
        return (
            dead_letter(delivery, error, failed_at=now.isoformat()),
            encode(failed, source=self._service, traceparent=traceparent_of(delivery)),
        )


def about(delivery: Delivery) -> dict[str, object]:
    """What a line in the log names a delivery by."""
    return {
        "queue": delivery.queue,
        "item_id": guess_id(delivery),
        "trace_id": trace_id(traceparent_of(delivery)),
    }
