"""Tests of one value that an item brings: of its metadata, of a form, of an action's arguments.

Pure. A value is looked up by the path that leads to it, and compared as JSON.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_NUMBER = re.compile(r"[+-]?\d{1,400}(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_PLACE = re.compile(r"\d{1,9}", re.ASCII)
_TRUTH = {"true": True, "false": False}


def _scalar(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if not isinstance(value, str | bool | int | float):
        raise ValueError("must be a text, a number, or true or false")
    return value


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Scalar = Annotated[Any, BeforeValidator(_scalar)]


class Section(BaseModel):
    """A table of the policy: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ValueTest(Section):
    """What one value must be; everything given must hold. An absent value fails all but
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


Tests = Annotated[Mapping[str, ValueTest], BeforeValidator(_flatten)]
"""Tests by the path of the value, all of which must hold."""


def all_hold(tests: Mapping[str, ValueTest], values: Mapping[str, Any]) -> bool:
    """Whether each test does, of the value at its path."""
    return all(test.holds(look_up(values, path)) for path, test in tests.items())


def all_comparable(tests: Mapping[str, ValueTest], values: Mapping[str, Any]) -> bool:
    """Whether each could hold of a value of the kind that is there."""
    return all(test.comparable(look_up(values, path)) for path, test in tests.items())


def look_up(values: Mapping[str, Any], path: str) -> object:
    """The value under the key `path`, else at the dotted path, where a list has its places for
    names (`lines.0.amount`); None where there is none."""
    if path in values:
        return values[path]
    value: Any = values
    for step in path.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and _PLACE.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
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
