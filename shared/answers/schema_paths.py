"""What a JSON Schema says of a path in a value: which paths there are, which there can never be.

Only what is certain counts. Of parts of a schema that are not looked into (`not`,
`unevaluatedProperties`, `$dynamicRef`, what has an `$id` of its own, …) anything may come.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

from shared.labels import label_key

Type = Literal["text", "number", "truth", "null", "other"]
Schema = Any
"""Of JSON: true, false or an object."""

_TYPES: dict[str, Type] = {
    "string": "text",
    "integer": "number",
    "number": "number",
    "boolean": "truth",
    "null": "null",
    "object": "other",
    "array": "other",
}
_ALL: frozenset[Type] = frozenset(_TYPES.values())
_PLACE = re.compile(r"\d{1,9}", re.ASCII)
_MAX_LISTED = 20
_MAX_STEPS = 12  # each may end a name with dots: so many ways to read a path are too many
_MAX_DEPTH = 6  # of listed paths: a schema may hold itself


@dataclass(frozen=True)
class Possible:
    """What may stand at a path: values of these types; where `values` is given, one of them."""

    types: frozenset[Type]
    values: tuple[Any, ...] | None = None


class SchemaPaths:
    """The paths of the values that a schema allows."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = schema
        parts = list(_objects(schema))
        # Where it names no members, and does not say that there are others, none has a dot.
        self._free = any(
            part.get("patternProperties") or part.get("additionalProperties") for part in parts
        )
        named = (part.get("properties") for part in parts)
        self._dotted = {
            label_key(name)
            for properties in named
            if isinstance(properties, dict)
            for name in properties
            if "." in name
        }

    def at(self, path: str, *, any_case: bool = False) -> Possible | None:
        """What may stand at the path (`lines.0.amount`); None: never anything. With `any_case`
        names may be spelled as labels may be."""
        same = label_key if any_case else str
        steps = path.split(".")
        if len(steps) > _MAX_STEPS:
            return Possible(_ALL)
        try:
            found = self._walk(self._root, steps, same)
            return None if found is False else self._possible(found)
        except RecursionError:  # it holds itself at the same place
            return Possible(_ALL)

    def listed(self) -> list[str]:
        """The paths that the schema names, the first of them; in a list, of its first entry."""
        found: dict[str, None] = {}
        self._collect(self._root, "", found, 0)
        return list(found)[:_MAX_LISTED]

    def _walk(self, schema: Schema, steps: list[str], same: Callable[[str], str]) -> Schema:
        """What holds at the end of the steps; several may be one name with dots."""
        if not steps or isinstance(schema, bool):
            return schema
        names = (".".join(steps[:count]) for count in range(1, len(steps) + 1))
        return _any_of(
            self._walk(self._child(schema, name, same), steps[count:], same)
            for count, name in enumerate(names, 1)
            if count == 1 or self._free or label_key(name) in self._dotted
        )

    def _child(self, schema: Schema, step: str, same: Callable[[str], str]) -> Schema:
        """What holds for the value under this name, or at this place in a list."""
        if isinstance(schema, bool):
            return schema
        if self._elsewhere(schema):
            return True

        def child(part: Schema) -> Schema:
            return self._child(part, step, same)

        types = _named_types(schema)
        inside = []
        if "object" in types:
            inside.append(_member(schema, step, same))
        if "array" in types and _PLACE.fullmatch(step):
            inside.append(_entry(schema, int(step)))
        return _all_of([_any_of(inside), *self._beside(schema, child)])

    def _beside(
        self, schema: Mapping[str, Any], of: Callable[[Schema], Schema]
    ) -> Iterator[Schema]:
        """What else must hold for the same value, each part made into what it says by `of`."""
        if "$ref" in schema:
            yield of(self._referred(schema["$ref"]))
        for part in schema.get("allOf", ()):
            yield of(part)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                yield _any_of(map(of, schema[keyword]))
        if "if" in schema:
            yield _any_of(of(schema.get(branch, True)) for branch in ("then", "else"))

    def _elsewhere(self, schema: Mapping[str, Any]) -> bool:
        """Whether its references mean something else than those of the root."""
        return "$id" in schema and schema is not self._root

    def _referred(self, reference: str) -> Schema:
        if reference == "#":
            return self._root
        if not reference.startswith("#/"):
            return True
        found: Any = self._root
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and _PLACE.fullmatch(name) and int(name) < len(found):
                found = found[int(name)]
            else:
                return True
            if isinstance(found, dict) and self._elsewhere(found):
                return True
        return found if isinstance(found, bool | dict) else True

    def _possible(self, schema: Schema) -> Possible:
        if schema is False:
            return Possible(frozenset())
        if schema is True or self._elsewhere(schema):
            return Possible(_ALL)
        types = frozenset(_TYPES[name] for name in _named_types(schema))
        found = Possible(types)
        if "enum" in schema or "const" in schema:
            found = _of_values(schema["enum"] if "enum" in schema else [schema["const"]])
        parts = [self._possible(part) for part in schema.get("allOf", ())]
        if "$ref" in schema:
            parts.append(self._possible(self._referred(schema["$ref"])))
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                parts.append(_either(map(self._possible, schema[keyword])))
        return reduce(_both, parts, found)

    def _collect(self, schema: Schema, before: str, found: dict[str, None], depth: int) -> None:
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or len(found) > _MAX_LISTED:
            return
        inner = dict(schema.get("properties", {}))
        if isinstance(schema.get("items"), dict):
            inner["0"] = schema["items"]
        for name, part in inner.items():
            path = f"{before}{name}"
            known = len(found)
            self._collect(part, f"{path}.", found, depth + 1)
            if len(found) == known:
                found[path] = None
        beside = [self._referred(schema["$ref"])] if "$ref" in schema else []
        for keyword in ("allOf", "anyOf", "oneOf"):
            beside += schema.get(keyword, ())
        beside += [schema[keyword] for keyword in ("then", "else") if keyword in schema]
        for part in beside:
            self._collect(part, before, found, depth + 1)


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """All objects in a value of JSON, itself included."""
    if isinstance(value, dict):
        yield value
    for part in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from _objects(part)


