"""Prodigy: JSON Lines of tasks, as its interfaces `choice`, `ner_manual` and `text_input` take and
give them. Fields that it does not know it keeps.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from shared.answers.base import Kind
from shared.formats.example import Example, Found, Json, Reading, Unreadable
from shared.formats.json_lines import line
from shared.formats.peers.records import (
    labelled,
    labels_of,
    objects,
    one,
    span,
    texts,
    whole_number,
)

SAYS: frozenset[Kind] = frozenset({"label", "labels", "spans", "text", "preference"})
RECORD = "line"
_TYPED = "user_input"
# Of answers, and what it keeps of its own.
_PASSED = ("meta", "prediction", "options", "accept", "label", "spans", "relations", "tokens",
           "answer", "config", "field_id", "field_label", "field_placeholder", "field_rows",
           _TYPED)  # fmt: skip


def write(examples: Iterable[Example]) -> Iterator[str]:
    """The file line by line."""
    for example in examples:
        item = example.item
        record = {name: value for name, value in item.items() if name != "metadata"}
        if "metadata" in item:
            record["meta"] = item["metadata"]
        if example.answer is not None:
            record |= _said(example.kind, example.answer, item) | {"answer": "accept"}
        if example.prediction is not None:
            record["prediction"] = example.prediction
        yield line(record)


def read(content: bytes, reading: Reading) -> Iterator[Found]:
    """The tasks of a file."""
    for number, record in objects(content):
        try:
            if isinstance(record, Unreadable):
                raise record
            own = [name for name in record if name.startswith("_")]
            item, others = reading.item_in(_with_metadata(record), (*_PASSED, *own))
            answer = _answer(record, reading.kind)
        except Unreadable as error:
            yield Found(number, None, str(error))
            continue
        yield Found(
            number, Example(reading.kind, item, record.get("prediction"), answer), None, others
        )


def _with_metadata(record: Json) -> Json:
    """Its `meta` is the metadata; which of two would be, nobody can know."""
    if "meta" not in record:
        return record
    if "metadata" in record:
        raise Unreadable("meta: is there beside metadata, and both are the metadata")
    return {name: value for name, value in record.items() if name != "meta"} | {
        "metadata": record["meta"]
    }


def _said(kind: Kind, answer: Json, item: Json) -> Json:
    match kind:
        case "spans":
            return {"spans": answer["spans"]}
        case "text":
            return {"field_id": _TYPED, _TYPED: answer["text"]}
        case "preference":
            options = [{"id": at, "text": text} for at, text in enumerate(item["candidates"])]
            place = answer["preferred"]
            return {"options": options, "accept": [] if place is None else [place]}
        case _:
            labels = labels_of(kind, answer)
            return {"options": [{"id": label, "text": label} for label in labels], "accept": labels}


def _answer(record: Json, kind: Kind) -> Json | None:
    if record.get("answer") != "accept":  # rejected or ignored: nothing was answered
        return None
    if record.get("relations"):
        raise Unreadable(f"relations: no part of a {kind} answer")
    match kind:
        case "spans":
            return None if "spans" not in record else {"spans": _spans(record["spans"])}
        case "text":
            field = record.get("field_id", _TYPED)
            found = record.get(field) if isinstance(field, str) else None
            return None if found is None else {"text": one(texts(found, field), field)}
        case "preference":
            return None if "accept" not in record else {"preferred": _place(record["accept"])}
        case _:
            given = record.get("accept", record.get("label"))
            return None if given is None else labelled(kind, texts(given, "accept"), "accept")


def _spans(value: Any) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Unreadable("spans: must be a list of objects")
    return [
        span(each.get("start"), each.get("end"), each.get("label"), f"spans[{place}]")
        for place, each in enumerate(value)
    ]


def _place(accepted: Any) -> int | None:
    if not isinstance(accepted, list) or len(accepted) > 1:
        raise Unreadable("accept: must be a list of one option, or none for a tie")
    return whole_number(accepted[0], "accept[0]") if accepted else None
