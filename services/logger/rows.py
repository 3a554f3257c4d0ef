"""What does a delivery become in the event log? A row without the person's text, or a refusal."""

import re
from dataclasses import dataclass, replace

from shared.clock import Clock
from shared.envelope import attribute, decode
from shared.errors import Permanent
from shared.events import PUBLISHED, Event, ItemFailed
from shared.messages import Delivery
from shared.submissions import read_submission, without_nul
from shared.tracing import trace_id

# The escape of NUL in JSON text: a backslash that is not itself escaped, then u0000.
_NUL_ESCAPE = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_SOURCE_CHARACTERS = 200
# The text of a person stays out of the log, so that it can be erased (shared/tables.py).
_ITEM_TEXT = {"item": {"text": True, "metadata": True}}
_FAILED_TEXT = {"text": True}


@dataclass(slots=True)
class EventRow:
    """A row of `event` to be, and the event itself for the item's row. `data` is JSON text."""

    event_id: str
    event: Event
    source: str
    trace_id: str | None
    data: str


def read_event(delivery: Delivery) -> EventRow:
    """The row for a message from `hitl.events`.

    Raises:
        Permanent: `not_utf8`, `not_json`, `schema` or `unknown_type`.
    """
    if b"\\u0000" in delivery.body:
        # Ours never hold one; Postgres would refuse the row.
        delivery = replace(delivery, body=_NUL_ESCAPE.sub(rb"\1\\ufffd", delivery.body))
    return _row(delivery, decode(delivery, *PUBLISHED))


def read_item(
    delivery: Delivery, workflow: str, *, max_body_bytes: int, clock: Clock
) -> EventRow | None:
    """The row `item.submitted` for a producer's message; None where it cannot be read or has no id
    of its own: inference, which reads it too, says what became of it."""
    try:
        submitted = read_submission(
            delivery,
            workflow=workflow,
            max_body_bytes=max_body_bytes,
            clock=clock,
            require_id=True,
        )
    except Permanent:
        return None
    return None if submitted is None else _row(delivery, submitted)


def _row(delivery: Delivery, event: Event) -> EventRow:
    source = attribute(delivery, "source") or delivery.exchange
    data = event.model_dump_json(
        exclude=_FAILED_TEXT if isinstance(event, ItemFailed) else _ITEM_TEXT
    )
    return EventRow(
        event_id=str(event.event_id),
        event=event,
        source=without_nul(source[:_SOURCE_CHARACTERS]),
        trace_id=trace_id(delivery.header("traceparent") or attribute(delivery, "traceparent")),
        data=data,
    )
