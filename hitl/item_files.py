"""Which items are in this file?

Every format ends up as the body that a producer sends, so that a file is held to the same rules.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from shared.errors import ConfigurationError

Format = Literal["csv", "jsonl", "txt"]


class Line(NamedTuple):
    """An item's JSON body, or why there is none, and the line of the file where it ends."""

    number: int
    body: bytes
    problem: str | None = None


def format_of(name: str, first_line: bytes) -> Format:
    """By the name's ending; standard input by its first line, as JSON begins with a brace.

    Raises:
        ConfigurationError: the ending says nothing.
    """
    for ending in ("csv", "jsonl", "txt"):
        if name.lower().endswith(f".{ending}"):
            return ending
    if name == "-":
        return "jsonl" if first_line.lstrip().startswith(b"{") else "txt"
    raise ConfigurationError(f"{name}: is it csv, jsonl or txt? Say so with --format")


def read_lines(
    lines: Iterable[bytes], kind: Format, *, text_column: str, id_column: str
) -> Iterator[Line]:
    """The items of a file, in order; blank lines are nobody's item.

    Raises:
        ConfigurationError: a CSV file has no column of that name.
    """
    if kind == "csv":
        yield from _csv(lines, text_column, id_column)
        return
    for number, raw in enumerate(lines, start=1):
        content = raw.strip().removeprefix(b"\xef\xbb\xbf")  # some editors begin with a BOM
        if content:
            yield (
                Line(number, content)
                if kind == "jsonl"
                else _body(number, {"text": _text(content)})
            )


def _csv(lines: Iterable[bytes], text_column: str, id_column: str) -> Iterator[Line]:
    """Columns other than the text and the id are metadata; empty cells are left out."""
    csv.field_size_limit(1 << 27)  # how long a text may be is decided elsewhere
    rows = csv.reader(map(_text, lines))
    header = [name.strip().removeprefix("\ufeff") for name in next(rows, [])]
    if text_column not in header:
        raise ConfigurationError(
            f"no column {text_column!r} among {', '.join(header) or 'none'}: use --text-column"
        )
    for row in rows:
        if not row:
            continue
        if len(row) != len(header):
            problem = f"{len(row)} cells where the header has {len(header)}"
            yield Line(rows.line_num, b"", problem)
            continue
        cells = dict(zip(header, row, strict=True))
        item: dict[str, object] = {"text": cells.pop(text_column)}
        item_id = cells.pop(id_column, "")
        if item_id:
            item["id"] = item_id
        metadata = {name: cell for name, cell in cells.items() if cell}
        if metadata:
            item["metadata"] = metadata
        yield _body(rows.line_num, item)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _body(number: int, item: dict[str, object]) -> Line:
    """Bytes that were no UTF-8 go out as they came in: whoever reads the body will say so."""
    whole = json.dumps(item, ensure_ascii=False)
    return Line(number, whole.encode("utf-8", "surrogateescape"))
