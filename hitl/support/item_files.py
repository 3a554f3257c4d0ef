"""Reads items from a file: rows (CSV, JSON Lines, Parquet), plain text, or another tool's format.

Every record becomes the body that a producer sends, so that the same rules apply: in all formats,
fields that are none of an item's are added to the metadata. Of one of our exports the original item
is read, with what was predicted.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, assert_never, get_args

from shared.answers.base import PLAIN, AnswerSpec
from shared.errors import ConfigurationError
from shared.formats.csv_rows import NotATable, Table
from shared.formats.example import ITEM_FIELDS, Example, Reading, Unreadable
from shared.formats.exported import example_of, exported_line, is_exported, of_csv
from shared.formats.json_lines import line, numbered
from shared.formats.peers.registry import PEERS, PeerFormat
from shared.formats.rows_in import parquet_rows, rows_of
from shared.formats.rows_out import plain
from shared.formats.strict_json import Unclear, refuse_unclear

Format = Literal[
    "csv", "jsonl", "txt", "parquet", "hf", "label-studio", "doccano", "prodigy", "conll"
]
PLAIN_FIELDS = ("id", "text", "metadata")
OBJECT_FIELDS = ("candidates", "action", "prediction")
_ENDINGS: tuple[Format, ...] = ("csv", "jsonl", "txt", "parquet", "conll")


class Line(NamedTuple):
    """An item's JSON body, or why there is none, and the number of its last line in the file (or of
    its record: `what`); `others` are the columns or fields that became metadata, `unsent` names
    what else the record holds."""

    number: int
    body: bytes
    problem: str | None = None
    others: Sequence[str] = ()
    unsent: Sequence[str] = ()
    what: str = "line"


@dataclass(frozen=True)
class Wanted:
    """What a workflow that asks for `spec` takes of a record. `answers_as`: the model version under
    which people's answers go as predictions."""

    spec: AnswerSpec = PLAIN
    text_column: str = "text"
    id_column: str = "id"
    answers_as: str | None = None

    @cached_property
    def given(self) -> Reading:
        """How rows are read that are a producer's."""
        reading = self.reading
        more = () if self.spec.plain else ("prediction",)
        return replace(reading, fields=(*reading.fields, *more))

    @cached_property
    def reading(self) -> Reading:
        """How other tools' records are read."""
        fields = PLAIN_FIELDS if self.spec.plain else ITEM_FIELDS
        return Reading(self.spec.kind, self.text_column, self.id_column, fields)


def format_of(name: str, first_line: bytes) -> Format:
    """By the name's ending; a folder is a dataset's; standard input by its first line, as JSON
    begins with a brace.

    Raises:
        ConfigurationError: the ending is none of these.
    """
    for ending in _ENDINGS:
        if name.lower().endswith(f".{ending}"):
            return ending
    if Path(name).is_dir():
        return "hf"
    if name == "-":
        return "jsonl" if first_line.lstrip().startswith(b"{") else "txt"
    raise ConfigurationError(f"{name}: unknown format; use --format {', '.join(get_args(Format))}")


def read_folder(path: Path, wanted: Wanted) -> Iterator[Line]:
    """The items of a Parquet file, or of those in a dataset's folder.

    Raises:
        ConfigurationError: it cannot be read as one.
    """
    try:
        rows = rows_of(path) if path.is_dir() else parquet_rows(path)
        for number, row in enumerate(rows, start=1):
            if is_exported(row):
                yield _exported(number, row, wanted)._replace(what="row")
                continue
            given = {name: value for name, value in row.items() if value is not None}
            try:
                yield _json(number, line(given, default=plain).encode(), wanted)._replace(
                    what="row"
                )
            except TypeError as error:
                yield Line(number, b"", str(error), what="row")
    except (OSError, ValueError, NotATable) as error:
        raise ConfigurationError(f"{path}: {error}") from None


def read_lines(lines: Iterable[bytes], kind: Format, wanted: Wanted) -> Iterator[Line]:
    """The items of a file that is no Parquet, in order; blank lines are skipped.

    Raises:
        ConfigurationError: a CSV file has no such column, or a file is malformed.
    """
    match kind:
        case "csv":
            try:
                yield from _csv(lines, wanted)
            except NotATable as error:
                raise ConfigurationError(str(error)) from None
        case "txt":
            for number, content in numbered(lines):
                yield _body(number, {"text": content.decode("utf-8", "surrogateescape")})
        case "jsonl":
            for number, content in numbered(lines):
                yield _json(number, content, wanted)
        case "label-studio" | "doccano" | "prodigy" | "conll":
            yield from _of_peer(lines, kind, wanted)
        case "parquet" | "hf":
            raise ConfigurationError(f"{kind} cannot come through a pipe: name the file or folder")
        case unreachable:
            assert_never(unreachable)


