"""The JSON Schema of a form, or of an approval's arguments: checked when it is read, so that no
answer meets one that fails.

Imported where there is one, since jsonschema is slow to import.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY

from shared.errors import ConfigurationError

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def validator_of(schema: Mapping[str, Any]) -> Draft202012Validator:
    """What checks a value. It fetches nothing: all that a schema refers to is in it."""
    return Draft202012Validator(schema, registry=EMPTY_REGISTRY)


def checked_schema(schema: Any) -> Mapping[str, Any]:
    """The schema, which any object can be checked against.

    Raises:
        ConfigurationError: it is no JSON Schema 2020-12 of an object.
    """
    if not isinstance(schema, dict):
        raise ConfigurationError("must be an object, as a JSON Schema of an object is")
    dialect = schema.get("$schema", _DIALECT)
    if not isinstance(dialect, str) or dialect.rstrip("#") != _DIALECT:
        raise ConfigurationError(f"$schema: must be {_DIALECT}, not {dialect!r}")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = ".".join(map(str, error.absolute_path)) or "schema"
        reason = error.context[0].message if error.context else error.message
        raise ConfigurationError(f"{place}: {reason}") from None
    kind = schema.get("type", "object")
    if "object" not in (kind if isinstance(kind, list) else [kind]):
        raise ConfigurationError(f'type: must be "object", not {kind!r}')
    whole = DRAFT202012.create_resource(schema)
    unknown = set(_unresolved(whole, EMPTY_REGISTRY.resolver_with_root(whole)))
    if unknown:
        raise ConfigurationError(f"$ref: not in this file: {', '.join(sorted(unknown))}")
    try:
        validator_of(schema).is_valid({})
    except RecursionError:
        raise ConfigurationError("$ref: refers to itself without end") from None
    return schema


def _unresolved(part: Any, resolver: Any) -> Iterator[str]:
    """What this part of a schema refers to and is not there."""
    if isinstance(part.contents, dict):
        for keyword in ("$ref", "$dynamicRef"):
            named = part.contents.get(keyword)
            try:
                if named is not None:
                    resolver.lookup(named)
            except Unresolvable:
                yield str(named)
    for inner in part.subresources():
        yield from _unresolved(inner, resolver.in_subresource(inner))
