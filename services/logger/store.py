"""How do a batch's rows get into Postgres: fast, once, and with no loggers waiting for each other?

COPY into a temporary table, then INSERT … SELECT in the order of the key; both tables in one
transaction. All loggers lock in the same order (events, then items, each by key; then the ledger),
so that none can deadlock. Only an event that was new changes its item: the rows are the sum of the
log. What is committed together is one block of the ledger.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

from pydantic_core import to_json
from sqlalchemy import Engine
from sqlalchemy.engine.interfaces import DBAPICursor

from services.logger.chain import INSERTED, RETURNED_LEAF, append_block, inserted
from services.logger.ledger import unpack
from services.logger.projection import KNOWN_COLUMNS, STATUS_COLUMNS, ItemFacts, fold
from services.logger.rows import EventRow
from shared.metrics import LEDGER_HEIGHT

_EVENT_COLUMNS = (
    "event_id",
    "type",
    "version",
    "workflow",
    "item_id",
    "occurred_at",
    "source",
    "trace_id",
    "data",
    "text_commitment",
)
_ITEM_COLUMNS = (
    "workflow",
    "id",
    "text",
    "metadata",
    "received_at",
    *STATUS_COLUMNS,
    *KNOWN_COLUMNS,
)
_STAGED_ITEM = (*_ITEM_COLUMNS, "text_salts")
# The rank of projection.ItemFacts; "C" compares like Python.
_OUTRANKS = " > ".join(
    f"""({row}.progress, {row}.status COLLATE "C", coalesce({row}.failure, '') COLLATE "C")"""
    for row in ("EXCLUDED", "item")
)
_MERGED = (
    *(f"{c} = CASE WHEN {_OUTRANKS} THEN EXCLUDED.{c} ELSE item.{c} END" for c in STATUS_COLUMNS),
    *(
        f"{c} = CASE WHEN {_OUTRANKS} THEN coalesce(EXCLUDED.{c}, item.{c})"
        f" ELSE coalesce(item.{c}, EXCLUDED.{c}) END"
        for c in KNOWN_COLUMNS
    ),
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


def _columns(names: Iterable[str]) -> str:
    return ", ".join(names)


def _stage(table: str, columns: Sequence[str]) -> str:
    """A session's own copy of the columns, without constraints, emptied by every commit."""
    return f"""
        CREATE TEMPORARY TABLE IF NOT EXISTS staged_{table} ON COMMIT DELETE ROWS AS
        SELECT {_columns(columns)} FROM {table} WITH NO DATA
    """  # noqa: S608 - the names are our own


_PREPARE = f"{_stage('event', _EVENT_COLUMNS)}; {_stage('item', _STAGED_ITEM)}"
_INSERT_EVENTS = f"""
    WITH new AS (INSERT INTO event ({_columns(_EVENT_COLUMNS)})
    SELECT {_columns(_EVENT_COLUMNS)} FROM staged_event ORDER BY event_id
    ON CONFLICT (event_id) DO NOTHING RETURNING {RETURNED_LEAF})
    {INSERTED}
"""  # noqa: S608 - as above
_UPSERT_ITEMS = f"""
    INSERT INTO item ({_columns(_STAGED_ITEM)}, updated_at)
    SELECT {_columns(_STAGED_ITEM)}, now() FROM staged_item ORDER BY workflow, id
    ON CONFLICT (workflow, id) DO UPDATE SET {_columns(_MERGED)}
"""  # noqa: S608 - as above


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction added: the new events, and how many rows of `item` they changed."""

    events: Sequence[EventRow]
    items: int


def write(engine: Engine, rows: Sequence[EventRow]) -> Written:
    """Commits the rows that are new, and their items.

    Raises:
        psycopg2.Error, sqlalchemy.exc.DBAPIError: nothing was written.
    """
    by_id: dict[str, EventRow] = {}
    for row in rows:
        by_id.setdefault(row.event_id, row)
    connection = engine.raw_connection()
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(_PREPARE)
            _copy(cursor, "staged_event", _EVENT_COLUMNS, map(_event_values, by_id.values()))
            cursor.execute(_INSERT_EVENTS)
            added = inserted(cursor)
            ids = {leaf.event_id for leaf in unpack(added.leaves)}
            new = [row for event_id, row in by_id.items() if _bytes(event_id) in ids]
            items = fold((row.event, row.trace_id) for row in new)
            if items:
                salts = _salts(new)
                values = (_item_values(item, salts) for item in items)
                _copy(cursor, "staged_item", _STAGED_ITEM, values)
                cursor.execute(_UPSERT_ITEMS)
            height = append_block(cursor, added) if new else None
        connection.commit()
        if height is not None:
            LEDGER_HEIGHT.set(height)
    finally:
        connection.close()  # back to the pool, which rolls back what was not committed
    return Written(new, len(items))


def _event_values(row: EventRow) -> tuple[object, ...]:
    event = row.event
    return (
        row.event_id,
        event.type,
        event.version,
        event.workflow,
        event.item_id,
        event.occurred_at,
        row.source,
        row.trace_id,
        row.data,
        _hex(row.commitment),
    )


def _item_values(item: ItemFacts, salts: dict[tuple[str, str], bytes]) -> tuple[object, ...]:
    values = [getattr(item, column) for column in _ITEM_COLUMNS]
    return (*values, _hex(salts.get((item.workflow, item.id))))


def _salts(rows: Iterable[EventRow]) -> dict[tuple[str, str], bytes]:
    """By item, the id and the salt of each of its events that commits to a text."""
    found: dict[tuple[str, str], bytes] = {}
    for row in rows:
        if row.salt is not None:
            key = (row.event.workflow, row.event.item_id)
            found[key] = found.get(key, b"") + _bytes(row.event_id) + row.salt
    return found


def _bytes(event_id: str) -> bytes:
    return bytes.fromhex(event_id.replace("-", ""))


def _hex(value: bytes | None) -> str | None:
    return None if value is None else f"\\x{value.hex()}"


def _copy(
    cursor: DBAPICursor, table: str, columns: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> None:
    lines = ("\t".join(map(_field, row)) for row in rows)
    body = BytesIO("".join(f"{line}\n" for line in lines).encode())
    cursor.copy_expert(f"COPY {table} ({_columns(columns)}) FROM STDIN", body, size=1 << 20)


def _field(value: object) -> str:
    """A value in COPY's text format
    (https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2)."""
    if value is None:
        return r"\N"
    if isinstance(value, str):
        text = value
    elif isinstance(value, dict | list):
        # A foreign program's NaN becomes text: JSON has none.
        text = to_json(value, inf_nan_mode="strings").decode()
    else:
        return value.isoformat() if isinstance(value, datetime) else str(value)
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if text.isprintable():  # neither line feed nor carriage return nor tab: nothing more to escape
        return text
    return text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
