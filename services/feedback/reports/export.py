"""Exports what people decided beside what the AI had said: rows that a model can learn from.

Every label is the one that stands: of a decision that was reopened, the last revision. A person's
text that was erased is empty here, too.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, text

from shared.answers.approval import VERDICTS
from shared.formats.example import Example
from shared.formats.exported import example_of
from shared.formats.peers.registry import PeerFormat
from shared.formats.peers.registry import written as written_for_peer
from shared.formats.rows_out import BATCH_ROWS, Format, written
from shared.labels import label_key
from shared.storage.column_types import column_types
from shared.storage.database import database_errors
from shared.storage.labels_in_answers import answers_with_json

What = Literal["corrections", "labels", "events"]

_LABEL = "coalesce(e.data #>> '{decision,label}', e.data #>> '{prediction,label}')"
# Of labels and spans each label in them.
_LABELS_USED = f"""
    SELECT DISTINCT {_LABEL} FROM event e
    UNION SELECT named #>> '{{}}'
    FROM event e, jsonb_path_query(e.data, '$.decision.answer.labels[*]') named
    UNION SELECT named #>> '{{}}'
    FROM event e, jsonb_path_query(e.data, '$.decision.answer.spans[*].label') named
    UNION VALUES {", ".join(f"('{verdict}')" for verdict in VERDICTS)}
