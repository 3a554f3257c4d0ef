"""Rebuilds the table `item` from the events alone.

Some thousands of items a transaction, in the order of their keys, by the logger's projection. Texts
and salts are in no event (docs/decisions/0004), nor what an answer hangs on, nor answers that may
hold a person's words: an existing row keeps its own, a missing one takes them from its task and the
decision on it. Rows that are already correct are not written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.engine.interfaces import DBAPICursor

from hitl.ledger.check import ERASED, ITEM_REDACTED
from hitl.ledger.erase import ITEM_ERASED
from services.logger.copying import STAGED_ITEM_COLUMNS, item_lines
from services.logger.projection import (
    AI_ACCEPTED,
    ANSWER_COLUMNS,
    ASKED,
    KNOWN_COLUMNS,
    REVIEWED,
    STATUS_COLUMNS,
    ItemFacts,
    facts,
    merge,
)
from shared.answers.base import Kind
from shared.answers.reading import QUOTING
from shared.events.answered import AnswerEvent
from shared.events.models import Event, ItemEvent, ItemSubmitted
from shared.events.recorded import AS_PREDICTED
from shared.events.registry import REGISTRY

ITEMS_AT_ONCE = 2_000
_NO_TEXT = "-"  # a placeholder: no event has the text
_NO_WORDS: dict[Kind, dict[str, Any]] = {
    "text": {"text": _NO_TEXT},
    "form": {"form": {}},
    "approval": {"verdict": "approve"},
}
"""Placeholders: no event has the answers of these kinds."""
_MADE = (*STATUS_COLUMNS, *KNOWN_COLUMNS, *ANSWER_COLUMNS, "received_at")

# Loggers wait for the length of a batch: what they add is either seen here, or comes after.
_LOCK = "LOCK TABLE item IN SHARE ROW EXCLUSIVE MODE"
_KEYS = """
    SELECT max(array[workflow, item_id]) FROM (
        SELECT workflow, item_id FROM event WHERE (workflow, item_id) > (%(workflow)s, %(item)s)
        GROUP BY workflow, item_id ORDER BY workflow, item_id LIMIT %(limit)s) next
"""
_EVENTS = """
    SELECT workflow, item_id, type, version, trace_id, data FROM event
    WHERE (workflow, item_id) > (%(workflow)s, %(item)s)
      AND (workflow, item_id) <= (%(last_workflow)s, %(last_item)s)
    ORDER BY workflow, item_id, seq
"""
_STAGE = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS rebuilt_item ON COMMIT DELETE ROWS AS
    SELECT {", ".join(STAGED_ITEM_COLUMNS)} FROM item WITH NO DATA
"""  # noqa: S608 - the names are our own


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# What no event says of items of other kinds than label. Of kinds that quote the predicted answer is
# the row's own, else the task's; the one that stands is that, or the row's own where the row has
# come as far, else that of the decision. None of it comes back once it was erased.
_RECALL = f"""
    WITH known AS (
        SELECT made.workflow, made.id, made.kind IN ({_quoted(QUOTING)}) AS quotes, gone.erased,
               coalesce(item.asked, (SELECT jsonb_object_agg(key, value)
                                     FROM jsonb_each(task.item)
                                     WHERE key IN ({_quoted(sorted(ASKED))}))) AS asked,
               CASE WHEN made.ai_label IS NULL OR gone.erased THEN NULL
                    WHEN item.ai_answer IS NOT NULL THEN item.ai_label
                    ELSE task.prediction ->> 'label' END AS ai_label,
               CASE WHEN made.ai_label IS NULL OR gone.erased THEN NULL
                    ELSE coalesce(item.ai_answer, task.prediction -> 'answer') END AS ai_answer,
               made.final_label = '{AS_PREDICTED}' AS agreed,
               CASE WHEN gone.erased OR made.progress < {AI_ACCEPTED} THEN NULL
                    WHEN item.progress = made.progress AND item.answer IS NOT NULL
                    THEN jsonb_build_array(item.final_label, item.answer)
                    WHEN said.answer IS NOT NULL
                    THEN jsonb_build_array(said.label, said.answer) END AS other
        FROM rebuilt_item made
        CROSS JOIN LATERAL (
            SELECT EXISTS (SELECT FROM event
                           WHERE event.type = '{ITEM_ERASED}' AND event.workflow = made.workflow
                             AND event.item_id = made.id) AS erased) gone
        LEFT JOIN item ON item.workflow = made.workflow AND item.id = made.id
        LEFT JOIN review_task task
          ON task.workflow = made.workflow AND task.item_id = made.id AND task.seeded_for IS NULL
        LEFT JOIN review_decision said
          ON said.task_id = task.id AND said.effective
          AND said.revision = made.progress - {REVIEWED - 1}
        WHERE made.kind IS NOT NULL)
    UPDATE rebuilt_item made SET
        asked = CASE WHEN NOT erased THEN known.asked END,
        ai_label = CASE WHEN quotes THEN coalesce(known.ai_label, made.ai_label)
                        ELSE made.ai_label END,
        ai_answer = CASE WHEN quotes THEN known.ai_answer ELSE made.ai_answer END,
        final_label = CASE WHEN NOT quotes THEN made.final_label
                           WHEN agreed THEN coalesce(known.ai_label, made.final_label)
                           ELSE coalesce(other ->> 0, made.final_label) END,
        answer = CASE WHEN NOT quotes THEN made.answer
                      WHEN agreed THEN known.ai_answer ELSE other -> 1 END
    FROM known WHERE made.workflow = known.workflow AND made.id = known.id
"""  # noqa: S608 - as above
_ADD = f"""
    INSERT INTO item (workflow, id, {", ".join(_MADE)}, text, metadata, updated_at)
    SELECT made.workflow, made.id, {", ".join(f"made.{name}" for name in _MADE)},
           task.item ->> 'text', task.item -> 'metadata', now()
    FROM rebuilt_item made LEFT JOIN review_task task
      ON task.workflow = made.workflow AND task.item_id = made.id AND task.seeded_for IS NULL
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - as above
_CHANGE = f"""
    UPDATE item SET ({", ".join(_MADE)}, updated_at)
                  = ({", ".join(f"made.{name}" for name in _MADE)}, now())
    FROM rebuilt_item made
    WHERE item.workflow = made.workflow AND item.id = made.id
      AND ({", ".join(f"item.{name}" for name in _MADE)})
          IS DISTINCT FROM ({", ".join(f"made.{name}" for name in _MADE)})
