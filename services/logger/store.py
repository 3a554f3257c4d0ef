"""The store: a batch's rows into Postgres, once and fast, with no logger waiting for another.

COPY into a temporary table, then INSERT … SELECT in the order of the key; both tables in one
transaction. All loggers lock in the same order (events, then items, each by key; then the ledger),
so that none can deadlock. Only an event that was new changes its item: the rows are the sum of the
log. What is committed together is one block of the ledger.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO

from sqlalchemy import Engine
from sqlalchemy.engine.interfaces import DBAPICursor

from services.logger import copying
from services.logger.chain import INSERTED, RETURNED_LEAF, append_block, inserted
from services.logger.copying import EVENT_COLUMNS, STAGED_ITEM_COLUMNS, ItemKey
from services.logger.ledger import unpack
from services.logger.projection import KNOWN_COLUMNS, STATUS_COLUMNS, fold
from services.logger.rows import EventRow
from shared.answers.reading import QUOTING
from shared.events.answered import AnswerScored
from shared.events.models import ItemScored
from shared.events.recorded import AS_PREDICTED, final_mark
from shared.service.metrics import LEDGER_HEIGHT
from shared.storage.edits import EDITED, as_sent

# The rank of projection.ItemFacts; "C" compares like Python.
_OUTRANKS = " > ".join(
    f"""({row}.progress, {row}.status COLLATE "C", coalesce({row}.failure, '') COLLATE "C")"""
    for row in ("EXCLUDED", "item")
)
# Of an erased item the short lines say no more than the log does, where its kind quotes.
_QUOTED = f"""(item.erased_at IS NOT NULL AND coalesce(item.kind, EXCLUDED.kind, 'label')
    IN ({", ".join(f"'{kind}'" for kind in QUOTING)}))"""
_SAID = {
    "ai_label": f"""CASE WHEN {_QUOTED} AND EXCLUDED.ai_label IS NOT NULL THEN '{AS_PREDICTED}'
        ELSE EXCLUDED.ai_label END""",
    "final_label": f"""CASE WHEN NOT {_QUOTED} OR EXCLUDED.final_label IS NULL
        THEN EXCLUDED.final_label
        ELSE {final_mark("EXCLUDED")} END""",
    "ai_answer": f"CASE WHEN NOT {_QUOTED} THEN EXCLUDED.ai_answer END",
    "answer": f"CASE WHEN NOT {_QUOTED} THEN EXCLUDED.answer END",
    "asked": "CASE WHEN item.erased_at IS NULL THEN EXCLUDED.asked END",
}


def _higher(column: str) -> str:
    said = _SAID.get(column, f"EXCLUDED.{column}")
    return f"{column} = CASE WHEN {_OUTRANKS} THEN {said} ELSE item.{column} END"


def _known(column: str) -> str:
    said = _SAID.get(column, f"EXCLUDED.{column}")
    return (
        f"{column} = CASE WHEN {_OUTRANKS} THEN coalesce({said}, item.{column})"
        f" ELSE coalesce(item.{column}, {said}) END"
    )


_MERGED = (
    *map(_higher, (*STATUS_COLUMNS, "answer")),
    *map(_known, (*KNOWN_COLUMNS, "asked", "ai_answer")),
    # Without metadata a text is only the excerpt of a failure, and any whole text is better.
    # What was erased stays erased, whatever is still on its way.
    f"""text = CASE
        WHEN item.erased_at IS NOT NULL THEN item.text
        WHEN (EXCLUDED.metadata IS NULL) = (item.metadata IS NULL) THEN
            CASE WHEN {_OUTRANKS} THEN coalesce(EXCLUDED.text, item.text)
                 ELSE coalesce(item.text, EXCLUDED.text) END
        WHEN item.metadata IS NULL THEN EXCLUDED.text
        ELSE item.text END""",
    f"""metadata = CASE WHEN item.erased_at IS NOT NULL THEN item.metadata
        WHEN {_OUTRANKS} THEN coalesce(EXCLUDED.metadata, item.metadata)
        ELSE coalesce(item.metadata, EXCLUDED.metadata) END""",
    """text_salts = CASE WHEN item.erased_at IS NULL
        THEN coalesce(item.text_salts, '') || coalesce(EXCLUDED.text_salts, '') END""",
    "received_at = least(item.received_at, EXCLUDED.received_at)",
    "updated_at = EXCLUDED.updated_at",
)


_columns = ", ".join


def _stage(table: str, columns: Sequence[str]) -> str:
    """A session's own copy of the columns, without constraints, emptied by every commit."""
    return f"""
        CREATE TEMPORARY TABLE IF NOT EXISTS staged_{table} ON COMMIT DELETE ROWS AS
        SELECT {_columns(columns)} FROM {table} WITH NO DATA
    """  # noqa: S608 - the names are our own


