"""The fields of a form, checked by a JSON Schema."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import JsonValue

from shared.answers.base import Answer, AnswerError, AnswerSpec, Asked, Kind, digest, shortened


class FormAnswer(Answer):
    """`{"form": {"total": 12.5}}`."""

    kind: ClassVar[Kind] = "form"
    quotes: ClassVar[bool] = True
    form: dict[str, JsonValue]

    def checked(self, spec: AnswerSpec, asked: Asked) -> Self:
        check_schema("form", self.form, spec)
        return self

    @property
    def brief(self) -> str:
        listed = ", ".join(f"{path}: {_words(value)}" for path, value in fields(self.form))
        return shortened(listed, self.form) if listed else "(empty form)"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(path for path, _ in fields(self.form))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FormAnswer) and digest(self.form) == digest(other.form)

    def __hash__(self) -> int:
        return hash(digest(self.form))


def check_schema(field: str, value: Mapping[str, Any], spec: AnswerSpec) -> None:
    """Raises `AnswerError` for the first place at which `value` breaks the workflow's schema."""
    if spec.validator is None:
        return
    error = next(iter(sorted(spec.validator.iter_errors(value), key=lambda e: list(e.path))), None)
    if error is not None:
        raise AnswerError(_place(field, error.absolute_path), _reason(error))


def fields(value: Mapping[str, JsonValue], before: str = "") -> Iterator[tuple[str, JsonValue]]:
    """The leaves of an object by dotted path, sorted: `lines.0.amount`."""
    for name in sorted(value):
        yield from _leaves(f"{before}{name}", value[name])


def _leaves(path: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict) and value:
        yield from fields(value, f"{path}.")
    elif isinstance(value, list) and value:
        for place, entry in enumerate(value):
            yield from _leaves(f"{path}.{place}", entry)
    else:
        yield path, value


def _place(field: str, path: Any) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return field + "".join(steps)


def _reason(error: Any) -> str:
    """What the schema asks for, without quoting a value, which may be personal."""
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"missing: {', '.join(missing)}"
    if error.validator == "additionalProperties":
        return "has a field that the schema does not know"
    return f"must fit the schema's {error.validator}: {str(error.validator_value)[:100]}"


def _words(value: JsonValue) -> str:
    """As JSON, but a text as it is where nothing else could be meant."""
    if isinstance(value, str) and "," not in value and not _reads_as_json(value):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
