"""Streams rows as CSV, JSON Lines or Parquet, written as the rows come."""

import csv
import io
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, assert_never
from uuid import UUID

from shared.formats.json_lines import line

Format = Literal["csv", "jsonl", "parquet"]
BATCH_ROWS = 1_000
# A cell that begins so is a formula to spreadsheet programs (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def written(
    columns: Mapping[str, type], batches: Iterable[Sequence[Sequence[Any]]], form: Format
) -> Generator[bytes]:
    """The file's bytes: a batch a piece, of Parquet some ten thousand rows. `columns` are the names
    and the types of their values (shared/storage/column_types.py), which Parquet writes down."""
    match form:
        case "csv":
            yield csv_lines([tuple(columns)])
            yield from map(csv_lines, batches)
        case "jsonl":
            yield from (json_lines(tuple(columns), batch) for batch in batches)
        case "parquet":
            from shared.formats.parquet import pieces  # pyarrow: heavy, and only this needs it

            yield from pieces(columns, batches)
        case unreachable:
            assert_never(unreachable)


def csv_lines(batch: Sequence[Sequence[Any]]) -> bytes:
    """The rows as CSV (RFC 4180)."""
    out = io.StringIO()
    csv.writer(out).writerows(map(csv_cell, row) for row in batch)
    return out.getvalue().encode()


def csv_cell(value: object) -> str:
    """One value as a spreadsheet may read it: texts that a spreadsheet would take for a formula get
    an apostrophe in front (`csv_text` takes it off again); NULL is empty; objects are JSON."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case str():
            return f"'{value}" if _is_formula(value) else value
        case datetime():
            return moment(value)
        case _:
            return str(value)


def csv_text(cell: str) -> str:
    """The text that `csv_cell` made this cell of."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell) else cell


def _is_formula(text: str) -> bool:
    """Apostrophes in front are looked through: what is disarmed already is disarmed once more, so
    that no two texts become the same cell."""
    return text.lstrip("'").startswith(_FORMULA)


def moment(time: datetime) -> str:
    """ISO 8601 in UTC, always with six digits of a second: readers take the form of a whole column
    from its first rows."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def json_lines(columns: Sequence[str], batch: Sequence[Sequence[Any]]) -> bytes:
    """The rows as JSON Lines, texts exactly as they are."""
    lines = (line(dict(zip(columns, row, strict=True)), default=plain) for row in batch)
    return "".join(lines).encode()


def plain(value: object) -> str:
    """A time or an id as JSON has it.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")
