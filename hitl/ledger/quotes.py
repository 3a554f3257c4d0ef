"""Finds failures in the log that quote a person's text, and redacts them; the ledger stays whole.

Releases before this one let an error of Postgres or of a library quote what it was given into the
`detail` of an `item.failed`, which is in the append-only log, and into a header of the dead letter.
The words go from the row; its leaf in the ledger stays, and an event `item.redacted`, in the ledger
like all others, says which rows were changed, by whom, why, and what their leaves are now.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from hitl.dead_letters.queues import Action, DeadLetter, QueuePass
from hitl.ledger.check import ERASED, ITEM_REDACTED
from services.logger.chain import LEAF_TEXT, record
from shared.events.models import ItemFailed
from shared.messages import Delivery
from shared.messaging.retry import ERROR

# How psycopg2, SQLAlchemy, Postgres and pydantic quote a value in an error.
_MARKS = (
    r"(DETAIL|CONTEXT|LINE [0-9]+|QUERY|STATEMENT): |\[(parameters|SQL): |input_value="
    r"|invalid input (syntax|value) for |(date/time field|value) .* out of range"
)
_MIN_CHARACTERS = 8  # of a text to search for: "ok" is part of many words
# Not the values of forms and arguments: what the schema allows is rightly named in errors.
_FOUND = text("""
    SELECT event.event_id, event.workflow, event.item_id, event.data ->> 'queue' AS queue
    FROM event LEFT JOIN item ON item.workflow = event.workflow AND item.id = event.item_id
    WHERE event.type = :type AND event.data ->> 'detail' <> :erased
      AND (event.data ->> 'detail' ~ :marks
           OR EXISTS (
               SELECT FROM (
                   VALUES (item.text), (item.asked ->> 'draft'), (item.ai_answer ->> 'text'),
                          (item.answer ->> 'text'), (item.answer ->> 'reply')
                   UNION ALL
                   SELECT jsonb_path_query(item.asked, '$.candidates[*]') #>> '{}') said(words)
               WHERE length(words) >= :least
                 AND position(left(words, 200) IN event.data ->> 'detail') > 0))
    ORDER BY event.seq
""")
_CHANGED = f"""
    UPDATE event SET data = jsonb_set(data, '{{detail}}', to_jsonb(%(erased)s::text))
    WHERE event_id = ANY(%(ids)s::uuid[])
    RETURNING event_id, encode(sha256('\\x00'::bytea || convert_to({LEAF_TEXT}, 'UTF8')), 'hex')
"""  # noqa: S608 - of our own
_ITEM = text("""
    UPDATE item SET failure = split_part(failure, ': ', 1) || ': ' || :erased, updated_at = now()
    WHERE workflow = :workflow AND id = :item_id AND failure <> :erased
""")


@dataclass(frozen=True, slots=True)
class Quote:
    """A failure in the log that appears to quote a text."""

    event_id: UUID
    workflow: str
    item_id: str
    queue: str


def find_quotes(session: Session) -> list[Quote]:
    """All of them, in the order of the log."""
    session.execute(text("SET LOCAL statement_timeout = 0"))
    marks = {"marks": _MARKS, "least": _MIN_CHARACTERS}
    rows = session.execute(_FOUND, {"type": ItemFailed.type, "erased": ERASED, **marks})
    return [Quote(*row) for row in rows]


def redact(session: Session, found: Sequence[Quote], *, by: str, reason: str, at: datetime) -> None:
    """Redacts them in the session's transaction; loggers wait for its end.

    Raises:
        Overloaded: this user does not own the table; or the ledger has no first block.
    """
    of_items: dict[tuple[str, str], list[str]] = defaultdict(list)
    for quote in found:
        of_items[quote.workflow, quote.item_id].append(str(quote.event_id))
    with closing(session.connection().connection.cursor()) as cursor:
        # Only the table's owner may, and it ends with the transaction, however that ends.
        cursor.execute("ALTER TABLE event DISABLE TRIGGER event_rows_stay")
        ids = [str(quote.event_id) for quote in found]
        cursor.execute(_CHANGED, {"erased": ERASED, "ids": ids})
        leaves = {str(event_id): str(leaf) for event_id, leaf in cursor.fetchall()}
        cursor.execute("ALTER TABLE event ENABLE TRIGGER event_rows_stay")
        for workflow, item_id in of_items:
            session.execute(_ITEM, {"workflow": workflow, "item_id": item_id, "erased": ERASED})
        for (workflow, item_id), events in of_items.items():
            data = {"by": by, "reason": reason, "leaves": {each: leaves[each] for each in events}}
            record(cursor, ITEM_REDACTED, workflow, item_id, at, data)


def quoting_dead_letters(amqp_url: str, queues: Iterable[str], *, erase: bool) -> dict[str, int]:
    """By dead-letter queue, how many messages have an error header that quotes; with `erase` it is
    redacted, and they move to the end of their queue.

    Raises:
        Overloaded: the broker is unreachable.
    """
    counted = {}
    for name in queues:
        found = 0

        def choose(message: DeadLetter) -> Action:
            nonlocal found
            if re.search(_MARKS, message.delivery.header(ERROR) or "") is None:
                return "keep"
            found += 1
            return "requeue" if erase else "keep"

        QueuePass(name, choose, headers=_redacted, home=lambda one: one.queue).run(amqp_url)
        if found:
            counted[name] = found
    return counted


def _redacted(delivery: Delivery) -> dict[str, object]:
    return {**delivery.headers, ERROR: ERASED}
