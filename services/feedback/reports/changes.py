"""What people changed about an answer, in words to count by: labels, places, fields, never values.
Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from shared.answers.base import digest
from shared.answers.form import fields

TAKEN_AWAY = "(taken away)"
OVERLOOKED = "(overlooked)"
ANOTHER_VALUE = "another value"
_PLACE_IN_LIST = re.compile(r"\.\d+(?=\.|$)")


class Change(NamedTuple):
    """Something that was said, or `OVERLOOKED`, and what became of it."""

    was: str
    became: str


class Compared(NamedTuple):
    """Two answers: the parts that the predicted one has, and what was changed; each once."""

    said: frozenset[str]
    changes: frozenset[Change]


NOTHING = Compared(frozenset(), frozenset())


def compared(predicted: Mapping[str, Any], final: Mapping[str, Any]) -> Compared:
    """Two whole answers of one kind. Texts have no parts; preferences are compared as labels."""
    if "labels" in predicted:
        return _by_name(dict.fromkeys(predicted["labels"]), dict.fromkeys(final["labels"]))
    if "spans" in predicted:
        return _spans(predicted["spans"], final["spans"])
    if "form" in predicted:
        return _by_name(_values(predicted["form"]), _values(final["form"]))
    if "verdict" in predicted:
        verdicts = _one(predicted["verdict"], final["verdict"])
        rest = _by_name(*(_values(_beside_the_verdict(each)) for each in (predicted, final)))
        return Compared(verdicts.said | rest.said, verdicts.changes | rest.changes)
    return NOTHING


def of_lines(predicted: str, final: str, *, corrected: bool) -> Compared:
    """Two answers that are one label, or a short line."""
    return _one(predicted, final if corrected else predicted)


def _one(predicted: str, final: str) -> Compared:
    changes = [Change(predicted, final)] if predicted != final else []
    return Compared(frozenset([predicted]), frozenset(changes))


def _by_name(predicted: Mapping[str, object], final: Mapping[str, object]) -> Compared:
    changes = [Change(name, TAKEN_AWAY) for name in predicted.keys() - final.keys()]
    changes += [Change(OVERLOOKED, name) for name in final.keys() - predicted.keys()]
    changes += [
        Change(name, ANOTHER_VALUE)
        for name in predicted.keys() & final.keys()
        if predicted[name] != final[name]
    ]
    return Compared(frozenset(predicted), frozenset(changes))


def _values(form: Mapping[str, Any]) -> dict[str, str]:
    """What stands in each field; of a list in all of its entries together."""
    found: dict[str, list[Any]] = {}
    for path, value in fields(form):
        found.setdefault(_PLACE_IN_LIST.sub("[]", path), []).append(value)
    return {path: digest(values) for path, values in found.items()}  # true is not 1


def _beside_the_verdict(approval: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: approval[name] for name in ("arguments", "reply") if approval.get(name) is not None
    }


def _spans(predicted: Iterable[Mapping[str, Any]], final: Iterable[Mapping[str, Any]]) -> Compared:
    """A span became another where they overlap: of another label, or moved."""
    before, after = (
        [(s["start"], s["end"], s["label"]) for s in each] for each in (predicted, final)
    )
    gone = [span for span in before if span not in after]
    new = [span for span in after if span not in before]
    changes = []
    for start, end, label in gone:
        over = [span for span in new if span[0] < end and start < span[1]]
        if not over:
            changes.append(Change(label, TAKEN_AWAY))
            continue
        other = max(over, key=lambda span: min(end, span[1]) - max(start, span[0]))
        new.remove(other)
        changes.append(Change(label, f"{label}, moved" if other[2] == label else other[2]))
    changes += [Change(OVERLOOKED, label) for _, _, label in new]
    return Compared(frozenset(label for _, _, label in before), frozenset(changes))
