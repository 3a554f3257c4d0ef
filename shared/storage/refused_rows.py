"""Tells whether a row that Postgres refuses is at fault, or the table is of another release.

A refused value (a NUL, a date that Postgres has not) is the message's fault, and a dead letter. But
the same SQLSTATE comes of a column that was given another type, of a constraint that somebody
added, or of a schema that is half migrated; then every row is refused, and none of them may be set
aside. So the schema is asked before a message is blamed.
"""

from collections.abc import Callable, Collection
from functools import cache

from sqlalchemy import Connection, Engine, text
from sqlalchemy.dialects import postgresql

from shared.errors import Overloaded, Permanent
from shared.storage.database import (
    OTHER_SCHEMA_HINT,
    DatabaseError,
    asked_seldom,
    database_errors,
    is_bad_data,
    refusal,
    sqlstate,
)

_TRIGGERS_OF_OURS = "23001"  # what is append-only stays as it is, whoever asks
_COLUMNS = text("""
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type,
           a.attnotnull AND NOT (a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '')
               AS demanded
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.oid IN (SELECT to_regclass(quote_ident(name)) FROM unnest(CAST(:tables AS text[])) name)
      AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY 1, a.attnum
""")
_POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own
_TYPE = text("SELECT to_regtype(:type)::text")


def refused_row(engine: Engine, error: DatabaseError) -> Permanent:
    """Why the one row that was to be written is set aside, without a word of it.

    Raises:
        Overloaded: any row would be refused: hold them all, until somebody has mended the schema.
        DatabaseError: the error itself, where neither can be said.
    """
    if not is_bad_data(error):
        raise error
    blame_the_schema_first(engine, error)
    return Permanent("rejected_by_database", refusal(error))


def blame_the_schema_first(engine: Engine, error: DatabaseError) -> None:
    """Returns where the schema is as this release made it, so that the values are at fault.

    Raises:
        Overloaded: it is not, or a constraint refuses what this release may write.
    """
    with database_errors(), engine.connect() as connection:
        found = differences(connection)
    state = sqlstate(error) or ""
    if not found and state.startswith("23") and state != _TRIGGERS_OF_OURS:
        # What we write keeps every constraint of ours.
        found = ["a constraint is not part of this release's schema, or rejects what it writes"]
    if found:
        raise Overloaded(
            f"Postgres: {refusal(error)}: {'; '.join(found[:3])}: {OTHER_SCHEMA_HINT}"
        ) from error


def writable(engine: Engine, *tables: str) -> Callable[[], str | None]:
    """A check for a worker: None while Postgres answers and these tables are as this release writes
    them."""

    def differ(connection: Connection) -> str | None:
        found = differences(connection, tables)
        return f"Postgres: {'; '.join(found[:3])}: run `hitl prepare`" if found else None

    return asked_seldom(engine, differ)


def differences(connection: Connection, tables: Collection[str] = ()) -> list[str]:
    """In what these tables, or all, are not those that this release writes; constraints apart."""
    from shared.storage.tables import Base  # the ORM: slow to import, and needed only here

    names = list(tables or Base.metadata.tables)
    held: dict[str, dict[str, tuple[str, bool]]] = {name: {} for name in names}
    for table, column, kind, demanded in connection.execute(_COLUMNS, {"tables": names}):
        held[table][column] = (kind, demanded)

    @cache
    def type_of(written: str) -> str | None:
        named: str | None = connection.execute(_TYPE, {"type": written}).scalar()
        return named

    found: list[str] = []
    for name in names:
        there = held[name]
        for column in Base.metadata.tables[name].columns:
            wanted = type_of(column.type.compile(dialect=_POSTGRES))
            kind, _ = there.pop(column.name, (None, False))
            if kind != wanted:
                what = "missing" if kind is None else f"{kind}, not {wanted}"
                found.append(f"{name}.{column.name} is {what}")
        found += [
            f"{name}.{column} is NOT NULL and unknown to this release"
            for column, (_, demanded) in there.items()
            if demanded
        ]
    return found