"""  # noqa: S608 (a constant)
_LABELS = """
    SELECT e.item_id, e.workflow,
           CASE WHEN i.erased_at IS NULL THEN i.text END AS input_text,
           CASE WHEN i.erased_at IS NULL THEN i.metadata END AS metadata,
           e.data #>> '{prediction,label}' AS ai_label,
           (e.data #>> '{prediction,confidence}')::float8 AS ai_confidence,
           e.data #> '{prediction,distribution}' AS ai_distribution,
           e.data #>> '{decision,label}' AS correct_label,
           e.data #>> '{decision,action}' AS action,
           e.data #>> '{decision,reviewer}' AS reviewer,
           e.data #>> '{review,round}' AS round,
           coalesce(t.answers, '[]') AS answers,
           (e.data #>> '{review,ai_label_shown}')::boolean AS ai_label_shown,
           (e.data #>> '{review,seconds}')::float8 AS seconds,
           (e.data #>> '{review,idle_seconds}')::float8 AS idle_seconds,
           (e.data #>> '{review,revision}')::bigint AS revision,
           e.data #> '{decision,reasons}' AS reasons,
           (e.data #>> '{decision,threshold}')::float8 AS threshold,
           coalesce((e.data #>> '{decision,sampling,on_panel}')::boolean, false) AS on_panel,
           (e.data #>> '{decision,sampling,u}')::float8 AS panel_u,
           (e.data #>> '{decision,sampling,q}')::float8 AS panel_rate,
           e.data #>> '{decision,model_version}' AS model_version,
           e.data #>> '{decision,policy_version}' AS policy_version,
           e.data #>> '{decision,certificate_version}' AS certificate_version,
           i.received_at, i.scored_at, i.routed_at,
           (e.data #>> '{review,assigned_at}')::timestamptz AS assigned_at,
           e.occurred_at AS decided_at, e.trace_id, e.event_id,
           coalesce(e.data ->> 'kind', 'label') AS kind,
           CASE WHEN e.data #>> '{prediction,label}' IS NULL THEN NULL
                WHEN coalesce(e.data ->> 'kind', 'label') = 'label'
                THEN jsonb_build_object('label', e.data #> '{prediction,label}')
                ELSE coalesce(e.data #> '{prediction,answer}', i.ai_answer) END AS ai_answer,
           CASE WHEN coalesce(e.data ->> 'kind', 'label') = 'label'
                THEN jsonb_build_object('label', e.data #> '{decision,label}')
                ELSE coalesce(e.data #> '{decision,answer}', i.answer) END AS answer,
           nullif(e.data #> '{prediction,parts}', 'null') AS ai_parts,
           i.asked ->> 'draft' AS draft, i.asked -> 'candidates' AS candidates,
           i.asked -> 'action' AS asked_action, i.asked ->> 'expires_at' AS expires_at
    FROM event e
    LEFT JOIN item i ON i.workflow = e.workflow AND i.id = e.item_id
    LEFT JOIN review_task t
      ON t.workflow = e.workflow AND t.item_id = e.item_id AND t.seeded_for IS NULL
    WHERE e.type = 'item.reviewed'
      AND (CAST(:workflows AS text[]) IS NULL OR e.workflow = ANY(:workflows))
      AND (CAST(:since AS timestamptz) IS NULL OR e.occurred_at >= :since)
      AND (CAST(:until AS timestamptz) IS NULL OR e.occurred_at < :until)
      AND (CAST(:labels AS text[]) IS NULL OR e.data #>> '{decision,label}' = ANY(:labels)
           OR coalesce(e.data #> '{decision,answer}', i.answer)
              @> ANY (CAST(:parts AS jsonb[])))
      AND (CAST(:reviewers AS text[]) IS NULL OR e.data #>> '{decision,reviewer}' = ANY(:reviewers))
      AND NOT EXISTS (
          SELECT FROM event later
          WHERE later.workflow = e.workflow AND later.item_id = e.item_id
            AND later.type = 'item.reviewed'
            AND (later.data #>> '{review,revision}')::bigint
              > (e.data #>> '{review,revision}')::bigint)
"""
_QUERIES: dict[What, str] = {
    "labels": f"{_LABELS} ORDER BY e.seq",
    "corrections": f"""
        {_LABELS} AND e.data #>> '{{decision,label}}' <> e.data #>> '{{prediction,label}}'
        ORDER BY e.seq
    """,
    "events": f"""
        SELECT e.seq, e.event_id, e.type, e.version, e.workflow, e.item_id, e.occurred_at,
               e.recorded_at, e.source, e.trace_id, e.data
        FROM event e
        WHERE (CAST(:workflows AS text[]) IS NULL OR e.workflow = ANY(:workflows))
          AND (CAST(:since AS timestamptz) IS NULL OR e.occurred_at >= :since)
          AND (CAST(:until AS timestamptz) IS NULL OR e.occurred_at < :until)
          AND (CAST(:labels AS text[]) IS NULL
               OR {_LABEL} = ANY(:labels)
               OR coalesce(e.data #> '{{decision,answer}}', e.data #> '{{prediction,answer}}')
                  @> ANY (CAST(:parts AS jsonb[])))
          AND (CAST(:reviewers AS text[]) IS NULL
               OR e.data #>> '{{decision,reviewer}}' = ANY(:reviewers))
        ORDER BY e.seq
    """,  # noqa: S608 (a constant)
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows; empty: all. `since` and `until` are about when the fact became true; `labels` are
    the people's, of events the decision's or else the prediction's."""

    what: What
    workflows: Sequence[str] = ()
    labels: Sequence[str] = ()
    reviewers: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(slots=True)
class Counted:
    """How many rows have left so far, and how many had to stay: items whose text was erased."""

    rows: int = 0
    erased: int = 0


def rows(
    engine: Engine, wanted: Wanted, form: Format | PeerFormat, counted: Counted
) -> Generator[bytes]:
    """The export's bytes in flat memory; holds one connection until it ends.

    Raises:
        Overloaded: the connection to the database was lost.
        Unsayable: another tool's format has no words for a row.
    """
    with database_errors(), engine.connect() as connection:
        labels = _spelled(connection, wanted.labels) if wanted.labels else None
        bound = {
            "workflows": list(wanted.workflows) or None,
            "labels": labels,
            "parts": answers_with_json(labels or ()),
            "reviewers": list(wanted.reviewers) or None,
            "since": wanted.since,
            "until": wanted.until,
        }
        found = connection.execute(
            text(_QUERIES[wanted.what]),
            bound,
            execution_options={"stream_results": True, "max_row_buffer": BATCH_ROWS},
        )

        def batches() -> Generator[Sequence[Sequence[object]]]:
            for batch in found.partitions(BATCH_ROWS):
                counted.rows += len(batch)
                yield batch

        match form:
            case "csv" | "jsonl" | "parquet":
                yield from written(column_types(found), batches(), form)
            case _:
                examples = _examples(column_types(found), batches(), counted)
                pieces = written_for_peer(examples, form)
                while batch := "".join(islice(pieces, BATCH_ROWS)):
                    yield batch.encode()


def _examples(
    columns: Iterable[str], batches: Iterable[Sequence[Sequence[object]]], counted: Counted
) -> Iterator[Example]:
    """The rows as other tools' formats take them; an erased item says nothing there."""
    names = tuple(columns)
    for batch in batches:
        for row in batch:
            example = example_of(dict(zip(names, row, strict=True)))
            if example is not None:
                yield example
            else:
                counted.rows -= 1
                counted.erased += 1


def _spelled(connection: Connection, labels: Sequence[str]) -> list[str]:
    """How the events spell these labels, which somebody typed."""
    keys = {label_key(label) for label in labels}
    used = connection.execute(text(_LABELS_USED)).scalars()
    return [label for label in used if label is not None and label_key(label) in keys]


def dataset_card(wanted: Wanted, count: int, made_at: datetime) -> str:
    """The README of a dataset folder that the `datasets` library loads by its path."""
    chosen = {
        "workflow": ", ".join(wanted.workflows) or "all",
        "label": ", ".join(wanted.labels) or "all",
        "reviewer": ", ".join(wanted.reviewers) or "all",
        "since": wanted.since.isoformat() if wanted.since else "the beginning",
        "until": wanted.until.isoformat() if wanted.until else "the export",
    }
    listed = "\n".join(f"- {name}: {value}" for name, value in chosen.items())
    return f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: {DATASET_FILE.as_posix()}
---

# Human decisions: {wanted.what}

{count} rows, exported {made_at.isoformat(timespec="seconds")}. Chosen:

{listed}

The texts are those of the people who wrote them, the labels those of the reviewers; times are UTC,
columns that hold objects (`metadata`, `answer`, `ai_answer`, `answers`, `reasons`, …) are JSON.
An erased text is empty.
"""


DATASET_FILE = Path("data/train-00000-of-00001.parquet")
