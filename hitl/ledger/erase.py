"""Erases a person's text everywhere; the record of what was decided stays complete.

The text and the salts are deleted in one transaction; the commitments in the ledger stay, and
reveal nothing without the salts. An event in the ledger records the erasure, its author and reason.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from hitl.ledger.check import ERASED
from services.logger.chain import record
from services.logger.projection import AI_ACCEPTED
from shared.errors import ConfigurationError
from shared.events.models import ItemReviewed, derive_id

ITEM_ERASED = "item.erased"
# Tables that keep the JSON of events as bytes, by `event_id`.
BODIES = ("outbox", "webhook_delivery")
SAMPLED = (
    "item (text, metadata, failure)",
    "event (data)",
    "review_task (item, answers)",
    "review_decision (note, reason)",
    "known_item (text, metadata)",
    "outbox (body)",
    "webhook_delivery (body)",
)

_ITEM = text("""
    UPDATE item SET text = :erased, metadata = '{}', text_salts = NULL,
                    failure = CASE WHEN failure IS NULL THEN NULL ELSE :erased END,
                    erased_at = coalesce(erased_at, :now), updated_at = :now
    WHERE workflow = :workflow AND id = :item_id
    RETURNING progress
""")
# A note or a reason may quote the text.
_TASKS = text("""
    UPDATE review_task
    SET item = item || jsonb_build_object('text', CAST(:erased AS text), 'metadata', '{}'::jsonb),
        answers = (
            SELECT coalesce(jsonb_agg(answer || jsonb_build_object(
                'note', CASE WHEN answer ->> 'note' IS NOT NULL THEN CAST(:erased AS text) END,
                'reason', CASE WHEN answer ->> 'reason' IS NOT NULL THEN CAST(:erased AS text) END
            ) ORDER BY place), '[]')
            FROM jsonb_array_elements(answers) WITH ORDINALITY AS given(answer, place))
    WHERE workflow = :workflow AND item_id = :item_id
    RETURNING revision
""")
_DECISIONS = text("""
    UPDATE review_decision
    SET note = CASE WHEN note IS NOT NULL THEN :erased END,
        reason = CASE WHEN reason IS NOT NULL THEN :erased END
    WHERE task_id IN (SELECT id FROM review_task WHERE workflow = :workflow AND item_id = :item_id)
""")
_KNOWN = text("DELETE FROM known_item WHERE workflow = :workflow AND item_id = :item_id")
_LOGGED = text("""
    SELECT event_id, text_commitment IS NOT NULL FROM event
    WHERE workflow = :workflow AND item_id = :item_id ORDER BY seq
""")


@dataclass(frozen=True, slots=True)
class Erasure:
    """The item, the author and the reason of an erasure; `reason` stays in the log for ever."""

    workflow: str
    item_id: str
    by: str
    reason: str
    at: datetime


def erase_text(session: Session, wanted: Erasure) -> bool:
    """Erases the text in the session's transaction. Returns whether the item is still undecided:
    then a message with its text may be in a queue, and it must be erased again later.

    Raises:
        ConfigurationError: there is no such item.
        Overloaded: the ledger has no first block.
    """
    item = {"workflow": wanted.workflow, "item_id": wanted.item_id}
    given = {**item, "erased": ERASED}
    progress = session.execute(_ITEM, {**given, "now": wanted.at}).scalar()
    if progress is None:
        raise ConfigurationError(f"workflow {wanted.workflow} has no item {wanted.item_id!r}")
    revisions = session.execute(_TASKS, given).scalars().all()
    session.execute(_DECISIONS, given)
    session.execute(_KNOWN, item)
    logged = session.execute(_LOGGED, item).all()
    # A decision may wait in the outbox before it is logged.
    waiting = [
        derive_id(ItemReviewed.type, wanted.workflow, wanted.item_id, str(revision))
        for revision in range(1, max(revisions, default=0) + 2)
    ]
    _erase_in_bodies(session, [*(event_id for event_id, _ in logged), *waiting])
    events = [str(event_id) for event_id, committed in logged if committed]
    data = {"by": wanted.by, "reason": wanted.reason, "events": events}
    with closing(session.connection().connection.cursor()) as cursor:
        record(cursor, ITEM_ERASED, wanted.workflow, wanted.item_id, wanted.at, data)
    return bool(progress < AI_ACCEPTED)


def forget_samples(session: Session) -> None:
    """Makes Postgres draw new samples of columns for its planner: the old ones may quote a text."""
    for columns in SAMPLED:
        session.execute(text(f"ANALYZE {columns}"))


def _erase_in_bodies(session: Session, event_ids: Sequence[UUID]) -> None:
    for table in BODIES:
        found = session.execute(
            text(
                f"SELECT id, body FROM {table}"  # noqa: S608 - one of our own
                " WHERE event_id = ANY(:ids) AND body IS NOT NULL ORDER BY id FOR UPDATE"
            ),
            {"ids": list(event_ids)},
        ).all()
        for key, body in found:
            session.execute(
                text(f"UPDATE {table} SET body = :body WHERE id = :id"),  # noqa: S608 - as above
                {"id": key, "body": _scrubbed(bytes(body))},
            )


def _scrubbed(body: bytes) -> bytes:
    """An event's JSON without the person's text."""
    content: dict[str, Any] = json.loads(body)
    inner = content.get("data")  # a webhook's body holds the event
    event = inner if isinstance(inner, dict) else content
    if isinstance(event.get("item"), dict):
        event["item"] |= {"text": ERASED, "metadata": {}}
    if isinstance(event.get("review"), dict) and event["review"].get("note") is not None:
        event["review"]["note"] = ERASED
    if event.get("text") is not None:
        event["text"] = ERASED
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
