"""Streams whole tables, a million rows in flat memory.

Rows come through a server-side cursor and leave as they come, as CSV, JSON Lines or Parquet. What a
lead may not know yet is left out: the AI's side of a blind item that waits.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Engine, text

from shared.answers.reading import QUOTING
from shared.formats.rows_out import BATCH_ROWS, Format, written
from shared.storage.column_types import column_types
from shared.storage.database import database_errors

What = Literal["decisions", "corrections", "items"]
MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}

# A correction is what it is in `hitl export corrections` (services/feedback/reports/export.py): the
# label that stands is not the AI's. It is that of the newest revision, reopened since or not; an
# answer that another one checked or overruled, or that came too late, has no revision.
_STANDS = "d.revision = t.revision"
_BLIND = "(t.blind AND t.status <> 'decided')"
_DECIDED = """
    FROM review_decision d JOIN review_task t ON t.id = d.task_id
    CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM item i WHERE i.workflow = t.workflow AND i.id = t.item_id
                       AND i.erased_at IS NOT NULL) AS erased
    ) w
    WHERE t.workflow = ANY(:workflows) AND NOT d.seeded
      AND (CAST(:since AS timestamptz) IS NULL OR d.decided_at >= :since)
      AND (CAST(:until AS timestamptz) IS NULL OR d.decided_at < :until)
"""
# The answers as JSON: a `label` workflow keeps the label alone. Of an erased item, what a person's
# words may be in is nothing at all; the tables hold a mark there.
_QUOTED = f"""(w.erased AND t.kind IN ({", ".join(f"'{kind}'" for kind in QUOTING)}))"""
_AI_ANSWER = f"""
    CASE WHEN {_QUOTED} THEN NULL
         WHEN coalesce(t.kind, 'label') <> 'label' THEN t.prediction -> 'answer'
         WHEN t.prediction ->> 'label' IS NOT NULL
         THEN jsonb_build_object('label', t.prediction -> 'label') END"""
_ANSWER = f"""
    CASE WHEN {_QUOTED} THEN NULL
         WHEN coalesce(t.kind, 'label') <> 'label' THEN d.answer
         WHEN d.label IS NOT NULL THEN jsonb_build_object('label', d.label) END"""
_ASKED = """
               {0} ->> 'draft' AS draft, {0} -> 'candidates' AS candidates,
               {0} -> 'action' AS asked_action, {0} ->> 'expires_at' AS expires_at"""
# Each with everything spelled out: the columns are part of the API.
_QUERIES: dict[What, str] = {
    "decisions": f"""
        SELECT d.id AS number, t.workflow, t.item_id, d.task_id, d.reviewer, d.round,
               CASE WHEN {_BLIND} AND d.label IS NOT NULL THEN 'label' ELSE d.action END AS action,
               d.label,
               CASE WHEN {_BLIND} THEN NULL ELSE t.prediction ->> 'label' END AS ai_label,
               CASE WHEN {_BLIND} THEN NULL
                    ELSE (t.prediction ->> 'confidence')::float8 END AS confidence,
               d.ai_label_shown, d.reason, d.note, d.effective, d.revision,
               d.seconds, d.idle_seconds, d.assigned_at, d.decided_at, d.undone_at,
               coalesce(t.kind, 'label') AS kind, {_ANSWER} AS answer,
               CASE WHEN {_BLIND} THEN NULL ELSE {_AI_ANSWER} END AS ai_answer
        {_DECIDED} ORDER BY d.id
    """,
    "corrections": f"""
        SELECT d.id AS number, t.workflow, t.item_id,
               CASE WHEN NOT w.erased THEN t.item ->> 'text' END AS text,
               CASE WHEN NOT w.erased THEN t.item -> 'metadata' END AS metadata,
               d.label, t.prediction ->> 'label' AS ai_label,
               (t.prediction ->> 'confidence')::float8 AS confidence,
               t.prediction ->> 'model_version' AS model_version,
               d.reviewer, d.note, d.decided_at,
               coalesce(t.kind, 'label') AS kind, {_ANSWER} AS answer,
               {_AI_ANSWER} AS ai_answer, t.prediction -> 'parts' AS ai_parts,
               {_ASKED.format("(CASE WHEN NOT w.erased THEN t.item END)")}
        {_DECIDED} AND {_STANDS} AND d.label <> t.prediction ->> 'label' AND NOT {_BLIND}
        ORDER BY d.id
    """,
    "items": f"""
        SELECT i.workflow, i.id, CASE WHEN i.erased_at IS NULL THEN i.text END AS text,
               CASE WHEN i.erased_at IS NULL THEN i.metadata END AS metadata,
               CASE WHEN h.hidden THEN 'HUMAN_REVIEW' ELSE i.status END AS status,
               CASE WHEN h.hidden THEN NULL ELSE i.final_label END AS final_label,
               CASE WHEN h.hidden THEN NULL ELSE i.reviewer END AS reviewer,
               CASE WHEN h.hidden THEN NULL ELSE i.ai_label END AS ai_label,
               CASE WHEN h.hidden THEN NULL ELSE i.confidence END AS confidence,
               CASE WHEN h.hidden THEN NULL ELSE i.distribution END AS distribution,
               i.model_version, i.policy_version, i.failure, i.received_at, i.scored_at,
               CASE WHEN h.hidden THEN NULL ELSE i.reviewed_at END AS reviewed_at, i.updated_at,
               coalesce(i.kind, 'label') AS kind,
               CASE WHEN h.hidden OR i.final_label IS NULL THEN NULL WHEN i.kind IS NULL
                    THEN jsonb_build_object('label', i.final_label) ELSE i.answer END AS answer,
               CASE WHEN h.hidden OR i.ai_label IS NULL THEN NULL WHEN i.kind IS NULL
                    THEN jsonb_build_object('label', i.ai_label) ELSE i.ai_answer END AS ai_answer,
               {_ASKED.format("i.asked")}
        FROM item i
        LEFT JOIN review_task t
          ON t.workflow = i.workflow AND t.item_id = i.id AND t.seeded_for IS NULL
        CROSS JOIN LATERAL (
            SELECT CASE WHEN t.id IS NULL THEN i.status IN ('SCORED', 'HUMAN_REVIEW')
                        ELSE t.blind AND t.status <> 'decided' END AS hidden
        ) h
        WHERE i.workflow = ANY(:workflows)
          AND (CAST(:since AS timestamptz) IS NULL OR i.received_at >= :since)
          AND (CAST(:until AS timestamptz) IS NULL OR i.received_at < :until)
    """,  # noqa: S608 (a constant)
}


@dataclass(frozen=True, slots=True)
class Export:
    """What to export: decisions by the time they were made, items by the time they arrived."""

    what: What
    workflows: Sequence[str]
    since: datetime | None = None
    until: datetime | None = None


def rows(engine: Engine, wanted: Export, form: Format) -> Generator[bytes]:
    """The export's bytes, some hundred rows a piece, of Parquet some ten thousand; holds one
    connection until it ends.

    Raises:
        Overloaded: the connection to the database was lost.
    """
    bound = {"workflows": list(wanted.workflows), "since": wanted.since, "until": wanted.until}
    with database_errors(), engine.connect() as connection:
        found = connection.execute(
            text(_QUERIES[wanted.what]),
            bound,
            execution_options={"stream_results": True, "max_row_buffer": BATCH_ROWS},
        )
        yield from written(column_types(found), found.partitions(BATCH_ROWS), form)
