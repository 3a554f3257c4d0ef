"""A row of the event log from a delivery, without the person's text; or a refusal."""

import os
import re
from dataclasses import dataclass, replace

from pydantic import JsonValue
from pydantic_core import to_json

from services.logger.ledger import SALT_BYTES, Metadata, commitment
from shared.answers.base import PLAIN, AnswerSpec
from shared.clock import Clock
from shared.errors import Permanent
from shared.events.envelope import attribute, decode
from shared.events.models import Event, ItemEvent, ItemFailed, ItemSubmitted
from shared.events.recorded import recorded
from shared.events.registry import PUBLISHED
from shared.events.submissions import own_id, read_submission, submit, without_nul
from shared.events.traceparent import trace_id, traceparent_of
from shared.messages import Delivery

# The escape of NUL in JSON text: a backslash that is not itself escaped, then u0000.
_NUL_ESCAPE = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_SOURCE_CHARACTERS = 200


@dataclass(slots=True)
class EventRow:
    """A row of `event` to be, and the event itself for the item's row. `data` is JSON text;
    `salt` hides the text in `commitment`, and lives beside the text."""

    event_id: str
    event: Event
    source: str
    trace_id: str | None
    data: str
    salt: bytes | None
    commitment: bytes | None


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
    delivery: Delivery,
    workflow: str,
    *,
    max_body_bytes: int,
    clock: Clock,
    spec: AnswerSpec = PLAIN,
) -> EventRow | None:
    """The row `item.submitted` for a producer's message; None where it cannot be read or has no id
    of its own: inference, which reads it too, says what became of it."""
    try:
        submission = read_submission(
            delivery.body,
            max_body_bytes=max_body_bytes,
            content_encoding=delivery.content_encoding,
            spec=spec,
        )
        item_id = own_id(submission, delivery)
        if item_id is None:
            return None
        submitted = submit(submission, item_id, delivery, workflow=workflow, clock=clock, spec=spec)
    except Permanent:
        return None
    return _row(delivery, submitted)


def _row(delivery: Delivery, event: Event) -> EventRow:
    source = attribute(delivery, "source") or delivery.exchange
    salt, committed = _committed(event)
    return EventRow(
        event_id=event.message_id,
        event=event,
        source=without_nul(source[:_SOURCE_CHARACTERS]),
        trace_id=trace_id(traceparent_of(delivery)),
        data=recorded(event),
        salt=salt,
        commitment=committed,
    )


def _committed(event: Event) -> tuple[bytes, bytes] | tuple[None, None]:
    """A new salt, and the commitment to the text; none where the event writes no text into a row
    of `item`, beside which the salt could live."""
    metadata: Metadata
    if isinstance(event, ItemFailed):
        text, metadata = event.text, None
    elif isinstance(event, ItemEvent) and not isinstance(event, ItemSubmitted):
        text, metadata = event.item.text, _metadata(event.item.metadata)
    else:
        return None, None
    if text is None:
        return None, None
    salt = os.urandom(SALT_BYTES)
    return salt, commitment(salt, text, metadata)


def _metadata(given: dict[str, JsonValue]) -> Metadata:
    """As the item's row will hold them (services/logger/copying.py)."""
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    if len(texts) == len(given):
        return texts
    return to_json(given, inf_nan_mode="strings").decode()
