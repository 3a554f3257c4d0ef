"""What every kind of answer has: fields, a check against what was asked, a short text."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic_core import to_json

from shared.errors import HitlError
from shared.labels import same_label

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

Kind = Literal["label", "labels", "spans", "form", "text", "preference", "approval"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_DIGEST_DIGITS = 12
_BRIEF_CHARACTERS = 80


class AnswerError(HitlError):
    """An answer that cannot be taken; `field` names the place in it, `reason` what to change."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True)
class AnswerSpec:
    """What a workflow asks for. `labels` empty: any, as the model names them; `schema`: JSON Schema
    2020-12 of a form, or of an approval's arguments; None: any object. `predictions`: those that
    items bring are used."""

    kind: Kind = "label"
    labels: tuple[str, ...] = ()
    overlap: bool = False
    schema: Mapping[str, Any] | None = None
    predictions: bool = False

    @property
    def plain(self) -> bool:
        """Whether items are a text, and all that is said of one is a label by our own model."""
        return self.kind == "label" and not self.predictions

    @cached_property
    def validator(self) -> "Draft202012Validator | None":
        """What checks a value against the schema."""
        if self.schema is None:
            return None
        from shared.answers.schemas import validator_of  # slow to import, and only forms need it

        return validator_of(self.schema)


class Action(BaseModel):
    """The call that a program asks approval for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    name: str
    arguments: dict[str, JsonValue]


PLAIN = AnswerSpec()


@dataclass(frozen=True, slots=True)
class Asked:
    """What an item brings that its answer hangs on."""

    text: str
    draft: str | None = None
    candidates: tuple[str, ...] = ()
    action: Action | None = None


class Answer(BaseModel):
    """An answer of one kind. Equal ones mean the same, once they are `checked`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    kind: ClassVar[Kind]
    quotes: ClassVar[bool] = False
    """Whether it may hold words of a person, which must stay erasable."""

    @abstractmethod
    def checked(self, spec: AnswerSpec, asked: Asked) -> Self:
        """The same in its normal form.

        Raises:
            AnswerError: it is no answer to what was asked.
        """

    @property
    @abstractmethod
    def brief(self) -> str:
        """One short line for tables and charts; equal for equal answers only."""

    @property
    def names(self) -> tuple[str, ...]:
        """What a policy can call parts of it by: labels, or paths of fields."""
        return ()

    @property
    def value(self) -> dict[str, JsonValue]:
        """As JSON, as it travels."""
        dumped: dict[str, JsonValue] = self.model_dump(mode="json")
        return dumped


def same_brief(kind: str | None, one: str, other: str) -> bool:
    """Whether two short lines say the same answer of this kind; None: a label. Labels may be
    spelled differently in two places; all else is written by `brief` alone."""
    return one == other if kind not in (None, "label") else same_label(one, other)


def shortened(line: str, whole: object) -> str:
    """`line` where it is short, else its start with a digest of the `whole`, so that two answers
    that begin alike do not look the same."""
    line = " ".join(line.split())
    if len(line) <= _BRIEF_CHARACTERS:
        return line
    return f"{line[: _BRIEF_CHARACTERS - _DIGEST_DIGITS - 4].rstrip()}… #{digest(whole)}"


def digest(value: object) -> str:
    """The first hex digits of the SHA-256 of a value's JSON, whatever the order of its keys."""
    return hashlib.sha256(to_json(_sorted(value))).hexdigest()[:_DIGEST_DIGITS]


def _sorted(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(entry) for entry in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # JSON has one kind of number
    return value
