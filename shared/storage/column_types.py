"""The Python types of a result's columns, as Postgres says them."""

from datetime import datetime
from typing import Any

from psycopg2.extensions import BOOLEAN, FLOAT, INTEGER, LONGINTEGER, PYDATETIMETZ
from sqlalchemy import CursorResult

_TYPES: dict[object, type] = {
    code: kind
    for named, kind in (
        (BOOLEAN, bool),
        (INTEGER, int),
        (LONGINTEGER, int),
        (FLOAT, float),
        (PYDATETIMETZ, datetime),
    )
    for code in named.values
}


def column_types(found: CursorResult[Any]) -> dict[str, type]:
    """By name; `str` for whatever leaves as a text: JSON, ids, enumerations."""
    if found.cursor is None:
        raise ValueError("the result has been closed, or has no rows")
    return {column[0]: _TYPES.get(column[1], str) for column in found.cursor.description}
