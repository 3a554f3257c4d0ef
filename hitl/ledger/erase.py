"""Erases a person's text everywhere; the record of what was decided stays complete.

The text and the salts are deleted in one transaction; the commitments in the ledger stay, and
reveal nothing without the salts. An event in the ledger records the erasure, its author and reason.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from hitl.ledger import wordless
from hitl.ledger.check import ERASED
from services.logger.chain import record
from services.logger.projection import AI_ACCEPTED
from services.review_ui.tasks.asked import kind_of, predicted_brief
from shared.answers.reading import QUOTING
from shared.errors import ConfigurationError
from shared.events.models import ItemReviewed, derive_id
from shared.events.recorded import AS_PREDICTED, final_mark
from shared.storage.tables import ReviewDecision, ReviewTask

ITEM_ERASED = "item.erased"
# Tables that keep the JSON of events as bytes, by `event_id`.
BODIES = ("outbox", "webhook_delivery")
_QUOTES = f"""(coalesce(kind, 'label') IN ({", ".join(f"'{kind}'" for kind in QUOTING)}))"""
SAMPLED = (
    "item (text, metadata, failure, asked, ai_answer, answer, ai_label, final_label)",
    "event (data)",
    "review_task (item, prediction, answers, known_label, known_answer)",
    "review_decision (note, reason, label, answer)",
    "known_item (text, metadata, label, answer, asked)",
    "outbox (body)",
    "webhook_delivery (body)",
)

# The salts go with the text. What an answer of a kind that quotes said goes, whether it was the
# predicted one stays, as in the log.
_ITEM = text(f"""
    UPDATE item SET text = :erased, metadata = '{{}}', text_salts = NULL, asked = NULL,
        failure = CASE WHEN failure IS NULL THEN NULL ELSE :erased END,
        ai_answer = CASE WHEN {_QUOTES} THEN NULL ELSE ai_answer END,
        answer = CASE WHEN {_QUOTES} THEN NULL ELSE answer END,
        ai_label = CASE WHEN {_QUOTES} AND ai_label IS NOT NULL THEN '{AS_PREDICTED}'
                        ELSE ai_label END,
        final_label = CASE WHEN NOT {_QUOTES} OR final_label IS NULL THEN final_label
                           ELSE {final_mark()} END,
        erased_at = coalesce(erased_at, :now), updated_at = :now
    WHERE workflow = :workflow AND id = :item_id
    RETURNING progress
""")  # noqa: S608 - names of our own
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
    given = {**item, "erased": ERASED, "now": wanted.at}
    progress = session.execute(_ITEM, given).scalar()
    if progress is None:
        raise ConfigurationError(f"workflow {wanted.workflow} has no item {wanted.item_id!r}")
    revisions = [_erase_in_task(session, task) for task in _tasks(session, wanted)]
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


def _tasks(session: Session, wanted: Erasure) -> Iterable[ReviewTask]:
    of_item = ReviewTask.workflow == wanted.workflow, ReviewTask.item_id == wanted.item_id
    return session.scalars(select(ReviewTask).where(*of_item).with_for_update()).all()


def _erase_in_task(session: Session, task: ReviewTask) -> int:
    """Erases the words in a task and in the decisions on it; its revision. A note or a reason may
    quote the text."""
    kind, predicted = kind_of(task), predicted_brief(task)
    mark = wordless.Marks(kind, predicted, task.known_label)

    def said(given: dict[str, Any]) -> dict[str, Any]:
        kept = {**given, "label": mark(given["label"])}
        for name in ("note", "reason"):
            kept[name] = given.get(name) and ERASED
        if given.get("answer"):
            kept["answer"] = wordless.answer(kind, given["answer"])
        return kept

    for row in session.scalars(select(ReviewDecision).where(ReviewDecision.task_id == task.id)):
        row.label, row.answer = mark(row.label), row.answer and wordless.answer(kind, row.answer)
        row.note, row.reason = row.note and ERASED, row.reason and ERASED
    task.item = wordless.item(task.item)
    task.answers = [said(each) for each in task.answers]
    task.known_label = mark(task.known_label)
    task.known_answer = task.known_answer and wordless.answer(kind, task.known_answer)
    if task.prediction is not None and kind in QUOTING:
        answer = wordless.answer(kind, task.prediction["answer"])
        if kind == "approval" and task.status != "decided":
            answer["verdict"] = "reject"  # nobody accepts an action that they cannot see
        task.prediction = {**task.prediction, "label": mark(predicted), "answer": answer}
    session.flush()
    return task.revision


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
    kept = wordless.event(json.loads(body))
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()
