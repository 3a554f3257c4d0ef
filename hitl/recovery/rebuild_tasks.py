"""Corrects the review tasks that contradict the event log.

After a restore a task may be open although a person has decided, and an item may wait for a person
although it has no task. Both follow from `event` and `item`.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from services.logger.projection import REVIEWED
from services.review_ui.tasks.intake import Intake
from shared.clock import utc_now
from shared.events.answered import AnswerReviewRequested
from shared.events.models import ItemReviewRequested
from shared.events.traceparent import next_hop

TASKS_AT_ONCE = 500
_ABOUT = {"preference": "candidates", "approval": "action"}
"""Without this nobody can answer: lost where the schema was downgraded below 0015."""
_NO_SPAN = "0000000000000001"

_BEHIND = f"""
    behind AS (
        SELECT task.id, item.workflow, item.id AS item_id, item.reviewed_at,
               item.progress - {REVIEWED - 1} AS revision, item.final_label, item.answer
        FROM review_task task JOIN item ON item.workflow = task.workflow AND item.id = task.item_id
        WHERE task.seeded_for IS NULL AND task.status <> 'decided'
          AND item.progress >= {REVIEWED} AND item.progress - {REVIEWED - 1} > task.revision)
"""  # noqa: S608 - a number of our own
# The reviewer's decision, as far as the event has it: reports and exports count it again. Answers
# that may hold a person's words are in no event: the item's row has the one that stands.
_DECISIONS = text(f"""
    WITH {_BEHIND}
    INSERT INTO review_decision (idempotency_key, task_id, reviewer, action, label, answer,
        lease_token, effective, revision, ai_label_shown, assigned_at, decided_at, undo_until,
        round, seconds, idle_seconds)
    SELECT event_id, behind.id, data #>> '{{decision,reviewer}}',
           CASE data #>> '{{decision,action}}' WHEN 'accepted' THEN 'accept' ELSE 'correct' END,
           CASE WHEN held.answer IS NULL THEN data #>> '{{decision,label}}'
                ELSE behind.final_label END,
           CASE WHEN data ->> 'kind' <> 'label'
                THEN coalesce(data #> '{{decision,answer}}', held.answer) END,
           0, true, CAST(data #>> '{{review,revision}}' AS bigint),
           CAST(data #>> '{{review,ai_label_shown}}' AS boolean),
           CAST(data #>> '{{review,assigned_at}}' AS timestamptz),
           CAST(data #>> '{{decision,decided_at}}' AS timestamptz),
           CAST(data #>> '{{decision,decided_at}}' AS timestamptz),
           coalesce(data #>> '{{review,round}}', 'first'),
           CAST(data #>> '{{review,seconds}}' AS float8),
           CAST(data #>> '{{review,idle_seconds}}' AS float8)
    FROM behind JOIN event USING (workflow, item_id)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN CAST(data #>> '{{review,revision}}' AS bigint) = behind.revision
                    THEN behind.answer END AS answer) held
    WHERE type = 'item.reviewed' AND NOT EXISTS (
        SELECT FROM review_decision known WHERE known.task_id = behind.id AND known.effective
          AND known.revision = CAST(data #>> '{{review,revision}}' AS bigint))
    ON CONFLICT DO NOTHING
""")  # noqa: S608 - as above
_CLOSE = text(f"""
    WITH {_BEHIND}
    UPDATE review_task SET status = 'decided', revision = behind.revision,
        decided_at = behind.reviewed_at, leased_by = NULL, leased_at = NULL, lease_expires_at = NULL
    FROM behind WHERE review_task.id = behind.id
""")  # noqa: S608 - as above
_WITHOUT_TASK = """
    SELECT item.text, item.metadata, event.trace_id, event.data, item.asked, item.ai_answer
    FROM item JOIN event ON event.workflow = item.workflow AND event.item_id = item.id
    WHERE item.status = 'HUMAN_REVIEW' AND event.type = 'item.review_requested'
      AND NOT EXISTS (SELECT FROM review_task task WHERE task.workflow = item.workflow
                      AND task.item_id = item.id AND task.seeded_for IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Tasks:
    """How many were corrected; `without_text` wait for a person and cannot be shown to one, nor can
    those without the candidates or the action that they are about."""

    closed: int
    opened: int
    without_text: int
    without_asked: int


def rebuild_tasks(engine: Engine) -> Tasks:
    """Closes the tasks of decided items, and opens the missing ones.

    Raises:
        sqlalchemy.exc.DBAPIError: stopped; changes committed by then are correct.
    """
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(_DECISIONS)
        closed = connection.execute(_CLOSE).rowcount
    intake = Intake(engine, utc_now)
    opened = without_text = without_asked = 0
    for rows in _without_task(engine):
        with_text = [row for row in rows if row[0] is not None]
        requests = [_request(*row) for row in with_text if _answerable(row[3], row[4])]
        without_text += len(rows) - len(with_text)
        without_asked += len(with_text) - len(requests)
        opened += len(requests)
        intake.open_tasks(requests)
    return Tasks(closed, opened, without_text, without_asked)


def _answerable(data: dict[str, Any], asked: dict[str, Any] | None) -> bool:
    about = _ABOUT.get(data.get("kind", "label"))
    return about is None or about in (asked or {})


def _without_task(engine: Engine) -> Iterator[Sequence[tuple[Any, ...]]]:
    connection = engine.raw_connection()
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(_WITHOUT_TASK)
            while rows := cursor.fetchmany(TASKS_AT_ONCE):
                yield rows
    finally:
        connection.close()


def _request(
    content: str,
    metadata: dict[str, Any] | None,
    trace_id: str | None,
    data: dict[str, Any],
    asked: dict[str, Any] | None,
    ai_answer: dict[str, Any] | None,
) -> tuple[ItemReviewRequested | AnswerReviewRequested, str]:
    """The router's request, and a `traceparent` of its trace with a span of its own."""
    item = {**data["item"], **(asked or {}), "text": content, "metadata": metadata or {}}
    event: ItemReviewRequested | AnswerReviewRequested
    if "kind" in data:
        # A predicted answer that was erased, or lost with its row, is no prediction any more.
        known = {"answer": ai_answer} if ai_answer else {}
        predicted = {**known, **(data["prediction"] or {})}
        prediction = predicted if "answer" in predicted and data["prediction"] else None
        event = AnswerReviewRequested.model_validate(
            {**data, "item": item, "prediction": prediction}
        )
    else:
        event = ItemReviewRequested.model_validate({**data, "item": item})
    return event, next_hop(f"00-{trace_id}-{_NO_SPAN}-01" if trace_id else None)