def _of_peer(lines: Iterable[bytes], form: PeerFormat, wanted: Wanted) -> Iterator[Line]:
    peer = PEERS[form]
    if wanted.spec.kind not in peer.says:
        raise ConfigurationError(f"{form} has no words for a {wanted.spec.kind} answer")
    try:
        for found in peer.read(b"".join(lines), wanted.reading):
            if found.example is None:
                yield Line(found.number, b"", found.problem, what=peer.record)
            else:
                read = _sent(found.number, found.example, wanted, found.others)
                yield read._replace(what=peer.record)
    except Unreadable as error:
        raise ConfigurationError(str(error)) from None


def _sent(number: int, example: Example, wanted: Wanted, others: Sequence[str] = ()) -> Line:
    """The item, with what is predicted where the workflow uses that."""
    same = example.kind == wanted.spec.kind
    body = {name: example.item[name] for name in wanted.reading.fields if name in example.item}
    unsent = []
    prediction, answer = example.prediction, example.answer
    if answer is not None and same and wanted.answers_as is not None:
        prediction = {"answer": answer, "confidence": 1.0, "model_version": wanted.answers_as}
    elif answer is not None:
        unsent.append("answers")
    if prediction is not None and same and wanted.spec.predictions:
        body["prediction"] = prediction
    elif prediction is not None:
        unsent.append("predictions")
    return _body(number, body, others)._replace(unsent=unsent)


def _csv(lines: Iterable[bytes], wanted: Wanted) -> Iterator[Line]:
    """Empty cells are left out."""
    table = Table(lines)
    text_column = wanted.text_column
    ours = is_exported(table.columns)
    if text_column not in table.columns and not ours:
        raise ConfigurationError(
            f"no column {text_column!r} among {', '.join(table.columns) or 'none'}: "
            "use --text-column"
        )
    objects = () if wanted.spec.plain else OBJECT_FIELDS
    reading = wanted.given
    reading = replace(reading, fields=tuple(f for f in reading.fields if f != "metadata"))
    for row in table:
        if row.problem is not None:
            yield Line(row.number, b"", row.problem)
            continue
        if ours:
            yield _exported(row.number, of_csv(row.cells), wanted)
            continue
        given: dict[str, Any] = {name: cell for name, cell in row.cells.items() if cell}
        given.setdefault(text_column, "")
        try:
            given |= {name: json.loads(given[name]) for name in objects if name in given}
            item, others = reading.item_in(given)
        except ValueError as error:
            yield Line(row.number, b"", f"{', '.join(objects)}: no JSON: {error}")
        except Unreadable as error:
            yield Line(row.number, b"", str(error))
        else:
            yield _body(row.number, item, others)


def _exported(number: int, row: Mapping[str, object], wanted: Wanted) -> Line:
    try:
        found = example_of(row)
    except ValueError as error:
        return Line(number, b"", f"metadata: {error}")
    if found is None:
        return Line(number, b"", "an exported row without a text, which was erased or never stored")
    return _sent(number, found, wanted)


def _json(number: int, content: bytes, wanted: Wanted) -> Line:
    """The line unchanged, where it has no other fields than an item's, or is invalid: whoever
    validates the body refuses it."""
    exported = exported_line(content)
    if exported is not None:
        return _exported(number, exported, wanted)
    try:
        refuse_unclear(content)
        given = json.loads(content)
    except Unclear as error:
        return Line(number, b"", str(error))
    except (ValueError, RecursionError):
        return Line(number, content)
    if not isinstance(given, dict):
        return Line(number, content)
    try:
        item, others = wanted.given.item_in(given)
    except Unreadable as error:
        return Line(number, b"", str(error))
    if item == given:
        return Line(number, content)
    # Escaped: a lone surrogate is refused by whoever validates the body.
    return Line(number, json.dumps(item).encode(), None, others)


def _body(number: int, item: dict[str, Any], others: Sequence[str] = ()) -> Line:
    """Bytes that are not UTF-8 stay as they are: whoever validates the body refuses them."""
    whole = json.dumps(item, ensure_ascii=False)
    return Line(number, whole.encode("utf-8", "surrogateescape"), None, others)
