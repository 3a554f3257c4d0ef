"""Which items are in this file?

Every format ends up as the body that a producer sends, so that a file is held to the same rules.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from shared.errors import ConfigurationError
from shared.exported import exported_line, is_exported, item_of, of_csv

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
                _of_json(number, content)
                if kind == "jsonl"
                else _body(number, {"text": _text(content)})
            )


def _of_json(number: int, content: bytes) -> Line:
    """The line as it is; of one of our exports the item in it."""
    row = exported_line(content)
    return Line(number, content) if row is None else _exported(number, row)


def _exported(number: int, row: Mapping[str, object]) -> Line:
    try:
        found = item_of(row)
    except ValueError as error:
        return Line(number, b"", f"metadata: {error}")
    if "text" not in found:
        return Line(number, b"", "an exported row without a text: it was erased, or never there")
    return _body(
        number, {name: found[name] for name in ("id", "text", "metadata") if name in found}
    )


def _csv(lines: Iterable[bytes], text_column: str, id_column: str) -> Iterator[Line]:
    """Columns other than the text and the id are metadata; empty cells are left out. Of one of our
    exports it is the item alone, as it was."""
    csv.field_size_limit(1 << 27)  # how long a text may be is decided elsewhere
    rows = csv.reader(map(_text, lines))
    header = [name.strip().removeprefix("\ufeff") for name in next(rows, [])]
    ours = is_exported(header)
    if text_column not in header and not ours:
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
        if ours:
            yield _exported(rows.line_num, of_csv(cells))
            continue
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