"""  # noqa: S608 - as above
_ERASE = f"""
    UPDATE item SET text = '{ERASED}', metadata = '{{}}', text_salts = NULL,
                    erased_at = event.occurred_at, updated_at = now()
    FROM event
    WHERE event.type = '{ITEM_ERASED}' AND item.erased_at IS NULL
      AND item.workflow = event.workflow AND item.id = event.item_id
      AND (item.workflow, item.id) IN (SELECT workflow, id FROM rebuilt_item)
"""  # noqa: S608 - as above


@dataclass(slots=True)
class Rebuilt:
    """How much was read, and how many rows were missing or wrong."""

    events: int = 0
    items: int = 0
    added: int = 0
    changed: int = 0
    unknown: int = 0


def events_counted(engine: Engine) -> int:
    """How many events there are."""
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        return int(connection.execute(text("SELECT count(*) FROM event")).scalar_one())


def rebuild_items(engine: Engine, advance: Callable[[int], None]) -> Rebuilt:
    """Rebuilds all rows; `advance` gets the number of events read.

    Raises:
        psycopg2.Error: stopped; batches committed by then are correct.
    """
    done = Rebuilt()
    after = ("", "")
    while True:
        connection = engine.raw_connection()
        try:
            with closing(connection.cursor()) as cursor:
                read = done.events
                last = _batch(cursor, after, done)
            connection.commit()
        finally:
            connection.close()
        if last is None:
            return done
        advance(done.events - read)
        after = last


def _batch(cursor: DBAPICursor, after: tuple[str, str], done: Rebuilt) -> tuple[str, str] | None:
    """Rebuilds the items after this key; returns the last one's key, None if there was none."""
    cursor.execute(_STAGE)
    cursor.execute(_LOCK)
    bounds: dict[str, Any] = {"workflow": after[0], "item": after[1], "limit": ITEMS_AT_ONCE}
    cursor.execute(_KEYS, bounds)
    (last,) = cursor.fetchone() or (None,)
    if last is None:
        return None
    cursor.execute(_EVENTS, {**bounds, "last_workflow": last[0], "last_item": last[1]})
    rows = list(_rows(cursor, done))
    done.items += len(rows)
    columns = ", ".join(STAGED_ITEM_COLUMNS)
    lines = BytesIO(item_lines(rows, {}))
    cursor.copy_expert(f"COPY rebuilt_item ({columns}) FROM STDIN", lines)
    if any(row.kind is not None for row in rows):
        cursor.execute(_RECALL)
    cursor.execute(_ADD)
    done.added += cursor.rowcount
    cursor.execute(_CHANGE)
    done.changed += cursor.rowcount
    cursor.execute(_ERASE)
    return last[0], last[1]


def _rows(cursor: DBAPICursor, done: Rebuilt) -> Iterator[ItemFacts]:
    for _, events in groupby(cursor.fetchall(), key=itemgetter(0, 1)):
        row: ItemFacts | None = None
        for _, _, kind, version, trace_id, data in events:
            done.events += 1
            if kind == ITEM_ERASED:
                if row is not None and row.failure is not None:
                    row.failure = ERASED
                continue
            if kind == ITEM_REDACTED:
                continue
            event = read(kind, version, data)
            if event is None:
                done.unknown += kind != ItemSubmitted.type
                continue
            told = facts(event, trace_id)
            if told is not None:
                if isinstance(event, AnswerEvent):
                    _as_logged(told, event, data)
                row = told if row is None else merge(row, told)
        if row is not None:
            row.text = row.metadata = None
            yield row


def read(kind: str, version: int, data: Mapping[str, Any]) -> Event | None:
    """The event of a row of `event`, without its text; None if its type or version is unknown."""
    model = REGISTRY.get((kind, version))
    if model is None:
        return None
    if issubclass(model, ItemEvent):
        data = {**data, "item": {"text": _NO_TEXT, **data["item"]}}
    if issubclass(model, AnswerEvent) and data["kind"] in QUOTING:
        answer = {"answer": _NO_WORDS[data["kind"]]}
        given = {name: data[name] for name in ("prediction", "decision") if data.get(name)}
        data = {**data, **{name: {**answer, **part} for name, part in given.items()}}
    return model.model_validate(data)


def _as_logged(row: ItemFacts, event: AnswerEvent, data: Mapping[str, Any]) -> None:
    """The short lines as the log has them, and no answers where it has none."""
    if event.prediction is not None:
        row.ai_label = data["prediction"]["label"]
    if row.final_label is not None:
        row.final_label = data["decision"]["label"]
    row.asked = None
    if event.kind in QUOTING:
        row.ai_answer = row.answer = None
