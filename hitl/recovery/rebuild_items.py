"""Rebuilds the table `item` from the events alone.

Some thousands of items a transaction, in the order of their keys, by the logger's projection. Texts
and salts are in no event (docs/decisions/0004): an existing row keeps its own, a missing one takes
the text from its task. Rows that are already correct are not written.
"""

from collections.abc import Callable, Iterator, Mapping
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
from services.logger.projection import KNOWN_COLUMNS, STATUS_COLUMNS, ItemFacts, facts, merge
from shared.events.models import Event, ItemEvent, ItemSubmitted
from shared.events.registry import REGISTRY

ITEMS_AT_ONCE = 2_000
_NO_TEXT = "-"  # a placeholder: no event has the text
_MADE = (*STATUS_COLUMNS, *KNOWN_COLUMNS, "received_at")

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
    return model.model_validate(data)
