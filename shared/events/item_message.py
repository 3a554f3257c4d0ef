"""What our own producers send: an item's message, once inference is sure to take it."""

from uuid import uuid4

from shared.answers.base import PLAIN, AnswerSpec
from shared.clock import Clock
from shared.events.models import Item
from shared.events.submissions import make_item, prediction_in, read_submission
from shared.events.traceparent import new_trace
from shared.messages import SHORT_BYTES, Outgoing
from shared.topology import ITEMS

# Of many items at once, as from a file. RabbitMQ 4.3 hands out what has more first, which is every
# message without a priority (4): a person who waits for one item does not wait for a million. 0 is
# what some clients (kombu) write on everything they send, so that these are in the same line.
BULK_PRIORITY = 0


def item_message(
    body: bytes,
    workflow: str,
    *,
    max_body_bytes: int,
    clock: Clock,
    new_id: str | None = None,
    priority: int | None = None,
    spec: AnswerSpec = PLAIN,
) -> tuple[Outgoing, Item]:
    """The message for an item's JSON `body`, and the item as it will be read: its id is the
    body's, else `new_id`, else a new UUID. `spec`: what the workflow asks for.

    Raises:
        Permanent: inference would dead-letter it for this reason.
    """
    fallback = new_id or str(uuid4())
    submission = read_submission(body, max_body_bytes=max_body_bytes, spec=spec)
    item = make_item(submission, submission.id or fallback, clock(), spec)
    prediction_in(submission, item, spec)
    message = Outgoing(
        exchange=ITEMS,
        routing_key=workflow,
        body=body,
        # The body's id counts first; without one, the reader takes this.
        message_id=item.id if len(item.id.encode()) <= SHORT_BYTES else fallback,
        headers={"traceparent": new_trace()},
        timestamp=int(clock().timestamp()),
        priority=priority,
    )
    return message, item
