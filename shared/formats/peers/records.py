"""What the readers of records in JSON have in common: their checks, and labels of a kind."""

import json
from collections.abc import Iterator
from typing import Any

from shared.answers.base import Kind
from shared.formats.example import Json, Unreadable
from shared.formats.json_lines import numbered
from shared.formats.strict_json import Unclear, refuse_unclear


def objects(content: bytes) -> Iterator[tuple[int, Json | Unreadable]]:
    """The objects of JSON Lines by number, or what is wrong with a line."""
    for number, line in numbered(content.split(b"\n")):
        try:
            refuse_unclear(line)
            record = json.loads(line)
        except (Unclear, RecursionError) as error:
            yield number, Unreadable(str(error) or "nested too deeply")
        except ValueError as error:
            yield number, Unreadable(f"no JSON: {error}")
        else:
            whole = isinstance(record, dict)
            yield number, record if whole else Unreadable("must be a JSON object")


def texts(value: Any, field: str) -> list[str]:
    """A list of texts; a text alone is one."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise Unreadable(f"{field}: must be a list of texts")
    return value


def one(values: list[str], field: str) -> str:
    """The only one of a list."""
    if len(values) != 1:
        raise Unreadable(f"{field}: {len(values)} values where one is asked for")
    return values[0]


def whole_number(value: Any, field: str) -> int:
    """A number without a fraction."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unreadable(f"{field}: must be a whole number")
    return value


def labelled(kind: Kind, labels: list[str], field: str) -> Json:
    """The answer that a list of labels is."""
    return {"labels": labels} if kind == "labels" else {"label": one(labels, field)}


def labels_of(kind: Kind, answer: Json) -> list[str]:
    """The labels of an answer of kind label or labels."""
    return list(answer["labels"]) if kind == "labels" else [answer["label"]]


def span(start: Any, end: Any, label: Any, field: str) -> Json:
    """A span of ours."""
    if not isinstance(label, str):
        raise Unreadable(f"{field}: its label must be a text")
    where = whole_number(start, f"{field}.start"), whole_number(end, f"{field}.end")
    return {"start": where[0], "end": where[1], "label": label}
