"""Answers as the regions of Label Studio's results, both ways.

Its offsets are code points, as ours are; releases before 1.5 counted UTF-16 units behind an emoji,
which shows in the `text` that every region repeats. The labelling configuration that shows each
kind is in docs/build/export.md.
"""

import json
from collections.abc import Callable
from typing import Any

from shared.answers.base import Kind
from shared.formats.example import Example, Json, Unreadable
from shared.formats.peers.records import labelled, labels_of, one, span, texts
from shared.formats.strict_json import refuse_unclear

TIE = "tie"
_SIDES = ("left", "right")
_VERDICTS = ("approve", "reject")


def regions(example: Example, answer: Json) -> list[Json]:
    """The regions that say an answer."""
    item = example.item
    match example.kind:
        case "label" | "labels":
            labels = labels_of(example.kind, answer)
            return [_result("label", "text", "choices", {"choices": labels})] if labels else []
        case "spans":
            return [
                _result(
                    "label",
                    "text",
                    "labels",
                    {
                        "start": each["start"],
                        "end": each["end"],
                        "text": item["text"][each["start"] : each["end"]],
                        "labels": [each["label"]],
                    },
                    str(place),
                )
                for place, each in enumerate(answer["spans"])
            ]
        case "form":
            return [_typed("form", json.dumps(answer["form"], ensure_ascii=False))]
        case "text":
            return [_typed("answer", answer["text"])]
        case "preference":
            return [_preferred(answer["preferred"], len(item["candidates"]))]
        case "approval":
            found = [_result("verdict", "text", "choices", {"choices": [answer["verdict"]]})]
            if answer.get("arguments") is not None:
                arguments = json.dumps(answer["arguments"], ensure_ascii=False)
                found.append(_typed("arguments", arguments))
            if answer.get("reply") is not None:
                found.append(_typed("reply", answer["reply"]))
            return found


def _result(name: str, of: str, kind: str, value: Json, region: str = "0") -> Json:
    return {"id": region, "from_name": name, "to_name": of, "type": kind, "value": value}


def _typed(name: str, text: str) -> Json:
    return _result(name, "text", "textarea", {"text": [text]}, name)


def _preferred(place: int | None, count: int) -> Json:
    """Its Pairwise knows two sides and no tie: the others are choices beside it."""
    if place is not None and count == len(_SIDES):
        return _result("better", "first", "pairwise", {"selected": _SIDES[place]})
    said = TIE if place is None else f"candidate {place + 1}"
    return _result("preferred", "text", "choices", {"choices": [said]})


def answer_in(results: Any, kind: Kind, item: Json, field: str) -> Json | None:
    """The answer that regions say; None where they say nothing and nothing is no answer.

    Raises:
        Unreadable: a region is no part of such an answer.
    """
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise Unreadable(f"{field}: must be a list of regions")
    for place, each in enumerate(results):
        if each.get("type") not in _TYPES[kind] or not isinstance(each.get("value"), dict):
            raise Unreadable(
                f"{field}[{place}]: {each.get('type')!r} is no part of a {kind} answer"
            )
    if not results:
        return {"labels": []} if kind == "labels" else {"spans": []} if kind == "spans" else None
    return _READERS[kind](results, item, field)


def _labels(results: list[Json], item: Json, field: str) -> Json:
    return labelled("labels", _choices(results, field), field)


def _label(results: list[Json], item: Json, field: str) -> Json:
    return labelled("label", _choices(results, field), field)


def _choices(results: list[Json], field: str) -> list[str]:
    return [
        choice
        for place, each in enumerate(results)
        for choice in texts(each["value"].get("choices"), f"{field}[{place}].value.choices")
    ]


def _spans(results: list[Json], item: Json, field: str) -> Json:
    return {
        "spans": [
            _span(each["value"], item["text"], f"{field}[{place}]")
            for place, each in enumerate(results)
        ]
    }


