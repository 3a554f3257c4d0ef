"""Streams the items that people decided, with what the AI had said: one row an item."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Engine, text

from services.feedback.reports.disagreements import Reviewed
from shared.formats.rows_out import BATCH_ROWS
from shared.storage.database import database_errors

_QUERY = text(
    """
    SELECT CASE WHEN i.erased_at IS NULL THEN i.text END AS text, i.metadata,
           i.ai_label, i.confidence, i.final_label, i.kind, i.ai_answer, i.answer,
           t.routing @> '{"sampling": {"on_panel": true}}' AS on_panel
    FROM item i
    LEFT JOIN review_task t
      ON t.workflow = i.workflow AND t.item_id = i.id AND t.seeded_for IS NULL
    WHERE i.workflow = :workflow AND i.status IN ('HUMAN_ACCEPTED', 'HUMAN_CORRECTED')
      AND i.ai_label IS NOT NULL AND i.confidence IS NOT NULL
      AND (CAST(:since AS timestamptz) IS NULL OR i.reviewed_at >= :since)
      AND (CAST(:until AS timestamptz) IS NULL OR i.reviewed_at < :until)
    """
)


def reviewed(
    engine: Engine, workflow: str, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[Reviewed]:
    """The items of a workflow that a person decided in that time, with the label that stands.

    Raises:
        Overloaded: the connection to the database was lost.
    """
    bound = {"workflow": workflow, "since": since, "until": until}
    with database_errors(), engine.connect() as connection:
        found = connection.execute(
            _QUERY, bound, execution_options={"stream_results": True, "max_row_buffer": BATCH_ROWS}
        )
        for row in found:
            yield Reviewed(
                text=row.text,
                metadata=row.metadata or {},
                ai_label=row.ai_label,
                confidence=row.confidence,
                label=row.final_label,
                on_panel=bool(row.on_panel),
                kind=row.kind,
                ai_answer=row.ai_answer,
                answer=row.answer,
            )
