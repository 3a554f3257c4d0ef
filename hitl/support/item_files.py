"""Reads items from a file: CSV, JSON Lines or plain text.

Every line becomes the body that a producer sends, so that the same rules apply: in all formats,
fields that are neither the text nor the id nor `metadata` are added to the metadata. Of one of our
exports, only the original item is read.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from shared.errors import ConfigurationError
from shared.formats.csv_rows import NotATable, Table
from shared.formats.exported import exported_line, is_exported, item_of, of_csv
from shared.formats.json_lines import numbered
from shared.formats.strict_json import Unclear, refuse_unclear

Format = Literal["csv", "jsonl", "txt"]


class Line(NamedTuple):
    """An item's JSON body, or why there is none, and the number of its last line in the file;
    `others` are the columns or fields that became metadata."""

    number: int
    body: bytes
    problem: str | None = None
    others: Sequence[str] = ()


def format_of(name: str, first_line: bytes) -> Format:
    """By the name's ending; standard input by its first line, as JSON begins with a brace.

    Raises:
        ConfigurationError: the ending is none of these.
    """
    for ending in ("csv", "jsonl", "txt"):
        if name.lower().endswith(f".{ending}"):
            return ending
    if name == "-":
        return "jsonl" if first_line.lstrip().startswith(b"{") else "txt"
    raise ConfigurationError(f"{name}: unknown format; use --format csv, jsonl or txt")


def read_lines(
    lines: Iterable[bytes], kind: Format, *, text_column: str, id_column: str
) -> Iterator[Line]:
    """The items of a file, in order; blank lines are skipped.

    Raises:
        ConfigurationError: a CSV file has no such column, or is malformed.
    """
    if kind == "csv":
        try:
            yield from _csv(lines, text_column, id_column)
        except NotATable as error:
            raise ConfigurationError(str(error)) from None
        return
    for number, content in numbered(lines):
        if kind == "txt":
            yield _body(number, {"text": content.decode("utf-8", "surrogateescape")})
        else:
            yield _json(number, content, text_column, id_column)


def _csv(lines: Iterable[bytes], text_column: str, id_column: str) -> Iterator[Line]:
    """Empty cells are left out."""
    table = Table(lines)
    ours = is_exported(table.columns)
    if text_column not in table.columns and not ours:
        raise ConfigurationError(
            f"no column {text_column!r} among {', '.join(table.columns) or 'none'}: "
            "use --text-column"
        )
    others = [name for name in table.columns if name not in (text_column, id_column)]
    for row in table:
        if row.problem is not None:
            yield Line(row.number, b"", row.problem)
            continue
        if ours:
            yield _exported(row.number, of_csv(row.cells))
            continue
        item: dict[str, object] = {"text": row.cells[text_column]}
        if row.cells.get(id_column):
            item["id"] = row.cells[id_column]
        metadata = {name: row.cells[name] for name in others if row.cells[name]}
        if metadata:
            item["metadata"] = metadata
        yield _body(row.number, item, tuple(metadata))


def _exported(number: int, row: Mapping[str, object]) -> Line:
    try:
        found = item_of(row)
    except ValueError as error:
        return Line(number, b"", f"metadata: {error}")
    if "text" not in found:
        return Line(number, b"", "an exported row without a text, which was erased or never stored")
    return _body(
        number, {name: found[name] for name in ("id", "text", "metadata") if name in found}
    )


def _json(number: int, content: bytes, text_column: str, id_column: str) -> Line:
    """The line unchanged, where it has no other fields than an item's, or is invalid: whoever
    validates the body refuses it."""
    exported = exported_line(content)
    if exported is not None:
        return _exported(number, exported)
    try:
        refuse_unclear(content)
        given = json.loads(content)
    except Unclear as error:
        return Line(number, b"", str(error))
    except (ValueError, RecursionError):
        return Line(number, content)
    if not isinstance(given, dict):
        return Line(number, content)
    named = {text_column: "text", id_column: "id", "metadata": "metadata"}
    others = {name: value for name, value in given.items() if name not in named}
    if not others and (text_column, id_column) == ("text", "id"):
        return Line(number, content)
    item = {named[name]: value for name, value in given.items() if name in named}
    if others:
        metadata = item.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            return Line(number, content)
        both = sorted(others.keys() & (metadata or {}).keys())
        if both:
            return Line(number, b"", f"{', '.join(both)}: both in the line and in its metadata")
        item["metadata"] = {**(metadata or {}), **others}
    # Escaped: a lone surrogate is refused by whoever validates the body.
    return Line(number, json.dumps(item).encode(), None, tuple(others))


def _body(number: int, item: dict[str, Any], others: Sequence[str] = ()) -> Line:
    """Bytes that are not UTF-8 stay as they are: whoever validates the body refuses them."""
    whole = json.dumps(item, ensure_ascii=False)
    return Line(number, whole.encode("utf-8", "surrogateescape"), None, others)
