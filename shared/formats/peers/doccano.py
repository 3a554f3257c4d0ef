"""doccano: JSON Lines with `text` and `label`, of its projects for classification, sequence
labelling and sequence to sequence. What it has no field for, it keeps as an example's metadata.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from shared.answers.base import Kind
from shared.formats.example import Example, Found, Json, Reading, Unreadable
from shared.formats.json_lines import line
from shared.formats.peers.records import labelled, labels_of, objects, one, span, texts

SAYS: frozenset[Kind] = frozenset({"label", "labels", "spans", "text"})
RECORD = "line"
# Of answers, and what it keeps of its own.
_PASSED = ("label", "labels", "entities", "relations", "prediction", "Comments", "comments")


def write(examples: Iterable[Example]) -> Iterator[str]:
    """The file line by line."""
    for example in examples:
        record = dict(example.item)
        if example.answer is not None:
            record["label"] = _said(example.kind, example.answer)
        if example.prediction is not None:
            record["prediction"] = example.prediction
        yield line(record)


def read(content: bytes, reading: Reading) -> Iterator[Found]:
    """The examples of a file."""
    for number, record in objects(content):
        try:
            if isinstance(record, Unreadable):
                raise record
            item, others = reading.item_in(record, _PASSED)
            answer = _answer(record, reading.kind)
        except Unreadable as error:
            yield Found(number, None, str(error))
        else:
            if isinstance(item.get("id"), int):  # it numbers them itself
                item["id"] = str(item["id"])
            example = Example(reading.kind, item, record.get("prediction"), answer)
            yield Found(number, example, None, others)


def _said(kind: Kind, answer: Json) -> list[Any]:
    match kind:
        case "spans":
            return [[each["start"], each["end"], each["label"]] for each in answer["spans"]]
        case "text":
            return [answer["text"]]
        case _:
            return labels_of(kind, answer)


def _answer(record: Json, kind: Kind) -> Json | None:
    if record.get("relations"):
        raise Unreadable(f"relations: no part of a {kind} answer")
    field = next((name for name in ("label", "labels", "entities") if name in record), None)
    if field is None:
        return None
    value = record[field]
    if kind == "spans":
        if not isinstance(value, list):
            raise Unreadable(f"{field}: must be a list of [start, end, label]")
        return {"spans": [_span(each, f"{field}[{place}]") for place, each in enumerate(value)]}
    found = texts(value, field)
    if not found and kind != "labels":
        return None
    return {"text": one(found, field)} if kind == "text" else labelled(kind, found, field)


def _span(value: Any, field: str) -> Json:
    if isinstance(value, dict):
        return span(value.get("start_offset"), value.get("end_offset"), value.get("label"), field)
    if not isinstance(value, list) or len(value) != 3:
        raise Unreadable(f"{field}: must be [start, end, label]")
    start, end, label = value
    return span(start, end, label, field)
