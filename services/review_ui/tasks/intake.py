"""Intake: a request for review becomes a task.

One statement per batch, then the deliveries are done: no message ever waits for a person. Beside
the requests come the words that speak for and against the AI's labels, before or after their task.
"""

import json
import logging
from collections.abc import Iterable, Sequence

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from services.review_ui.tasks import highlights
from shared.clock import Clock
from shared.errors import Permanent
from shared.events.answered import AnswerReviewRequested
from shared.events.envelope import decode
from shared.events.models import Event, ItemExplained, ItemReviewRequested, derive_id
from shared.events.traceparent import trace_id, traceparent_of, valid_or_new
from shared.hashing import hash01
from shared.messages import Delivery, Result
from shared.service.metrics import ITEM_AGE
from shared.storage.database import database_errors, is_bad_data
from shared.storage.refused_rows import blame_the_schema_first, refused_row

logger = logging.getLogger(__name__)

# The same item twice is one task: in the batch, in the table, or already decided.
_INSERT = text(
    """
    INSERT INTO review_task (id, workflow, item_id, queue, priority, uncertainty, due_at, blind,
                             item, prediction, routing, traceparent, created_at, kind)
    SELECT id, workflow, item_id, queue, priority, uncertainty, due_at, blind,
           item, prediction, routing, traceparent, created_at, kind
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS new(
        id uuid, workflow text, item_id text, queue text, priority bigint,
        uncertainty double precision, due_at timestamptz, blind boolean,
        item jsonb, prediction jsonb, routing jsonb, traceparent text, created_at timestamptz,
        kind text)
    WHERE NOT EXISTS (
        SELECT FROM item
        WHERE item.workflow = new.workflow AND item.id = new.item_id
          AND item.status IN ('AI_ACCEPTED', 'HUMAN_ACCEPTED', 'HUMAN_CORRECTED'))
    ORDER BY id
    ON CONFLICT DO NOTHING
    RETURNING item_id
    """
)


class Intake:
    """The worker handler of the review queues."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def handle(self, batch: Sequence[Delivery]) -> list[Result]:
        """A task per readable request, and the words that were weighed; nothing to publish.

        Raises:
            Overloaded: the database is unreachable, or its tables are not those of this release.
        """
        results: list[Result] = [()] * len(batch)
        rows: list[dict[str, object]] = []
        weighed: list[dict[str, object]] = []
        for index, delivery in enumerate(batch):
            try:
                event: Event = decode(
                    delivery, ItemReviewRequested, AnswerReviewRequested, ItemExplained
                )
            except Permanent as error:
                results[index] = error
            else:
                if isinstance(event, ItemReviewRequested | AnswerReviewRequested):
                    rows.append(self._row(event, traceparent_of(delivery)))
                elif isinstance(event, ItemExplained):
                    weighed.append(highlights.row(event))
        if rows or weighed:
            try:
                self._insert(rows, weighed)
            except DBAPIError as error:
                if len(batch) > 1 and is_bad_data(error):
                    blame_the_schema_first(self._engine, error)
                    raise  # the worker splits the batch until the refused row is alone
                results[0] = refused_row(self._engine, error)
        return results

    def open_tasks(
        self, requests: Iterable[tuple[ItemReviewRequested | AnswerReviewRequested, str | None]]
    ) -> None:
        """A task for each request (the event and its traceparent) that needs one.

        Raises:
            Overloaded: the database is unreachable.
            sqlalchemy.exc.DBAPIError: Postgres refuses one; none of them has a task then.
        """
        self._insert([self._row(event, traceparent) for event, traceparent in requests], [])

    def _insert(self, rows: list[dict[str, object]], weighed: list[dict[str, object]]) -> None:
        made: set[str] = set()
        with database_errors(), self._engine.begin() as connection:
            if rows:
                made |= set(connection.execute(_INSERT, {"rows": json.dumps(rows)}).scalars())
            if weighed:
                connection.execute(highlights.STORE, {"rows": json.dumps(weighed)})
        for row in rows:
            logger.debug(
                "task created" if row["item_id"] in made else "task not needed",
                extra={"item_id": row["item_id"], "trace_id": trace_id(str(row["traceparent"]))},
            )

    def _row(
        self, event: ItemReviewRequested | AnswerReviewRequested, traceparent: str | None
    ) -> dict[str, object]:
        now = self._clock()
        ITEM_AGE.labels("review").observe(max(0.0, (now - event.item.received_at).total_seconds()))
        routing, prediction = event.routing, event.prediction
        predicted = None if prediction is None else prediction.stored()
        return {
            "id": str(derive_id("task", event.workflow, event.item_id)),
            "workflow": event.workflow,
            "item_id": event.item_id,
            "queue": routing.queue,
            "priority": routing.priority,
            # The order of blind tasks must not tell how sure the AI is of them.
            "uncertainty": hash01(None, "blind order", event.workflow, event.item_id)
            if routing.blind
            else 1.0 - (prediction.confidence if prediction else 0.0),
            "due_at": routing.due_at.isoformat() if routing.due_at else "infinity",
            "blind": routing.blind,
            "item": event.item.model_dump(mode="json"),
            "prediction": predicted,
            "kind": event.kind if isinstance(event, AnswerReviewRequested) else None,
            "routing": routing.model_dump(mode="json"),
            "traceparent": valid_or_new(traceparent),
            "created_at": now.isoformat(),
        }
