"""Streams rows as Parquet, which is written in row groups and ends with its own index.

Rows are gathered until a row group is worth writing; its bytes leave at once, so what is held is
one row group and, for each one written, a few hundred bytes for the index.
"""

import io
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 20_000
GROUP_BYTES = 8_000_000  # whichever comes first: texts differ in length by a factor of a thousand

_TYPES = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def pieces(
    columns: Mapping[str, type], batches: Iterable[Sequence[Sequence[Any]]]
) -> Generator[bytes]:
    """The batches as one Parquet file, a row group a piece. Objects are JSON texts, times UTC."""
    kinds = pa.schema([(name, _TYPES.get(kind, pa.string())) for name, kind in columns.items()])
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


class _Pieces(io.RawIOBase):
    """What a writer takes for a file: keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self._place = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._written.append(piece)
        self._place += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._place

    def take(self) -> bytes:
        taken, self._written = b"".join(self._written), []
        return taken


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
