"""Filters over the waiting tasks, as SQL.

A filter that looks at the item or at what the AI thinks of it leaves blind tasks out altogether:
what does not match would tell as much as what does. They are in the unfiltered work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shared.storage.labels_in_answers import answers_with_json

Only = Literal["disputed", "flagged"]

LAST_IS_A_FLAG = "(answers -> -1 ->> 'label') IS NULL"
"""Of a task that waits for leads: the last person to look at it flagged it."""


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """None: anything. `labels` are the spellings of one, which is the predicted answer or, where
    `among`, one of several in it. Confidence from 0 to 1, both ends included; `search` is part of
    the text or of the id; `only`: of what waits for leads."""

    queue: str | None = None
    labels: Sequence[str] | None = None
    among: bool = False
    min_confidence: float | None = None
    max_confidence: float | None = None
    search: str | None = None
    only: Only | None = None

    @property
    def narrows(self) -> bool:
        """Whether it looks at the item or at what the AI thinks of it."""
        asked = (self.labels, self.min_confidence, self.max_confidence, self.search)
        return any(each is not None for each in asked)

    def where(self) -> tuple[str, dict[str, object]]:
        """The condition on a row of `review_task`, and its parameters."""
        terms: list[str] = ["NOT blind"] if self.narrows else []
        given: dict[str, object] = {}

        def add(term: str, **values: object) -> None:
            terms.append(term)
            given.update(values)

        if self.queue is not None:
            add("queue = :queue", queue=self.queue)
        if self.labels is not None and self.among:
            add(
                "(prediction ->> 'label' = ANY(:labels)"
                " OR prediction -> 'answer' @> ANY (CAST(:parts AS jsonb[])))",
                labels=list(self.labels),
                parts=answers_with_json(self.labels),
            )
        elif self.labels is not None and len(self.labels) == 1:  # nearly always: an index's order
            add("prediction ->> 'label' = :label", label=self.labels[0])
        elif self.labels is not None:
            add("prediction ->> 'label' = ANY(:labels)", labels=list(self.labels))
        if self.min_confidence is not None:
            add("uncertainty <= :most_unsure", most_unsure=1.0 - self.min_confidence)
        if self.max_confidence is not None:
            add("uncertainty >= :least_unsure", least_unsure=1.0 - self.max_confidence)
        if self.search is not None:
            add("(item ->> 'text' ILIKE :part OR item_id ILIKE :part)", part=_part(self.search))
        if self.only is not None:
            add(LAST_IS_A_FLAG if self.only == "flagged" else f"NOT {LAST_IS_A_FLAG}")
        return " AND ".join(terms) or "true", given


EVERYTHING = TaskFilter()


def _part(search: str) -> str:
    """The pattern of LIKE that finds `search` anywhere, with no character special."""
    for special in ("\\", "%", "_"):
        search = search.replace(special, "\\" + special)
    return f"%{search}%"
