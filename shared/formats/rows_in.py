"""Reads rows of labelled texts: CSV, JSON Lines, Parquet, a dataset's folder, other tools' files.

Rows of our own exports come with the names that all readers know (exported.py), and without those
of items whose text was erased, which is said.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from shared.errors import ConfigurationError
from shared.formats.csv_rows import NotATable, Table
from shared.formats.exported import is_exported, item_of, of_csv
from shared.formats.json_lines import lines_of, whole_lines
from shared.formats.peers.answered_rows import format_in, rows_in
from shared.formats.strict_json import refuse_unclear

logger = logging.getLogger(__name__)
Row = dict[str, object]


def read_rows(path: Path) -> list[Row]:
    """The rows of a .csv, .jsonl or .parquet file, or of all .parquet files in a folder.

    Raises:
        ConfigurationError: it cannot be read as one.
    """
    found: list[Row] = []
    erased = 0
    try:
        for row in rows_of(path):
            if not is_exported(row):
                found.append(row)
            elif "text" in (item := item_of(row)):
                found.append(item)
            elif "input_text" in row or "text" in row:
                erased += 1
            else:
                raise ValueError("an export without texts: take `hitl export labels`")
    except (OSError, ValueError, NotATable) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if erased:
        logger.warning("%s: skipping %d items whose text was erased", path, erased)
    return found


def rows_of(path: Path) -> Iterator[Row]:
    """The rows as they stand there.

    Raises:
        OSError, ValueError, NotATable: it cannot be read any further.
    """
    if path.is_dir():
        for part in sorted(path.rglob("*.parquet")):
            yield from parquet_rows(part)
    elif path.suffix.lower() == ".parquet":
        yield from parquet_rows(path)
    elif path.suffix.lower() == ".csv":
        yield from _csv(path)
    elif form := format_in(path.name, content := path.read_bytes()):
        yield from rows_in(content, form)
    else:
        for line in whole_lines(lines_of(content), str(path)):
            row = json.loads(line.content)
            refuse_unclear(line.content)
            if not isinstance(row, dict):
                raise ValueError("every line must be a JSON object")
            yield row


def _csv(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        table = Table(file)
        ours = is_exported(table.columns)
        for row in table:
            if row.problem is not None:
                raise NotATable(f"line {row.number}: {row.problem}")
            for cell in row.cells.values():
                cell.encode()  # ValueError where it was no UTF-8
            yield dict.fromkeys(row.cells) | of_csv(row.cells) if ours else dict(row.cells)


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of a Parquet file, whatever it is called.

    Raises:
        OSError, ValueError: it is none.
    """
    import pyarrow.parquet as pq  # heavy, and only this format needs it

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()