def _span(value: Json, text: str, field: str) -> Json:
    label = one(texts(value.get("labels"), f"{field}.value.labels"), f"{field}.value.labels")
    found = span(value.get("start"), value.get("end"), label, field)
    said = value.get("text")
    if not isinstance(said, str) or _same(text[found["start"] : found["end"]], said):
        return found
    units = text.encode("utf-16-le", "surrogatepass")
    before, within = units[: 2 * found["start"]], units[2 * found["start"] : 2 * found["end"]]
    if not _same(within.decode("utf-16-le", "replace"), said):
        raise Unreadable(f"{field}: its text is not what stands at its offsets")
    start = len(before.decode("utf-16-le", "replace"))
    return found | {"start": start, "end": start + len(within.decode("utf-16-le", "replace"))}


def _same(there: str, said: str) -> bool:
    """Its page writes a line break as a backslash and an n, and blanks as it shows them."""
    return there == said or " ".join(there.split()) == " ".join(said.replace("\\n", " ").split())


def _form(results: list[Json], item: Json, field: str) -> Json:
    if [each.get("from_name") for each in results] == ["form"]:
        return {"form": _object(_text_in(results[0], f"{field}[0]"), f"{field}[0]")}
    fields: Json = {}
    for place, each in enumerate(results):
        name = each.get("from_name")
        if not isinstance(name, str) or name in fields:
            raise Unreadable(f"{field}[{place}]: from_name must be a field's name, once")
        fields[name] = _field_value(each, f"{field}[{place}]")
    return {"form": fields}


def _field_value(result: Json, field: str) -> object:
    match result["type"]:
        case "number":
            return result["value"].get("number")
        case "choices":
            return one(texts(result["value"].get("choices"), field), field)
        case _:
            return _text_in(result, field)


def _text(results: list[Json], item: Json, field: str) -> Json:
    if len(results) != 1:
        raise Unreadable(f"{field}: {len(results)} texts where one is asked for")
    return {"text": _text_in(results[0], f"{field}[0]")}


def _text_in(result: Json, field: str) -> str:
    return one(texts(result["value"].get("text"), f"{field}.value.text"), f"{field}.value.text")


def _preference(results: list[Json], item: Json, field: str) -> Json:
    if len(results) != 1:
        raise Unreadable(f"{field}: {len(results)} preferences where one is asked for")
    value = results[0]["value"]
    if results[0]["type"] == "pairwise":
        side = value.get("selected")
        if side not in _SIDES:
            raise Unreadable(f"{field}[0].value.selected: must be left or right")
        return {"preferred": _SIDES.index(side)}
    said = one(texts(value.get("choices"), field), field)
    if said == TIE:
        return {"preferred": None}
    place = said.removeprefix("candidate ")
    if place == said or not place.isdecimal():
        raise Unreadable(f"{field}[0]: must be {TIE!r} or 'candidate 1', not {said[:40]!r}")
    return {"preferred": int(place) - 1}


def _approval(results: list[Json], item: Json, field: str) -> Json:
    found: Json = {"verdict": None, "arguments": None, "reply": None}
    for place, each in enumerate(results):
        name, where = each.get("from_name"), f"{field}[{place}]"
        if each["type"] == "choices":
            found["verdict"] = one(texts(each["value"].get("choices"), where), where)
        elif name == "arguments":
            found["arguments"] = _object(_text_in(each, where), where)
        elif name == "reply":
            found["reply"] = _text_in(each, where)
        else:
            raise Unreadable(f"{where}: {name!r} is neither arguments nor reply")
    if found["verdict"] not in _VERDICTS:
        raise Unreadable(f"{field}: verdict must be one of {', '.join(_VERDICTS)}")
    return found


def _object(text: str, field: str) -> Json:
    try:
        refuse_unclear(text.encode("utf-8", "replace"))
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unreadable(f"{field}: its text must be a JSON object")
    return found


_TYPES: dict[Kind, frozenset[str]] = {
    "label": frozenset({"choices"}),
    "labels": frozenset({"choices"}),
    "spans": frozenset({"labels"}),
    "form": frozenset({"textarea", "number", "choices"}),
    "text": frozenset({"textarea"}),
    "preference": frozenset({"pairwise", "choices"}),
    "approval": frozenset({"choices", "textarea"}),
}
_READERS: dict[Kind, Callable[[list[Json], Json, str], Json]] = {
    "label": _label,
    "labels": _labels,
    "spans": _spans,
    "form": _form,
    "text": _text,
    "preference": _preference,
    "approval": _approval,
}
