"""Is a path refused exactly where a schema can never have it?"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.answers.form import fields
from shared.answers.schema_paths import Possible, SchemaPaths
from shared.answers.schemas import checked_schema, validator_of

CLOSED = {"additionalProperties": False}
TREE = {
    "type": "object",
    "properties": {"n": {"type": "number"}, "left": {"$ref": "#"}},
    **CLOSED,
}


@pytest.mark.parametrize(
    ("schema", "there", "never"),
    [
        ({}, ["a", "a.b", "0"], []),
        ({"properties": {"a": {"type": "number"}}}, ["a", "b", "b.0.c"], ["a.b", "a.0"]),
        ({"properties": {"a": True}, **CLOSED}, ["a", "a.b.0"], ["b", "aa"]),
        ({"properties": {"a": False}}, ["b"], ["a", "a.b"]),
        # A name may have dots.
        ({"properties": {"a.b": {"properties": {"c.d": {}}, "type": "object", **CLOSED}}, **CLOSED},
         ["a.b", "a.b.c.d"], ["a", "a.b.c", "c.d"]),
        ({"patternProperties": {"^x_": {"type": "object"}}, **CLOSED}, ["x_1", "x_1.a"], ["y"]),
        ({"additionalProperties": {"type": "string"}}, ["a", "v1.2"], []),
        ({"properties": {"a": {"type": "string"}}}, ["a"], ["a.b"]),
        # Lists.
        ({"properties": {"l": {"type": "array", "items": {"properties": {"a": {}}, **CLOSED}}}},
         ["l", "l.0.a", "l.17.a"], ["l.a", "l.0.b"]),
        ({"properties": {"l": {"type": "array", "prefixItems": [{"type": "number"}],
                               "items": False}}}, ["l.0"], ["l.1", "l.0.a"]),
        ({"properties": {"l": {"type": "array", "maxItems": 2}}}, ["l.1"], ["l.2"]),
        ({"properties": {"l": {"type": ["array", "null"]}}}, ["l.0.a"], ["l.a"]),
        # References, to the whole as well.
        (TREE, ["n", "left.left.left.n"], ["right", "left.right", "n.left"]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"properties": {"x": {}}, **CLOSED}}},
         ["x"], ["y"]),
        ({"$ref": "#/$defs/a", "properties": {"x": {"type": "object"}},
          "$defs": {"a": {"properties": {"x": {"properties": {"y": {}}, **CLOSED}}}}},
         ["x", "x.y", "z"], ["x.z"]),  # both hold
        ({"$ref": "#named", "$defs": {"a": {"$anchor": "named", **CLOSED}}}, ["x"], []),
        ({"properties": {"a": {"$id": "urn:a", "$ref": "#/$defs/x", "$defs": {"x": {}}}},
          "$defs": {"x": {"type": "null"}}}, ["a.b"], []),
        # Combined: all, any, one, either branch.
        ({"allOf": [{"properties": {"a": {}, "b": {}}, **CLOSED}, {"properties": {"b": False}}]},
         ["a"], ["b", "c"]),
        ({"anyOf": [{"properties": {"a": {}}, **CLOSED}, {"properties": {"b": {}}, **CLOSED}]},
         ["a", "b"], ["c"]),
        ({"oneOf": [{"properties": {"a": {"type": "object", **CLOSED}}},
                    {"properties": {"a": {"type": "number"}}}]}, ["a", "b"], ["a.x"]),
        ({"if": {"required": ["k"]}, "then": {"properties": {"a": {}}, **CLOSED},
          "else": {"properties": {"b": {}}, **CLOSED}}, ["a", "b"], ["c"]),
        ({"if": {}, "then": {"properties": {"a": {}}, **CLOSED}}, ["a", "c"], []),
        # Not looked into.
        ({"not": {"required": ["a"]}, "unevaluatedProperties": False}, ["a"], []),
    ],
)  # fmt: skip
def test_a_path_is_never_there_only_where_that_is_certain(
    schema: dict[str, Any], there: list[str], never: list[str]
) -> None:
    paths = SchemaPaths(checked_schema(schema))
    assert [path for path in there if paths.at(path) is None] == []
    assert [path for path in never if paths.at(path) is not None] == []


NAMES = st.sampled_from(["a", "b", "0"])
SCALARS = st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from(["", "7"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2)
        | st.dictionaries(NAMES, inner, min_size=1, max_size=2)
    ),
    max_leaves=4,
)
FORMS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=2)


def _wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=2)
    keywords = {
        "properties": st.dictionaries(NAMES, inner, min_size=1, max_size=3),
        "additionalProperties": inner,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=1),
        "prefixItems": several,
        "items": inner,
        "maxItems": st.integers(0, 2),
        "allOf": several,
        "anyOf": several,
        "oneOf": several,
        "if": inner,
        "then": inner,
        "else": inner,
        "enum": st.lists(SCALARS, min_size=1, max_size=3),
        "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y"]),
    }
    one = st.sampled_from(sorted(keywords)).flatmap(
        lambda name: st.fixed_dictionaries({name: keywords[name]})
    )
    return st.lists(one, min_size=1, max_size=3).map(
        lambda several: {name: part for each in several for name, part in each.items()}
    )


TYPES = st.sampled_from(["string", "number", "integer", "boolean", "null", "object", "array"])
SCALAR_SCHEMAS = st.booleans() | TYPES.map(lambda name: {"type": name})
SCHEMAS = st.recursive(SCALAR_SCHEMAS, _wider, max_leaves=8)


@settings(max_examples=500)
@given(SCHEMAS, SCALAR_SCHEMAS, _wider(SCHEMAS), FORMS)
def test_what_a_valid_value_has_is_never_refused(x: Any, y: Any, root: Any, form: Any) -> None:
    # Given any schema, with references to parts of it, and a value that it allows
    whole = {"$defs": {"x": _without_references(x), "y": y}, **root}
    if not validator_of(whole).is_valid(form):
        return
    paths = SchemaPaths(whole)
    # I expect each of the value's paths to be one that may be there, with a value of its type.
    for path, leaf in fields(form):
        possible = paths.at(path)
        assert possible is not None, (path, whole)
        assert _holds(possible, leaf), (path, leaf, possible, whole)


def _without_references(schema: Any) -> Any:
    """So that nothing refers to itself at the same place."""
    return json.loads(json.dumps(schema).replace('"$ref"', '"$comment"'))


def _holds(possible: Possible, value: Any) -> bool:
    kinds = {bool: "truth", int: "number", str: "text", type(None): "null"}
    if kinds.get(type(value), "other") not in possible.types:
        return False
    listed = possible.values
    return listed is None or any(_canonical(one) == _canonical(value) for one in listed)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def test_odd_schemas_end() -> None:
    loop = {"anyOf": [{}, {"$ref": "#"}]}
    assert SchemaPaths(loop).at("a") is not None
    assert SchemaPaths({"const": {"properties": 5}}).at("a.b") is not None
    assert SchemaPaths(TREE).at(".".join(["left"] * 40)) is not None
    assert SchemaPaths(TREE).listed()[0] == "n"
    assert len(SchemaPaths(TREE).listed()) <= 20
