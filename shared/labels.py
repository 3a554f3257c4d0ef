"""Compares labels: wherever labels of two origins meet, they are compared here.

A label is a text. Numbers and truth values of JSON are the texts that spell them there, and null is
none. Two labels are the same where they differ in case, in blanks around them or in how Unicode
composes them: a model says `POSITIVE`, a workflow's file `positive`. The workflow's spelling is the
one that travels, and two labels of one workflow or model that would be the same are refused by name
(docs/decisions/0023).
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from shared.errors import ConfigurationError


def spelled(value: object) -> str | None:
    """The label that a value of JSON or TOML spells; None where it spells none: null, a list, what
    is blank."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return None


@lru_cache(maxsize=4_096)
def label_key(label: str) -> str:
    """The same for all spellings of a label, and for no other label."""
    return unicodedata.normalize("NFC", label.strip().casefold())


def same_label(one: str, other: str) -> bool:
    """Whether both name the same label."""
    return one == other or label_key(one) == label_key(other)


def known_as(label: object, labels: Iterable[str]) -> str | None:
    """How `labels` spell this one; None where it is none of them."""
    given = spelled(label)
    if given is None:
        return None
    key = label_key(given)
    return next((known for known in labels if label_key(known) == key), None)


def spellings(label: str, known: Iterable[str]) -> list[str]:
    """How a database's rows may spell this label, which somebody typed: as `known` labels do, whose
    spelling is the one that travels; else as it was typed, or in another case."""
    key = label_key(label)
    found = {other for other in known if label_key(other) == key}
    typed = unicodedata.normalize("NFC", label.strip())
    cases = {typed, typed.lower(), typed.upper(), typed.capitalize(), label.strip()}
    return sorted(found or cases)


def distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, without blanks around them.

    Raises:
        ConfigurationError: two of them are the same, or one is blank.
    """
    found: dict[str, str] = {}
    for label in labels:
        if not label.strip():
            raise ConfigurationError("a label is blank")
        other = found.get(label_key(label))
        if other is not None:
            both = repr(label) if other == label else f"{other!r} and {label!r}"
            raise ConfigurationError(
                f"named more than once: {both} (case and surrounding spaces are ignored)"
            )
        found[label_key(label)] = label
    return tuple(label.strip() for label in labels)


def of_model(id2label: Mapping[int, object], count: int) -> tuple[str, ...]:
    """The labels that a checkpoint's config names, in the order of its outputs.

    Raises:
        ConfigurationError: one has no name, or two have the same.
    """
    named = [spelled(id2label.get(number)) for number in range(count)]
    if None in named:
        raise ConfigurationError(f"label {named.index(None)} has no name in its id2label")
    return distinct([name for name in named if name is not None])
