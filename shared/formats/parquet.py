"""How do rows leave as Parquet, which is written in row groups and ends with its own index?

Rows are gathered until a row group is worth writing; its bytes leave at once, so what is held is
one row group and, for each one written, a few hundred bytes for the index.
"""

import json
from collections.abc import Generator, Iterable, Sequence
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 20_000
GROUP_BYTES = 8_000_000  # whichever comes first: texts differ in length by a factor of a thousand

# Columns are known by their names, which mean the same in every export.
_INTEGERS = frozenset({"number", "revision", "seq", "version"})
_FLOATS = frozenset(
    {"confidence", "ai_confidence", "threshold", "panel_u", "panel_rate", "seconds", "idle_seconds"}
)
_BOOLEANS = frozenset({"ai_label_shown", "effective", "on_panel"})


def schema(columns: Sequence[str]) -> Any:
    """The Arrow types of an export's columns; objects are JSON texts, times are UTC."""
    return pa.schema([(name, _type(name)) for name in columns])


def pieces(columns: Sequence[str], batches: Iterable[Sequence[Sequence[Any]]]) -> Generator[bytes]:
    """The batches as one Parquet file, a row group a piece."""
    kinds = schema(columns)
    out = _Pieces()
    held: list[Any] = []
    with pq.ParquetWriter(pa.PythonFile(out, "w"), kinds, compression="zstd") as writer:
        for batch in batches:
            held.append(_arrow(batch, kinds))
            rows, size = sum(part.num_rows for part in held), sum(part.nbytes for part in held)
            if rows >= GROUP_ROWS or size >= GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(held), row_group_size=rows)
                held = []
                yield out.take()
        if held:
            writer.write_table(pa.Table.from_batches(held))
    yield out.take()


class _Pieces:
    """What a writer takes for a file: keeps what is written until it is taken."""

    closed = False

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self._place = 0

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._written.append(piece)
        self._place += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        """Nothing is kept from the reader."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        taken, self._written = b"".join(self._written), []
        return taken


def _type(column: str) -> Any:
    if column.endswith("_at"):
        return pa.timestamp("us", tz="UTC")
    if column in _INTEGERS:
        return pa.int64()
    if column in _FLOATS:
        return pa.float64()
    return pa.bool_() if column in _BOOLEANS else pa.string()


def _arrow(batch: Sequence[Sequence[Any]], kinds: Any) -> Any:
    columns = zip(*batch, strict=True)
    arrays = [
        pa.array([_plain(value) for value in column], kind.type)
        for column, kind in zip(columns, kinds, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=kinds)


def _plain(value: object) -> object:
    match value:
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case UUID():
            return str(value)
        case _:
            return value
