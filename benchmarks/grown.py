"""How do tables of millions of rows come to be in minutes? Indexes are made at the end.

The rows are those of items that were accepted: one of `event` and one of `item` each, with random
ids.
"""

from contextlib import closing

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor

TABLES = ("event", "item")
_PART = 1_000_000  # rows a statement
_SESSION = """
    SET synchronous_commit = off;
    SET maintenance_work_mem = '1GB';
    SET timezone = 'UTC'
"""
_KEYS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid::regclass::text = ANY(%s) AND contype IN ('p', 'u')
"""
_INDEXES = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid::regclass::text = ANY(%s)
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""
_FILL = """
    WITH old AS MATERIALIZED (
        SELECT gen_random_uuid()::text AS id, now() - (%(rows)s - n) * '1 ms'::interval AS at
        FROM generate_series(%(first)s, %(last)s) AS n
    ), items AS (
        INSERT INTO item (workflow, id, text, metadata, ai_label, confidence, distribution, status,
                          progress, status_at, final_label, received_at, routed_at, updated_at)
        SELECT 'sentiment', id, repeat('A quiet film. ', 10), '{}', 'positive', 0.97,
               '{"negative": 0.03, "positive": 0.97}', 'AI_ACCEPTED', 21, at, 'positive', at, at, at
        FROM old
    )
    INSERT INTO event (event_id, type, version, workflow, item_id, occurred_at, recorded_at, source,
                       data)
    SELECT gen_random_uuid(), 'item.accepted', 1, 'sentiment', id, at, at, '/hitl/router',
           '{"decision": {"label": "positive", "confidence": 0.97}}'
    FROM old
"""


def fill(url: str, rows: int) -> None:
    """So many rows in each table, with statistics for the planner, all of it on the disk."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(_SESSION)
            again = _without_indexes(cursor)
            for first in range(1, rows + 1, _PART):
                last = min(first + _PART - 1, rows)
                cursor.execute(_FILL, {"rows": rows, "first": first, "last": last})
            for statement in again:
                cursor.execute(statement)
            cursor.execute("VACUUM ANALYZE event, item")
            cursor.execute("CHECKPOINT")


def _without_indexes(cursor: cursor) -> list[str | sql.Composed]:
    """Drops them; the statements that make them again."""
    cursor.execute(_KEYS, (list(TABLES),))
    keys = cursor.fetchall()
    cursor.execute(_INDEXES, (list(TABLES),))
    indexes = cursor.fetchall()
    name = sql.Identifier
    for table, key, _ in keys:
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
        cursor.execute(drop.format(name(table), name(key)))
    for index, _ in indexes:
        cursor.execute(sql.SQL("DROP INDEX {}").format(name(index)))
    add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
    made = [add.format(name(table), name(key), sql.SQL(what)) for table, key, what in keys]
    return [*made, *(definition for _, definition in indexes)]
