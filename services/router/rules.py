"""Business rules: whether one holds for an item, and what it asks for.

Pure. Texts are searched with RE2, whose time grows only linearly with the text whatever the pattern
(Cox 2010, https://swtch.com/~rsc/regexp/regexp3.html): a rule can slow the router, never hang it.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import re2
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from shared.events.answered import AnswerPrediction
from shared.events.models import Item, Label, Prediction
from shared.labels import known_as, label_key

_PATTERN_MEMORY_BYTES = 8 << 20  # RE2 refuses a pattern that would need more
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,59}")
_NUMBER = re.compile(r"[+-]?\d{1,400}(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_TRUTH = {"true": True, "false": False}
_MAX_DUE_MINUTES = 525_600  # a year


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


def _scalar(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if not isinstance(value, str | bool | int | float):
        raise ValueError("must be a text, a number, or true or false")
    return value


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


KnownLabel = Annotated[Label, AfterValidator(_known_label)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0, allow_inf_nan=False)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0)]
Scalar = Annotated[Any, BeforeValidator(_scalar)]
Name = Annotated[str, AfterValidator(_is_name)]


class Section(BaseModel):
    """A table of the policy: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MetadataTest(Section):
    """What one metadata value must be; everything given must hold. An absent value fails all but
    `exists = false`; JSON null counts as absent.

    A text that spells a number or a truth value counts as one where the rule names one: CSV has
    texts alone. Nothing else is converted; `comparable` says of which values no such test holds.
    """

    equals: Scalar | None = None
    in_: tuple[Scalar, ...] | None = Field(default=None, alias="in", min_length=1)
    gt: Number | None = None
    ge: Number | None = None
    lt: Number | None = None
    le: Number | None = None
    exists: Annotated[bool, Field(strict=True)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        given = len(self.model_dump(exclude_none=True))
        if given == 0:
            raise ValueError("names no test; for any value write { exists = true }")
        if self.exists is False and given > 1:
            raise ValueError("exists = false leaves nothing to compare")
        return self

    def holds(self, value: object) -> bool:
        if value is None:
            return self.exists is False
        if self.exists is False:
            return False
        if self.equals is not None and not _same(value, self.equals):
            return False
        if self.in_ is not None and not any(_same(value, wanted) for wanted in self.in_):
            return False
        if not self._orders:
            return True
        number = _like(value, 0)
        return (
            isinstance(number, int | float)
            and not isinstance(number, bool)
            and (self.gt is None or number > self.gt)
            and (self.ge is None or number >= self.ge)
            and (self.lt is None or number < self.lt)
            and (self.le is None or number <= self.le)
        )

    @property
    def _orders(self) -> bool:
        return (self.gt, self.ge, self.lt, self.le) != (None, None, None, None)

    def comparable(self, value: object) -> bool:
        """Whether the value is of a kind that this test can hold of: `amount > 100` never does of
        "a lot", nor `equals = "7"` of the number 7."""
        if value is None or self.exists is False:
            return True
        wanted = [] if self.equals is None else [self.equals]
        wanted += [0] if self._orders else []
        each = [_kind(_like(value, one)) == _kind(one) for one in wanted]
        among = [_kind(_like(value, one)) == _kind(one) for one in self.in_ or ()]
        return all(each) and (any(among) or not among)


_OPERATORS = frozenset({"in", "gt", "ge", "lt", "le", "exists"})


def _flatten(tests: object, prefix: str = "") -> object:
    """`{a = {b = "x", n = {ge = 1}}}` becomes `{"a.b": {equals: "x"}, "a.n": {ge: 1}}`."""
    if not isinstance(tests, Mapping):
        return tests
    flat: dict[str, object] = {}
    for key, wanted in tests.items():
        path = f"{prefix}{key}"
        if not isinstance(wanted, Mapping):
            flat[path] = {"equals": wanted}
        elif wanted and not _OPERATORS & wanted.keys():
            nested = _flatten(wanted, f"{path}.")
            flat.update(nested if isinstance(nested, dict) else {})
        else:
            flat[path] = dict(wanted)
    return flat


class When(Section):
    """The conditions of a rule; all that are given must hold.

    Lengths are in characters. `confidence_below` and `confidence_above` exclude the number itself.
    A metadata key is looked up as it stands, then as a path whose steps are separated by dots.
    """

    label: Annotated[tuple[KnownLabel, ...], BeforeValidator(_as_list)] = ()
    metadata: Annotated[Mapping[str, MetadataTest], BeforeValidator(_flatten)] = Field(
        default_factory=dict
    )
    text_matches: Annotated[str, AfterValidator(_compiles)] | None = None
    confidence_below: Share | None = None
    confidence_above: Share | None = None
    min_characters: Count | None = None
    max_characters: Count | None = None
    _pattern: Any = PrivateAttr(default=None)
    _label_keys: frozenset[str] = PrivateAttr(default=frozenset())

    @model_validator(mode="after")
    def _can_hold(self) -> Self:
        if not self.model_dump(exclude_defaults=True):
            raise ValueError("names no condition: such a rule would match every item")
        above, below = self.confidence_above, self.confidence_below
        if above is not None and below is not None and above >= below:
            raise ValueError("no confidence is above confidence_above and below confidence_below")
        shortest, longest = self.min_characters, self.max_characters
        if shortest is not None and longest is not None and shortest > longest:
            raise ValueError("min_characters is more than max_characters")
        return self

    def model_post_init(self, context: object, /) -> None:
        self._label_keys = frozenset(map(label_key, self.label))
        if self.text_matches is not None:
            self._pattern = _compile(self.text_matches)

    def comparable(self, item: Item) -> bool:
        """Whether each metadata test could hold of a value of its kind."""
        return all(
            test.comparable(look_up(item.metadata, path)) for path, test in self.metadata.items()
        )

    @property
    def sees_the_prediction(self) -> bool:
        """Does it depend on what the model said?"""
        return bool(self.label) or (self.confidence_below, self.confidence_above) != (None, None)

    def holds(self, item: Item, prediction: Prediction | AnswerPrediction | None) -> bool:
        """Whether all of them do; those on a prediction never of an item that has none."""
        if prediction is None and self.sees_the_prediction:
            return False
        return (
            (prediction is None or self._holds_of(prediction))
            and (self.min_characters is None or len(item.text) >= self.min_characters)
            and (self.max_characters is None or len(item.text) <= self.max_characters)
            and all(
                test.holds(look_up(item.metadata, path)) for path, test in self.metadata.items()
            )
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


def look_up(metadata: Mapping[str, Any], path: str) -> object:
    """The value under the key `path`, else at the dotted path; None where there is none."""
    if path in metadata:
        return metadata[path]
    value: Any = metadata
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def _same(value: object, wanted: object) -> bool:
    """Equal as JSON: 1 is 1.0, but true is not 1; `value` may spell what is wanted."""
    value = _like(value, wanted)
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _like(value: object, wanted: object) -> object:
    """A text as the number or the truth value that it spells, where such is wanted."""
    if not isinstance(value, str) or isinstance(wanted, str):
        return value
    spelled = value.strip()
    if isinstance(wanted, bool):
        return _TRUTH.get(spelled.lower(), value)
    if not _NUMBER.fullmatch(spelled):
        return value
    try:
        return int(spelled)  # exact, however long
    except ValueError:
        number = float(spelled)
    return number if math.isfinite(number) else value


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "other"
