"""What a policy calls parts of an answer, held against what the workflow asks for: a path that its
JSON Schema can never have, or a test that no value of it can meet, is a slip. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping

from services.router.rules import Rule
from services.router.values import ValueTest
from shared.answers.base import AnswerSpec
from shared.answers.schema_paths import Possible, SchemaPaths, Type
from shared.suggestions import did_you_mean

_CANDIDATE = re.compile(r"\s*(tie|candidate [1-9]\d*)\s*", re.IGNORECASE | re.ASCII)
_EXAMPLES: dict[Type, object] = {"number": 0, "truth": False, "other": {}}


def slips(
    spec: AnswerSpec,
    label_thresholds: Iterable[str],
    always_review: Iterable[str],
    rules: Iterable[Rule],
) -> Iterator[str]:
    """Each with its key in front. Names of parts may be spelled in any case."""
    called = [("label_thresholds", name) for name in label_thresholds]
    called += [("always_review", name) for name in always_review]
    if spec.kind == "preference":
        for key, name in called:
            if not _CANDIDATE.fullmatch(name):
                yield f"{key}: no answer is called {name!r}, only candidate 1, candidate 2, …, tie"
    if spec.schema is None:
        return
    paths = SchemaPaths(spec.schema)
    if spec.kind == "form":
        for key, name in called:
            if paths.at(name, any_case=True) is None:
                yield f"{key}: {_no_such(name, paths)}"
    for rule in rules:
        for key, tests in (("field", rule.when.field), ("argument", rule.when.argument)):
            for wrong in _wrong_tests(tests, paths):
                yield f"rules.{rule.name}.when.{key}: {wrong}"


def _wrong_tests(tests: Mapping[str, ValueTest], paths: SchemaPaths) -> Iterator[str]:
    for path, test in tests.items():
        possible = paths.at(path)
        if possible is None:
            yield _no_such(path, paths)
        elif not _can_hold(test, possible):
            yield f"no value that the schema allows at {path!r} can meet this test"


def _can_hold(test: ValueTest, possible: Possible) -> bool:
    if test.holds(None):
        return True  # the field may not be there
    if possible.values is not None:
        return any(test.holds(value) for value in possible.values)
    # A text may spell what the test names; nothing but absence holds of null.
    return any(
        kind == "text" or (kind != "null" and test.comparable(_EXAMPLES[kind]))
        for kind in possible.types
    )


def _no_such(path: str, paths: SchemaPaths) -> str:
    known = paths.listed()
    there = f"it has {', '.join(known)}" if known else "it names none"
    return f"the schema has no field {path!r}; {there}{did_you_mean(path, known)}"
