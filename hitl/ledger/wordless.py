"""What is left of an item, its answers and its events when a person's words go from them. Pure.

Everything keeps its shape, so that whoever reads it later finds what it expects: a draft is a draft
that says so, three candidates stay three. Of an answer of a kind that quotes, what stays is whether
it was the predicted one, as in the log (services/logger/rows.py).
"""

from collections.abc import Mapping
from typing import Any

from hitl.ledger.check import ERASED
from shared.answers.base import Kind
from shared.answers.reading import KIND_NAMES, QUOTING
from shared.events.recorded import ANOTHER, AS_PREDICTED

_AS_KNOWN = "(as known)"

Json = dict[str, Any]


def item(given: Json) -> Json:
    """An item of an event or a task."""
    kept = {**given, "text": ERASED, "metadata": {}}
    if given.get("draft") is not None:
        kept["draft"] = ERASED
    if given.get("candidates") is not None:
        kept["candidates"] = [ERASED] * len(given["candidates"])
    if given.get("action") is not None:
        kept["action"] = {**given["action"], "arguments": {}}
    return kept


def answer(kind: Kind, given: Json) -> Json:
    """An answer, as one of its kind; itself where the kind does not quote."""
    match kind:
        case "text":
            return {"text": ERASED}
        case "form":
            return {"form": {}}
        case "approval":
            return {**given, "arguments": {}, "reply": given.get("reply") and ERASED}
        case _:
            return given


class Marks:
    """What becomes of the short lines of the answers to one task: the predicted and the known one
    stay recognisable."""

    def __init__(self, kind: Kind, predicted: str | None, known: str | None) -> None:
        self._quotes = kind in QUOTING
        self._marks = {known: _AS_KNOWN, predicted: AS_PREDICTED, None: None}

    def __call__(self, line: str | None) -> str | None:
        return self._marks.get(line, ANOTHER) if self._quotes else line


def event(given: Json) -> Json:
    """The JSON of an event, or of the webhook's body that holds one as its `data`."""
    if isinstance(inner := given.get("data"), dict):
        return {**given, "data": event(inner)}
    kept = dict(given)
    if isinstance(kept.get("item"), dict):
        kept["item"] = item(kept["item"])
    if isinstance(kept.get("review"), dict) and kept["review"].get("note") is not None:
        kept["review"] = {**kept["review"], "note": ERASED}
    if kept.get("text") is not None:
        kept["text"] = ERASED
    kind = KIND_NAMES.get(str(kept.get("kind")))
    for name in ("prediction", "decision"):
        if kind is not None and isinstance(kept.get(name), dict):
            kept[name] = _answers(kind, kept[name])
    return kept


def _answers(kind: Kind, given: Mapping[str, Any]) -> Json:
    return {
        name: answer(kind, value) if name in ("answer", "ai_answer") and value else value
        for name, value in given.items()
    }