_PREPARE = f"{_stage('event', EVENT_COLUMNS)}; {_stage('item', STAGED_ITEM_COLUMNS)}"
_INSERT_EVENTS = f"""
    WITH new AS (INSERT INTO event ({_columns(EVENT_COLUMNS)})
    SELECT {_columns(EVENT_COLUMNS)} FROM staged_event ORDER BY event_id
    ON CONFLICT (event_id) DO NOTHING RETURNING {RETURNED_LEAF})
    {INSERTED}
"""  # noqa: S608 - as above
_UPSERT_ITEMS = f"""
    INSERT INTO item ({_columns(STAGED_ITEM_COLUMNS)}, updated_at)
    SELECT {_columns(STAGED_ITEM_COLUMNS)}, now() FROM staged_item ORDER BY workflow, id
    ON CONFLICT (workflow, id) DO UPDATE SET {_columns(_MERGED)}
"""  # noqa: S608 - as above


@dataclass(frozen=True, slots=True)
class Batch:
    """A transaction to be, made while Postgres is at work on the one before: each event once, and
    what they say of their items if all of them are new."""

    rows: Sequence[EventRow]
    lines: bytes
    items: tuple[int, bytes]  # how many rows of `item`, and their lines
    again: Sequence[EventRow]  # further ones with the id of one of the rows


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction added: the new events, and how many rows of `item` they changed; and which
    events were not new, but told of another text under the same id; and how many of the same text
    with other metadata."""

    events: Sequence[EventRow]
    items: int
    edits: Sequence[EventRow]
    other_metadata: int


def prepare(rows: Iterable[EventRow]) -> Batch:
    """All of the work on a batch that needs no database."""
    by_id: dict[str, EventRow] = {}
    again = [row for row in rows if by_id.setdefault(row.event_id, row) is not row]
    once = list(by_id.values())
    return Batch(once, copying.event_lines(once), _items(once), again)


def write(engine: Engine, batch: Batch) -> Written:
    """Commits the rows that are new, and their items.

    Raises:
        psycopg2.Error, sqlalchemy.exc.DBAPIError: nothing was written.
    """
    new, again, height = batch.rows, list(batch.again), None
    items, item_lines = batch.items
    connection = engine.raw_connection()
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(_PREPARE)
            _copy(cursor, "staged_event", EVENT_COLUMNS, batch.lines)
            cursor.execute(_INSERT_EVENTS)
            added = inserted(cursor)
            if added.count < len(new):
                ids = {leaf.event_id for leaf in unpack(added.leaves)}
                again += [row for row in new if _bytes(row.event_id) not in ids]
                new = [row for row in new if _bytes(row.event_id) in ids]
                items, item_lines = _items(new)
            if items:
                _copy(cursor, "staged_item", STAGED_ITEM_COLUMNS, item_lines)
                cursor.execute(_UPSERT_ITEMS)
            if new:
                height = append_block(cursor, added)
            edits, other_metadata = _edits(cursor, again)
        connection.commit()
        if height is not None:
            LEDGER_HEIGHT.set(height)
    finally:
        connection.close()  # back to the pool, which rolls back what was not committed
    return Written(new, items, edits, other_metadata)


def _edits(cursor: DBAPICursor, again: Sequence[EventRow]) -> tuple[list[EventRow], int]:
    """Those with another text than the item's row, and how many have only other metadata. Each is
    scored, so that one type of event tells of all."""
    scored = [(row, row.event) for row in again if isinstance(row.event, ItemScored | AnswerScored)]
    if not scored:
        return [], 0
    sent = as_sent((event.workflow, event.item) for _, event in scored)
    cursor.execute(EDITED.format(items="%s"), (sent,))
    found = cursor.fetchall()
    edits = [scored[place][0] for place, other_text in found if other_text]
    return edits, len(found) - len(edits)


def _items(rows: Sequence[EventRow]) -> tuple[int, bytes]:
    items = fold((row.event, row.trace_id) for row in rows)
    return len(items), copying.item_lines(items, _salts(rows))


def _salts(rows: Iterable[EventRow]) -> dict[ItemKey, bytes]:
    """By item, the id and the salt of each of its events that commits to a text."""
    found: dict[ItemKey, bytes] = {}
    for row in rows:
        if row.salt is not None:
            key = (row.event.workflow, row.event.item_id)
            found[key] = found.get(key, b"") + _bytes(row.event_id) + row.salt
    return found


def _bytes(event_id: str) -> bytes:
    return bytes.fromhex(event_id.replace("-", ""))


def _copy(cursor: DBAPICursor, table: str, columns: Sequence[str], lines: bytes) -> None:
    statement = f"COPY {table} ({_columns(columns)}) FROM STDIN"
    cursor.copy_expert(statement, BytesIO(lines), size=1 << 20)
