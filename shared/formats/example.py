"""An item with what was predicted and what people answered: what every file of items holds."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from shared.answers.base import Kind
from shared.errors import HitlError

Json = dict[str, Any]
ITEM_FIELDS = ("id", "text", "metadata", "draft", "candidates", "action", "expires_at")


class Unsayable(HitlError):
    """A format has no words for this; the text names the item, the place and the reason."""


class Unreadable(HitlError):
    """A record is no item, or its answers are none of the kind asked for; the text says where."""


@dataclass(frozen=True, slots=True)
class Example:
    """`item` as a producer sends it (`ITEM_FIELDS`), `prediction` too; `answer` is a person's."""

    kind: Kind
    item: Json
    prediction: Json | None = None
    answer: Json | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"item {self.item.get('id', self.item['text'][:40])!r}"


class Found(NamedTuple):
    """A record of a file by its number, or what is wrong with it; `others` are the fields that
    became metadata."""

    number: int
    example: Example | None
    problem: str | None = None
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How records are read: the kind of their answers, which fields hold the text and the id, and
    which are those of an item; the others become metadata."""

    kind: Kind = "label"
    text_column: str = "text"
    id_column: str = "id"
    fields: tuple[str, ...] = ITEM_FIELDS

    @cached_property
    def named(self) -> Mapping[str, str]:
        """Field of a record → field of an item."""
        own = {name: name for name in self.fields if name not in ("text", "id")}
        return own | {self.text_column: "text", self.id_column: "id"}

    def item_in(
        self, given: Mapping[str, Any], passed: Collection[str] = ()
    ) -> tuple[Json, tuple[str, ...]]:
        """The item in a record, and the names of the fields that became metadata; those `passed`
        over are something else.

        Raises:
            Unreadable: a field is in the record and in its metadata.
        """
        named = self.named
        others = {n: value for n, value in given.items() if n not in named and n not in passed}
        item = {named[name]: value for name, value in given.items() if name in named}
        if others:
            metadata = {} if item.get("metadata") is None else item["metadata"]
            if not isinstance(metadata, dict):
                raise Unreadable("metadata: must be an object")
            both = sorted(others.keys() & metadata.keys())
            if both:
                raise Unreadable(f"{', '.join(both)}: both in the line and in its metadata")
            item["metadata"] = {**metadata, **others}
        return item, tuple(others)
