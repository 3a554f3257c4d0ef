"""How do rows become a file: CSV, JSON Lines or Parquet, written as the rows come?"""

import csv
import io
import json
from collections.abc import Callable, Generator, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, assert_never
from uuid import UUID

Format = Literal["csv", "jsonl", "parquet"]
BATCH_ROWS = 1_000
# A cell that begins so is a formula to spreadsheet programs (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def written(
    columns: Sequence[str], batches: Iterable[Sequence[Sequence[Any]]], form: Format
) -> Generator[bytes]:
    """The file's bytes: a batch a piece, of Parquet some ten thousand rows."""
    match form:
        case "csv":
            yield csv_lines([columns], lambda cell: str(cell))
            yield from (csv_lines(batch, csv_cell) for batch in batches)
        case "jsonl":
            yield from (json_lines(columns, batch) for batch in batches)
        case "parquet":
            from shared import rows_parquet  # pyarrow: heavy, and only this format needs it

            yield from rows_parquet.pieces(columns, batches)
        case unreachable:
            assert_never(unreachable)


def csv_lines(batch: Sequence[Sequence[Any]], cell: Callable[[Any], str]) -> bytes:
    """The rows as CSV (RFC 4180)."""
    out = io.StringIO()
    csv.writer(out).writerows([cell(value) for value in row] for row in batch)
    return out.getvalue().encode()


def csv_cell(value: object) -> str:
    """One value as a spreadsheet may read it: texts that a spreadsheet would take for a formula get
    an apostrophe in front; NULL is empty; objects are JSON."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
        case datetime():
            return value.isoformat()
        case _:
            return str(value)


def json_lines(columns: Sequence[str], batch: Sequence[Sequence[Any]]) -> bytes:
    """The rows as JSON Lines, texts exactly as they are."""
    lines = (
        json.dumps(dict(zip(columns, row, strict=True)), default=_plain, ensure_ascii=False)
        for row in batch
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")
