"""Business rules: whether one holds for an item, and what it asks for.

Pure. Texts are searched with RE2, whose time grows only linearly with the text whatever the pattern
(Cox 2010, https://swtch.com/~rsc/regexp/regexp3.html): a rule can slow the router, never hang it.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import re2
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from services.router.values import Section, Tests, all_comparable, all_hold
from shared.answers.base import Kind
from shared.events.answered import AnswerItem, AnswerPrediction
from shared.events.models import Item, Label, Prediction
from shared.labels import known_as, label_key

_PATTERN_MEMORY_BYTES = 8 << 20  # RE2 refuses a pattern that would need more
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,59}")
_MAX_DUE_MINUTES = 525_600  # a year
_ASKED_OF: dict[str, tuple[Kind, ...]] = {
    "label": ("label", "labels", "spans"),
    "labels_any": ("labels",),
    "labels_none": ("labels",),
    "span_labels": ("spans",),
    "field": ("form",),
    "action": ("approval",),
    "argument": ("approval",),
}
"""Which kinds of answer a condition can be about; those that are not here: any."""


def _known_label(label: str, info: ValidationInfo) -> str:
    labels: tuple[str, ...] = (info.context or {}).get("labels", ())
    if not labels:
        return label.strip()
    known = known_as(label, labels)
    if known is None:
        raise ValueError(f"the workflow has no label {label!r}; it has {', '.join(labels)}")
    return known


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _is_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name: letters, digits, spaces and ._- (at most 60, not ._- first)"
        )
    return name


def _compiles(pattern: str) -> str:
    try:
        _compile(pattern)
    except re2.error as error:
        raise ValueError(f"RE2 cannot read {pattern!r}: {_message(error)}") from None
    return pattern


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY_BYTES
    return re2.compile(pattern, options)


def _message(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _not_given(value: object) -> bool:
    return not value


KnownLabel = Annotated[Label, AfterValidator(_known_label)]
KnownLabels = Annotated[tuple[KnownLabel, ...], BeforeValidator(_as_list)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0)]
Name = Annotated[str, AfterValidator(_is_name)]


class When(Section):
    """The conditions of a rule; all that are given must hold.

    Lengths are in characters. `confidence_below` and `confidence_above` exclude the number itself.
    A value of the metadata, of the predicted form (`field`) or of the action's arguments
    (`argument`) is looked up as it stands, then as a path whose steps are separated by dots.
    """

    label: KnownLabels = ()
    metadata: Tests = Field(default_factory=dict)
    text_matches: Annotated[str, AfterValidator(_compiles)] | None = None
    confidence_below: Share | None = None
    confidence_above: Share | None = None
    min_characters: Count | None = None
    max_characters: Count | None = None
    # Not in the digest of a policy that has none of them, or every older one would change.
    labels_any: KnownLabels = Field(default=(), exclude_if=_not_given)
    labels_none: KnownLabels = Field(default=(), exclude_if=_not_given)
    span_labels: KnownLabels = Field(default=(), exclude_if=_not_given)
    field: Tests = Field(default_factory=dict, exclude_if=_not_given)
    action: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        default=(), exclude_if=_not_given
    )
    argument: Tests = Field(default_factory=dict, exclude_if=_not_given)
    _pattern: Any = PrivateAttr(default=None)
    _label_keys: frozenset[str] = PrivateAttr(default=frozenset())

    @model_validator(mode="after")
    def _can_hold(self, info: ValidationInfo) -> Self:
        given = self.model_dump(exclude_defaults=True)
        if not given:
            raise ValueError("names no condition: such a rule would match every item")
        asked = (info.context or {}).get("kind")
        for name in given:
            kinds = _ASKED_OF.get(name)
            if asked is not None and kinds is not None and asked not in kinds:
                raise ValueError(
                    f"{name} means nothing where answer = {asked!r}; it is for {', '.join(kinds)}"
                )
        if self.labels_any and keys_of(self.labels_any) <= keys_of(self.labels_none):
            raise ValueError("labels_none rules out all of labels_any")
        above, below = self.confidence_above, self.confidence_below
        if above is not None and below is not None and above >= below:
            raise ValueError("no confidence is above confidence_above and below confidence_below")
        shortest, longest = self.min_characters, self.max_characters
        if shortest is not None and longest is not None and shortest > longest:
            raise ValueError("min_characters is more than max_characters")
        return self

    def model_post_init(self, context: object, /) -> None:
        self._label_keys = keys_of(self.label)
        if self.text_matches is not None:
            self._pattern = _compile(self.text_matches)

    def comparable(self, item: Item, prediction: Prediction | AnswerPrediction | None) -> bool:
        """Whether each test of a value could hold of one of its kind."""
        action = item.action if self.argument and isinstance(item, AnswerItem) else None
        return (
            all_comparable(self.metadata, item.metadata)
            and (action is None or all_comparable(self.argument, action.arguments))
            and (not self.field or all_comparable(self.field, _form(prediction)))
        )

    @property
    def compares(self) -> bool:
        """Does it test a value that may be of another kind than the rule expects?"""
        return bool(self.metadata or self.field or self.argument)

    @property
    def sees_the_prediction(self) -> bool:
        """Does it depend on what the model said?"""
        return (
            bool(self.label)
            or (self.confidence_below, self.confidence_above) != (None, None)
            or self._sees_the_answer
        )

    # Cached, because it is asked of every item: a `label` workflow pays for nothing else.
    @cached_property
    def _sees_the_answer(self) -> bool:
        return bool(self.labels_any or self.labels_none or self.span_labels or self.field)

    @cached_property
    def _sees_the_action(self) -> bool:
        return bool(self.action or self.argument)

    @cached_property
    def _answer_keys(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        return keys_of(self.labels_any), keys_of(self.labels_none), keys_of(self.span_labels)

    def holds(self, item: Item, prediction: Prediction | AnswerPrediction | None) -> bool:
        """Whether all of them do; those on a prediction never of an item that has none."""
        if prediction is None and self.sees_the_prediction:
            return False
        return (
            (prediction is None or self._holds_of(prediction))
            and (not self._sees_the_action or self._holds_of_action(item))
            and (self.min_characters is None or len(item.text) >= self.min_characters)
            and (self.max_characters is None or len(item.text) <= self.max_characters)
            and (not self.metadata or all_hold(self.metadata, item.metadata))
            # Last, because it costs most. RE2 reads UTF-8; what cannot be encoded becomes "?".
            and (
                self._pattern is None
                or self._pattern.search(item.text.encode("utf-8", "replace")) is not None
            )
        )

    def _holds_of(self, prediction: Prediction | AnswerPrediction) -> bool:
        return (
            (
                not self.label
                or any(label_key(name) in self._label_keys for name in prediction.names)
            )
            and (self.confidence_below is None or prediction.confidence < self.confidence_below)
            and (self.confidence_above is None or prediction.confidence > self.confidence_above)
            and (not self._sees_the_answer or self._holds_of_answer(prediction))
        )

    def _holds_of_answer(self, prediction: Prediction | AnswerPrediction) -> bool:
        named = keys_of(prediction.names)
        any_of, none_of, span_labels = self._answer_keys
        return (
            (not any_of or not named.isdisjoint(any_of))
            and named.isdisjoint(none_of)
            and (not span_labels or not named.isdisjoint(span_labels))
            and (not self.field or all_hold(self.field, _form(prediction)))
        )

    def _holds_of_action(self, item: Item) -> bool:
        action = item.action if isinstance(item, AnswerItem) else None
        return (
            action is not None
            and (not self.action or action.name in self.action)
            and all_hold(self.argument, action.arguments)
        )


class Rule(Section):
    """If `when` holds, the item is accepted, or reviewed in `queue` with `priority` (9 first)."""

    name: Name
    when: When
    then: Literal["review", "accept"]
    queue: Name = "default"
    priority: int = Field(strict=True, ge=0, le=9, default=0)
    due_minutes: int | None = Field(strict=True, gt=0, le=_MAX_DUE_MINUTES, default=None)
    reason: Annotated[str, StringConstraints(min_length=1, max_length=300)] | None = None

    @model_validator(mode="after")
    def _accept_needs_no_queue(self) -> Self:
        if self.then == "accept" and self.model_fields_set & {"queue", "priority", "due_minutes"}:
            raise ValueError("queue, priority and due_minutes mean nothing where then = 'accept'")
        return self

    @property
    def text(self) -> str:
        return self.reason or f"rule {self.name!r}"


def keys_of(labels: Iterable[str]) -> frozenset[str]:
    """The labels' keys: equal for spellings of the same label."""
    return frozenset(map(label_key, labels))


def _form(prediction: Prediction | AnswerPrediction | None) -> Mapping[str, Any]:
    """The fields of a predicted form; none of another answer."""
    given = prediction.answer.get("form") if isinstance(prediction, AnswerPrediction) else None
    return given if isinstance(given, dict) else {}