def _named_types(schema: Mapping[str, Any]) -> frozenset[str]:
    named = schema.get("type", list(_TYPES))
    return frozenset([named] if isinstance(named, str) else named)


def _member(schema: Mapping[str, Any], name: str, same: Callable[[str], str]) -> Schema:
    """What holds for the member of an object."""
    properties = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    found = [part for known, part in properties.items() if same(known) == same(name)]
    if any(_may_match(pattern, name) for pattern in patterns):
        return _any_of([*found, True])
    if found:
        return _any_of(found)
    return schema.get("additionalProperties", True)


def _may_match(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name, re.IGNORECASE) is not None
    except re.error:  # of another dialect
        return True


def _entry(schema: Mapping[str, Any], place: int) -> Schema:
    """What holds for the entry of a list."""
    if place >= schema.get("maxItems", place + 1):
        return False
    first = schema.get("prefixItems", ())
    return first[place] if place < len(first) else schema.get("items", True)


def _any_of(parts: Iterable[Schema]) -> Schema:
    found = [part for part in parts if part is not False]
    if not found or any(part is True for part in found):
        return bool(found)
    return found[0] if len(found) == 1 else {"anyOf": found}


def _all_of(parts: Iterable[Schema]) -> Schema:
    found = [part for part in parts if part is not True]
    if not found or any(part is False for part in found):
        return not found
    return found[0] if len(found) == 1 else {"allOf": found}


def _of_values(values: Iterable[Any]) -> Possible:
    listed = tuple(values)
    return Possible(frozenset(map(_type_of, listed)), listed)


def _type_of(value: object) -> Type:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    if value is None:
        return "null"
    return "text" if isinstance(value, str) else "other"


def _both(one: Possible, other: Possible) -> Possible:
    types = one.types & other.types
    values = one.values if one.values is not None else other.values
    if one.values is not None and other.values is not None:
        allowed = {json.dumps(value, sort_keys=True) for value in other.values}
        values = tuple(v for v in one.values if json.dumps(v, sort_keys=True) in allowed)
    if values is not None:
        values = tuple(value for value in values if _type_of(value) in types)
    return Possible(types, values)


def _either(parts: Iterable[Possible]) -> Possible:
    found = list(parts)
    types = frozenset[Type]().union(*(each.types for each in found))
    if any(each.values is None for each in found):
        return Possible(types)
    return Possible(types, tuple(value for each in found for value in each.values or ()))
